"""The gate holds whoever asks: a table that was refused is used by no run, alone or in a job."""

import json

import dagster as dg
import pytest

from recsys_dagster.assets.gate import BLOCKING, FORCE_TAG, forced_reason
from recsys_dagster.cli.app import app
from recsys_dagster.resources.check_results import RESULTS
from recsys_dagster.schemas import TABLES
from recsys_dagster.snapshots.current import CURRENT, last_passed
from recsys_dagster.snapshots.reader import Snapshot
from recsys_dagster.snapshots.writer import remove_old

HEADER = "user_id,item_id,rating,timestamp\n"
REASON = "the shop was halved on purpose"


def current(place) -> str:
    return (place.snapshots / "tiny" / CURRENT).read_text()


def run_job(place, job: str, **options) -> dg.ExecuteInProcessResult:
    return (
        place.definitions()
        .resolve_job_def(job)
        .execute_in_process(
            instance=dg.DagsterInstance.ephemeral(), raise_on_error=False, **options
        )
    )


def errors(result) -> str:
    return "\n".join(
        event.step_failure_data.error.cause.message
        for event in result.all_events
        if event.is_step_failure
    )


def spoil(place) -> None:
    """Most rows of the source become useless, the rest stays."""
    lines = (place.data / "interactions.csv").read_text().splitlines()
    useless = [line.rsplit(",", 2)[0] + ",bad,bad" for line in lines[10:]]
    (place.data / "interactions.csv").write_text("\n".join([*lines[:10], *useless]) + "\n")


def halve(place) -> None:
    """Most users are gone from the source."""
    lines = (place.data / "interactions.csv").read_text().splitlines()
    (place.data / "interactions.csv").write_text("\n".join(lines[:10]) + "\n")


@pytest.fixture(scope="module")
def refused_once(shared):
    """`tiny`, published, whose refresh then failed on a blocking check."""

    def refuse(place) -> None:
        spoil(place)
        assert not run_job(place, "refresh_tiny").success

    return shared(refuse)


@pytest.fixture
def refused(refused_once, copy_of):
    return copy_of(refused_once)


def test_the_gate_knows_every_blocking_check_and_its_tables(tiny):
    graph = tiny().definitions().resolve_asset_graph()
    blocking = {
        (key.asset_key.path[-1], key.name)
        for key in graph.asset_check_keys
        if graph.get(key).blocking
    }
    known = {(table, check) for table, checks in BLOCKING.items() for check in checks}
    assert blocking == known
    looked_at = {
        table for checks in BLOCKING.values() for also in checks.values() for table in also
    }
    assert looked_at <= set(TABLES)


class TestARefusedTableIsNotUsed:
    @pytest.mark.parametrize("job", ["recommend_tiny", "embed_tiny", "evaluate_tiny", "tune_tiny"])
    def test_by_the_job_of_a_later_stage(self, refused, job):
        result = run_job(refused, job)
        assert not result.success
        said = errors(result)
        assert "interactions: interactions_accepted_share: " in said
        assert "of 24 rows accepted, at least 50% expected" in said
        assert "recsys publish tiny --force --reason" in said

    def test_by_publishing_alone(self, refused):
        before = current(refused)
        result = run_job(refused, "publish_tiny")
        assert not result.success
        assert "tiny/published is not made" in errors(result)
        assert current(refused) == before

    def test_by_a_stage_materialised_by_hand(self, refused):
        job = refused.definitions().resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=[dg.AssetKey(["tiny", "users"])],
            raise_on_error=False,
        )
        assert "tiny/users is not made" in errors(result)

    def test_until_the_source_is_mended(self, refused):
        with (refused.data / "interactions.csv").open("w") as file:
            file.write(HEADER)
            for user in range(10, 18):
                for item in (1, 2, 3):
                    file.write(f"user-zq-{user},love{item},5,2024-01-{user}\n")
        before = current(refused)
        assert run_job(refused, "refresh_tiny").success
        assert current(refused) != before
        assert Snapshot.current(refused.snapshots, "tiny").manifest["gate"] == {"passed": True}


