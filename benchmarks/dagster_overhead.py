"""The demo catalog twice through Dagster, each time in a process of its own: where time goes.

What is counted, from the time stamps of the run's event log, a step's log being divided between
neighbouring events:

- ours: reading, up to each LOADED_INPUT; computing, up to each STEP_OUTPUT from the event before
  (the last STEP_INPUT, STEP_START where a step reads nothing, or the output before), so that the
  functions of assets and checks are in it with their late imports, of torch for one; writing,
  from STEP_OUTPUT to ASSET_MATERIALIZATION, or to HANDLED_OUTPUT where that comes first;
- Dagster's: all else between calling `execute_in_process` and its return: planning the run, its
  events and their storage, gaps between steps.

An event is stamped before it is stored, and looking up versions and types falls between the same
events, so some milliseconds of Dagster's a step are in ours: the share is a low estimate. With
every function timed directly it was 1.6 to 1.9 percentage points higher, on a busy machine.
Starting Python and importing Dagster come before `execute_in_process`: they are in the seconds of
a run, not in the share.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import dagster as dg

CATALOG = "movies"
ROOT = Path(__file__).resolve().parents[1]
Event = dg.DagsterEventType
WRITTEN = {Event.ASSET_MATERIALIZATION, Event.HANDLED_OUTPUT}


def measure() -> list[dict]:
    """Run the demo twice, the first time from nothing, the second with all texts encoded.

    Returns:
        Rows {"name", "value", "unit"}: `dagster.share`, of the first run's `execute_in_process`
        what was spent in Dagster rather than in stages; `second_run.share`, the second run's
        encoding seconds over the first's; `first_run.seconds` and `second_run.seconds`, of the
        whole processes, imports included.
    """
    with tempfile.TemporaryDirectory(prefix="recsys-bench-") as home:
        first, second = (_run_in_process(Path(home)) for _ in range(2))
    return [
        {
            "name": "dagster.share",
            "value": 1 - first["stage_seconds"] / first["job_seconds"],
            "unit": "of the job",
        },
        {
            "name": "second_run.share",
            "value": second["encoding_seconds"] / first["encoding_seconds"],
            "unit": "of encoding",
        },
        {"name": "first_run.seconds", "value": first["seconds"], "unit": "s"},
        {"name": "second_run.seconds", "value": second["seconds"], "unit": "s"},
    ]


def _run_in_process(home: Path) -> dict[str, float]:
    """Run the demo in a fresh Python and read what it measured of itself.

    Raises:
        RuntimeError: the run failed.
    """
    environment = os.environ | {
        "RECSYS_HOME": str(home),
        "RECSYS_CATALOGS": str(ROOT / "catalogs"),
    }
    # Without a home of its own, prepare_dagster_home makes one below RECSYS_HOME.
    environment.pop("DAGSTER_HOME", None)
    answer = home / "measured.json"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.dagster_overhead", "--answer", str(answer)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"the run of {CATALOG!r} failed:\n{done.stderr[-4_000:]}")
    return json.loads(answer.read_text()) | {"seconds": seconds}


def _run() -> dict[str, float]:
    """Run the demo here, as `recsys run` does but silently.

    Returns:
        Seconds: of the job, of its stages, and of encoding.
    """
    from recsys_dagster.home import prepare_dagster_home

    prepare_dagster_home()
    from recsys_dagster.automation.jobs import refresh_job_name
    from recsys_dagster.build import build_defs

    job = build_defs().resolve_job_def(refresh_job_name(CATALOG))
    with dg.DagsterInstance.get() as instance:
        started = time.perf_counter()
        result = job.execute_in_process(
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        job_seconds = time.perf_counter() - started
        stages = stage_seconds(instance.all_logs(result.run_id))
    encoding = [
        float(materialization.metadata["encoding_seconds"].value)  # ty: ignore[invalid-argument-type]
        for event in result.get_asset_materialization_events()
        if "encoding_seconds" in (materialization := event.materialization).metadata
    ]
    return {
        "job_seconds": job_seconds,
        "stage_seconds": stages,
        "encoding_seconds": sum(encoding),
    }


def stage_seconds(log: Iterable[dg.EventLogEntry]) -> float:
    """Seconds of a run that were its stages' own: reading, computing and writing.

    Args:
        log: a run's events in order; messages that a stage logged are passed over.
    """
    steps: dict[str, list[tuple[dg.DagsterEventType, float]]] = defaultdict(list)
    for entry in log:
        if entry.step_key is not None and entry.dagster_event is not None:
            steps[entry.step_key].append((entry.dagster_event.event_type, entry.timestamp))
    return sum(
        end - start
        for events in steps.values()
        for (before, start), (after, end) in pairwise(events)
        if after in {Event.LOADED_INPUT, Event.STEP_OUTPUT}
        or (before == Event.STEP_OUTPUT and after in WRITTEN)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answer", type=Path, help="run once here, write what it took to a file")
    answer = parser.parse_args().answer
    if answer is not None:
        answer.write_text(json.dumps(_run()))
        return
    for row in measure():
        print(f"{row['name']:<24} {row['value']:>10.4f} {row['unit']}")


if __name__ == "__main__":
    main()
