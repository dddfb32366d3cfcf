"""`refresh: {automation: conditions}`: each stage when its inputs changed and passed."""

import dagster as dg
import pytest

from recsys_dagster.automation.sensors import watch_sensor

CONDITIONS = {"automation": "conditions", "settle_seconds": 0}


class Daemon:
    """Looks at conditions as Dagster's daemon does, and runs what they ask for."""

    def __init__(self, place) -> None:
        self.place = place
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: dg.AssetDaemonCursor | None = None
        self.watching: str | None = None

    def watch(self) -> None:
        sensor = watch_sensor(self.place.catalog("tiny"))
        with dg.build_sensor_context(self.instance, cursor=self.watching) as context:
            data = sensor.evaluate_tick(context)
        assert not data.run_requests
        self.watching = data.cursor or self.watching
        for event in data.asset_events:
            self.instance.report_runless_asset_event(event)

    def look(self) -> set[str] | None:
        """What was made of what is asked for now; None where nothing is."""
        defs = self.place.definitions()
        result = dg.evaluate_automation_conditions(
            defs=defs, instance=self.instance, cursor=self.cursor
        )
        self.cursor = result.cursor
        asked = [each.true_subset.key for each in result.results if not each.true_subset.is_empty]
        if not asked:
            return None
        keys = [key for key in asked if isinstance(key, dg.AssetKey)]
        checks = [key for key in asked if isinstance(key, dg.AssetCheckKey)]
        run = dg.materialize(
            defs.assets + defs.asset_checks,
            selection=dg.AssetSelection.assets(*keys).required_multi_asset_neighbors()
            | dg.AssetSelection.checks(*checks),
            resources=defs.resources,
            instance=self.instance,
            raise_on_error=False,
        )
        return {event.asset_key.path[-1] for event in run.get_asset_materialization_events()}

    def until_quiet(self) -> set[str]:
        made: set[str] = set()
        while (found := self.look()) is not None:
            made |= found
        return made


@pytest.fixture
def daemon(tiny):
    daemon = Daemon(tiny(refresh=CONDITIONS, evaluation={"on_refresh": False}))
    daemon.look()
    daemon.watch()
    return daemon


def test_without_the_setting_no_stage_has_a_condition(tiny):
    graph = tiny().definitions().resolve_asset_graph()
    assert not any(graph.get(key).automation_condition for key in graph.materializable_asset_keys)


def test_a_changed_source_is_published_stage_by_stage(daemon):
    assert "published" in daemon.until_quiet()
    assert (daemon.place.snapshots / "tiny" / "CURRENT").exists()


def test_what_did_not_change_is_not_made_again(daemon):
    daemon.until_quiet()
    daemon.watch()
    assert daemon.look() is None
    with (daemon.place.data / "interactions.csv").open("a") as file:
        file.write("user-zq-10,love5,5,2024-02-01\n")
    daemon.watch()
    made = daemon.until_quiet()
    assert {"raw_interactions", "recommendations", "published"} <= made
    assert not {"raw_items", "item_texts", "item_embeddings", "item_neighbours"} & made


def test_a_table_that_was_refused_is_not_gone_on_from(daemon):
    daemon.until_quiet()
    (daemon.place.data / "interactions.csv").write_text(
        "user_id,item_id,rating,timestamp\nuser-zq-10,space1,5,2024-01-01\n"
    )
    daemon.watch()
    made = daemon.until_quiet()
    assert "interactions" in made
    assert not {"users", "recommendations", "published"} & made
