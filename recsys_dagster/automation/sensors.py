"""Runs when the content of a source changed: one run a change, none for a file only touched."""

import json
import re
from collections.abc import Mapping
from typing import Any

import dagster as dg

from recsys_dagster.assets.sources import changes, sources_of, untold
from recsys_dagster.automation.jobs import CATALOG_TAG, refresh_job_name
from recsys_dagster.automation.runs import UNFINISHED, runs_of
from recsys_dagster.catalog.item_lists import rule_files
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources.watching import (
    FileState,
    Observation,
    can_be_watched,
    observe_files,
    observe_source,
)
from recsys_dagster.versions import digest

CURSOR: dict[str, type] = {"files": dict, "sources": dict, "fingerprint": str, "runs": int}
"""What a cursor holds; see `watch_sensor`."""


def watch_sensor(catalog: Catalog) -> dg.SensorDefinition | None:
    """The sensor of a catalog, running from the start; None where there is nothing to watch.

    Its cursor holds what the sources looked like when a run was last asked for, and how many runs
    were: the run key is made of both, so that a tick that is repeated after a crash asks for the
    same run, and content that comes back after a while for a new one.
    """
    sources = _watched(catalog)
    if not catalog.refresh.watch or not sources:
        return None

    @dg.sensor(
        name=f"watch_{catalog.name}",
        job_name=refresh_job_name(catalog.name),
        minimum_interval_seconds=catalog.refresh.every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Asks for {refresh_job_name(catalog.name)} when a source has changed, or a "
        "file of rules.",
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor = _remembered(context)
        seen: dict[str, Observation] = {}
        try:
            for name, source in sources.items():
                known = cursor.get("files", {}).get(name, {})
                seen[name] = _observe(catalog, name, source, known, context.instance)
                writing = seen[name].being_written
                if writing:
                    return _nothing(f"{writing} is still being written", context.cursor)
        except (UserError, OSError) as error:
            return _nothing(str(error), context.cursor)
        fingerprint = digest(*(f"{name} {each.fingerprint}" for name, each in seen.items()))
        runs = cursor.get("runs", 0)
        if fingerprint == cursor.get("fingerprint"):
            return _nothing("no content has changed", _cursor(seen, fingerprint, runs))
        changed = changes(catalog, seen, cursor.get("sources", {}))
        # No asset stands for the files of rules: what they say is taken up by a whole refresh.
        rules = cursor.get("sources", {}).get("rules")
        ruled = "rules" in seen and rules not in (None, seen["rules"].fingerprint)
        # Nor may one stand for what a server puts beside a source.
        landed = untold(catalog, seen, cursor.get("files", {}))
        if catalog.refresh.automation == "conditions" and not ruled and not landed:
            return dg.SensorResult(
                skip_reason="content has changed; the conditions of the stages see to the rest",
                asset_events=changed,
                cursor=_cursor(seen, fingerprint, runs),
            )
        under_way = runs_of(context.instance, catalog.name, UNFINISHED, limit=1)
        if under_way:
            (run,) = under_way
            reason = (
                f"content has changed; a run is under way ({run.run_id[:8]} of {run.job_name}), "
                "and this is taken up after it"
            )
            return _nothing(reason, context.cursor)
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    run_key=f"{catalog.name}-{runs + 1}-{fingerprint}",
                    tags={CATALOG_TAG: catalog.name},
                )
            ],
            asset_events=changed,
            cursor=_cursor(seen, fingerprint, runs + 1),
        )

    return watch


def _observe(
    catalog: Catalog,
    name: str,
    source: SourceSettings | None,
    known: Mapping[str, FileState],
    instance: dg.DagsterInstance,
) -> Observation:
    settle_seconds = catalog.refresh.settle_seconds
    if source is None:
        return observe_files(rule_files(catalog), known, settle_seconds)
    version = _asset_version(instance, source)
    landing = catalog.live_folder if name == "interactions" else None
    return observe_source(source, catalog.folder, known, settle_seconds, version, landing)


def _watched(catalog: Catalog) -> dict[str, SourceSettings | None]:
    """What is looked at; None stands for the files that rules name."""
    watched: dict[str, SourceSettings | None] = {
        name: source
        for name, source in sources_of(catalog).items()
        # Of a function nothing is looked at but what a server puts beside it.
        if can_be_watched(source) or (name == "interactions" and catalog.live.folder)
    }
    return watched | ({"rules": None} if catalog.rules.files else {})


def _asset_version(instance: dg.DagsterInstance, source: SourceSettings) -> str:
    """What the last materialisation of the source's asset is known by: its data version or run.

    Raises:
        UserError: the rows are the asset's value, and there is none yet.
    """
    if source.asset is None:
        return ""
    event = instance.get_latest_materialization_event(dg.AssetKey(source.asset.split("/")))
    if event is None or event.asset_materialization is None:
        if source.is_asset_value:
            raise UserError(
                f"asset {source.asset}: it was never materialised; a run follows when it is"
            )
        return "never materialised"
    tags = event.asset_materialization.tags or {}
    return tags.get("dagster/data_version", event.run_id)


def _remembered(context: dg.SensorEvaluationContext) -> dict[str, Any]:
    """What the cursor holds; nothing of the sources where a person emptied or rewrote it in the UI.

    Runs are counted on from the last run key then: Dagster asks for no key twice, so from the start
    the content of an earlier run would be taken for taken up, and never read.
    """
    try:
        cursor = json.loads(context.cursor or "{}")
    except ValueError:
        cursor = None
    if isinstance(cursor, dict) and all(
        isinstance(cursor.get(name), kind) for name, kind in CURSOR.items()
    ):
        return cursor
    if context.cursor:
        context.log.warning("the cursor is none of this sensor: the sources are looked at anew")
    counted = re.search(r"-(\d+)-[^-]+$", context.last_run_key or "")
    return {"runs": int(counted[1]) if counted else 0}


def _cursor(seen: Mapping[str, Observation], fingerprint: str, runs: int) -> str:
    return json.dumps(
        {
            "files": {name: each.files for name, each in seen.items()},
            "sources": {name: each.fingerprint for name, each in seen.items()},
            "fingerprint": fingerprint,
            "runs": runs,
        }
    )


def _nothing(reason: str, cursor: str | None) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason, cursor=cursor)