class TestWhatDoesNotCountAsPassed:
    def test_a_check_that_was_never_run(self, published):
        place = published()
        with place.warehouse.connect("tiny") as connection:
            connection.execute(f"delete from {RESULTS} where \"check\" = 'items_keys_unique'")
        assert "items_keys_unique: it was never run" in errors(run_job(place, "publish_tiny"))

    def test_a_check_of_an_earlier_version_of_the_table(self, published):
        place = published()
        with (place.data / "items.csv").open("a") as file:
            file.write("space6,Late Comet,space comet\n")
        defs = place.definitions()
        keys = [dg.AssetKey(["tiny", name]) for name in ("raw_items", "items", "rejected_items")]
        assert dg.materialize(
            defs.assets,
            selection=dg.AssetSelection.assets(*keys).without_checks(),
            resources=defs.resources,
        ).success
        said = errors(run_job(place, "compose_tiny"))
        assert "items: items_keys_unique: items changed after it was run" in said

    def test_tables_that_do_not_fit_each_other(self, published):
        place = published()
        with (place.data / "items.csv").open("a") as file:
            file.write("space6,Late Comet,space comet\n")
        assert run_job(place, "read_tiny").success
        assert run_job(place, "clean_tiny").success
        said = errors(run_job(place, "publish_tiny"))
        assert "item_texts: every_item_has_a_text: items changed after it was run" in said
        assert "recommendations: no_seen_item_recommended: items changed after it was run" in said

    def test_lists_of_other_settings_than_the_manifest_would_say(self, published):
        place = published(strategy="popular")
        said = errors(run_job(place, "publish_tiny"))
        assert "recommendations: up_to_date: it was made with other settings or other code" in said

    def test_a_table_without_checks_that_was_left_behind(self, published):
        place = published()
        with (place.data / "interactions.csv").open("a") as file:
            file.write("user-zq-10,love5,5,2024-02-01\n")
        job = place.definitions().resolve_job_def("refresh_tiny")
        behind = {"popular_items", "published"}
        nodes = job.asset_layer.executable_asset_keys
        assert job.execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=[key for key in nodes if key.path[-1] not in behind],
        ).success
        said = errors(run_job(place, "publish_tiny"))
        assert "popular_items: up_to_date: histories changed after it was made" in said

    def test_interactions_that_meant_something_else(self, published):
        meant = {"source": "../data/interactions.csv", "positive": "rating >= 5"}
        place = published(interactions=meant)
        said = errors(run_job(place, "publish_tiny"))
        assert "interactions: up_to_date: it was made with other settings or other code" in said

    def test_rows_that_were_read_and_not_yet_used(self, published):
        place = published()
        with (place.data / "interactions.csv").open("a") as file:
            file.write("user-zq-10,love5,5,2024-02-01\n")
        assert run_job(place, "read_tiny").success
        said = errors(run_job(place, "publish_tiny"))
        assert "interactions: up_to_date: raw_interactions changed after it was made" in said

    def test_a_check_that_expected_something_else(self, published):
        place = published(checks={"row_fall": 0.1})
        said = errors(run_job(place, "publish_tiny"))
        assert "interactions_not_fallen: checks of the YAML changed after it was run" in said

    def test_what_changed_nothing_still_counts(self, published):
        place = published()
        assert run_job(place, "clean_tiny").success
        assert run_job(place, "recommend_tiny").success
        assert run_job(place, "publish_tiny").success


@pytest.fixture(scope="module")
def halved_once(shared):
    """`tiny`, published, whose refresh then failed because most users are gone."""

    def refuse(place) -> None:
        halve(place)
        assert not run_job(place, "refresh_tiny").success

    return shared(refuse, evaluation={"on_refresh": False})


@pytest.fixture(scope="module")
def forced_once(shared, halved_once):
    """The same, published by force."""

    def force(place) -> None:
        assert run_job(place, "refresh_tiny", tags={FORCE_TAG: REASON}).success

    return shared(force, halved_once)


@pytest.fixture
def halved(halved_once, copy_of):
    return copy_of(halved_once)


@pytest.fixture
def forced(forced_once, copy_of):
    return copy_of(forced_once)


class TestForce:
    def test_a_forced_run_publishes_and_the_manifest_says_past_what(self, halved_once, forced):
        assert current(forced) != current(halved_once)
        gate = Snapshot.current(forced.snapshots, "tiny").manifest["gate"]
        assert (gate["passed"], gate["reason"]) == (False, REASON)
        (failed,) = gate["failed"]
        assert (failed["table"], failed["check"]) == ("interactions", "interactions_not_fallen")
        assert "8 published" in failed["reason"]

    def test_the_next_run_is_still_compared_with_what_passed(self, forced):
        result = run_job(forced, "refresh_tiny")
        assert not result.success
        (check,) = [each for each in result.get_asset_check_evaluations() if not each.passed]
        assert "8 published" in check.description

    def test_once_it_passes_the_same_tables_are_published_as_passed(self, forced):
        settings = forced.catalog("tiny").model_dump(mode="json", exclude_unset=True)
        own = {key: value for key, value in settings.items() if key not in ("name", "folder")}
        forced.write_catalog("tiny", own | {"checks": {"row_fall": 1.0}})
        assert run_job(forced, "refresh_tiny").success
        assert Snapshot.current(forced.snapshots, "tiny").manifest["gate"] == {"passed": True}

    def test_cleaning_up_keeps_the_last_snapshot_that_passed(self, halved_once, forced):
        passed = last_passed(halved_once.snapshots, "tiny")
        assert remove_old(forced.snapshots, "tiny", keep=1) == 0
        assert last_passed(forced.snapshots, "tiny") == passed

    def test_force_wants_a_reason(self, halved, monkeypatch):
        halved.environment(monkeypatch)
        alone = (["--force"], ["--force", "--reason", " "], ["--reason", "x"])
        for arguments in alone:
            with pytest.raises(ValueError, match="--force and --reason go together"):
                app(["publish", "tiny", *arguments], standalone_mode=False)

    def test_a_blank_reason_is_none(self, halved, monkeypatch):
        halved.environment(monkeypatch)
        with pytest.raises(ValueError, match="tiny/published is not made"):
            app(["publish", "tiny", "--reason", " "], standalone_mode=False)

    def test_what_is_started_again_from_a_forced_run_is_not_forced(self):
        run = dg.DagsterRun(job_name="refresh_tiny", tags={FORCE_TAG: REASON})
        assert forced_reason(run) == REASON
        again = dg.DagsterRun(
            job_name="refresh_tiny", tags=run.tags, parent_run_id=run.run_id, root_run_id=run.run_id
        )
        assert forced_reason(again) is None

    def test_the_command_makes_what_refused_and_publishes(self, halved, monkeypatch, capsys):
        halved.environment(monkeypatch)
        before = current(halved)
        with pytest.raises(ValueError, match="tiny/published is not made"):
            app(["publish", "tiny"], standalone_mode=False)
        app(["publish", "tiny", "--force", "--reason", REASON], standalone_mode=False)
        assert current(halved) != before
        assert json.dumps(Snapshot.current(halved.snapshots, "tiny").manifest["gate"]).count(REASON)
        app(["status"], standalone_mode=False)
        assert "forced" in capsys.readouterr().out


def test_nothing_costly_is_done_for_interactions_that_are_refused(published):
    place = published()
    spoil(place)
    with (place.data / "items.csv").open("a") as file:
        file.write("space6,Late Comet,space comet\n")
    result = run_job(place, "refresh_tiny")
    made = {event.asset_key.path[-1] for event in result.get_asset_materialization_events()}
    assert not made & {"item_embeddings", "user_embeddings", "recommendations", "evaluation"}
