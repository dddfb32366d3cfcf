"""The real `dagster dev`: from a dropped file to a new snapshot, runs launched, memory, loading.

A shop of MovieLens ratings in CSV parts, encoded by tfidf, lies in a temporary folder. `dagster
dev` runs over it as it would for anybody; parts are dropped in, a file is touched, ten files come
in one burst, and the seconds until the current snapshot is another one are counted.

At the end the power is cut in the middle of a refresh: the whole process group is killed, started
again, and the seconds until the catalog is published are counted.

`python -m benchmarks.live --json FILE` writes rows of name, value and unit.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table

from recsys_dagster.automation.runs import runs_of
from recsys_dagster.automation.sensors import watch_sensor
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.demo import interactions, items
from recsys_dagster.home import prepare_dagster_home
from recsys_dagster.snapshots.current import CURRENT

NAME = "live"
DROPS = 3
BURST = 10
PATIENCE_SECONDS = 300
QUIET_SECONDS = 45
"""Longer than the sensor's interval: what has not started a run by then starts none."""
MANY = 20
AIMS = {
    "live.seconds": 60.0,
    "live.runs": 1.0,
    "live.recovery_seconds": 120.0,
    "load.seconds": 4.0,
}


def measure() -> list[dict]:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        parts = _write_shop(place)
        environment = _environment(place)
        rows = [_row("load.seconds", _load_seconds(environment), "s")]
        with _dagster_dev(environment, place / "dev.log"):
            snapshots = place / "home" / "snapshots" / NAME / CURRENT
            first = _wait_for_another(snapshots, "")
            rows.append(_row("live.first_seconds", first, "s"))
            seconds = []
            before = _runs()
            for part in parts[:DROPS]:
                seconds.append(_dropped(place, [part], snapshots))
            burst = _dropped(place, parts[DROPS : DROPS + BURST], snapshots)
            os.utime(place / "data" / "parts" / "0.csv")
            time.sleep(QUIET_SECONDS)
            changes = DROPS + 1
            rows += [
                _row("live.seconds", statistics.median(seconds), "s"),
                _row("live.slowest_seconds", max(seconds), "s"),
                _row("live.burst_seconds", burst, f"s, {BURST} files at once"),
                _row("live.runs", (_runs() - before) / changes, "runs a change"),
                *_memory(),
            ]
        rows.append(_row("live.recovery_seconds", _recovery(place, environment, snapshots), "s"))
        rows += _many(place)
    return rows


def _row(name: str, value: float, unit: str) -> dict:
    return {"name": name, "value": value, "unit": unit}


def _write_shop(place: Path) -> list[pd.DataFrame]:
    """Tables and catalog; what is left to be dropped later, a part each."""
    parts = place / "data" / "parts"
    parts.mkdir(parents=True)
    ratings = interactions().sort_values("timestamp")
    later = ratings.tail(100 * (DROPS + BURST + 1))
    ratings.iloc[: -len(later)].to_csv(parts / "0.csv", index=False)
    items().to_csv(place / "data" / "items.csv", index=False)
    (place / "catalogs").mkdir()
    settings = {
        "name": NAME,
        "interactions": {"source": "../data/parts", "positive": "rating >= 4"},
        "items": {"source": "../data/items.csv", "text": "{title}. {genres}"},
        "encoder": "tfidf",
    }
    _write_catalog(place / "catalogs", settings)
    return [later.iloc[start : start + 100] for start in range(0, len(later), 100)]


def _write_catalog(folder: Path, settings: dict) -> None:
    (folder / f"{settings['name']}.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def _environment(place: Path) -> dict[str, str]:
    os.environ["RECSYS_CATALOGS"] = str(place / "catalogs")
    os.environ["RECSYS_HOME"] = str(place / "home")
    os.environ["DAGSTER_HOME"] = str(place / "home" / "dagster")
    prepare_dagster_home()
    return dict(os.environ)


def _load_seconds(environment: dict[str, str]) -> float:
    """Importing the code location in a process of its own, the best of three."""
    code = "import time; t = time.perf_counter(); import recsys_dagster.definitions; "
    code += "print(time.perf_counter() - t)"
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        for _ in range(3)
    ]
    return min(float(done.stdout) for done in found)


@contextmanager
def _dagster_dev(environment: dict[str, str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [Path(sys.executable).with_name("dagster"), "dev", "-h", "127.0.0.1", "-p", port]
    command += ["-m", "recsys_dagster.definitions"]
    with log.open("wb") as stream:
        # A group of its own: its children, daemon and webserver, end with it.
        process = subprocess.Popen(
            command, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            yield process
        except BaseException:
            sys.stderr.write(log.read_text("utf-8", "replace")[-3_000:])
            raise
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            finally:
                _kill_group(process.pid)


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _wait_for_another(current: Path, before: str) -> float:
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE_SECONDS:
        if current.exists() and current.read_text() != before:
            return time.monotonic() - started
        time.sleep(0.2)
    raise TimeoutError(f"no new snapshot in {PATIENCE_SECONDS} s")


def _dropped(place: Path, parts: list[pd.DataFrame], current: Path) -> float:
    before = current.read_text()
    folder = place / "data" / "parts"
    for part in parts:
        part.to_csv(folder / f"{len(list(folder.iterdir()))}.csv", index=False)
    seconds = _wait_for_another(current, before)
    _wait_for_the_end_of_runs()
    return seconds


def _recovery(place: Path, environment: dict[str, str], current: Path) -> float:
    """From the start after a power cut in the middle of a refresh to the snapshot that it owed."""
    before = current.read_text()
    with _dagster_dev(environment, place / "cut.log") as process:
        ratings = interactions().sort_values("timestamp").tail(100)
        ratings.to_csv(place / "data" / "parts" / "last.csv", index=False)
        _wait_for_a_run_at_work()
        os.killpg(process.pid, signal.SIGKILL)
    if current.read_text() != before:
        raise RuntimeError("the refresh was over before the power was cut")
    with _dagster_dev(environment, place / "again.log"):
        return _wait_for_another(current, before)


def _wait_for_a_run_at_work() -> None:
    started = time.monotonic()
    with dg.DagsterInstance.get() as instance:
        while time.monotonic() - started < PATIENCE_SECONDS:
            for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
                made = dg.DagsterEventType.ASSET_MATERIALIZATION
                if instance.all_logs(run.run_id, of_type=made):
                    return
            time.sleep(0.2)
    raise TimeoutError(f"no run was at work in {PATIENCE_SECONDS} s")


def _wait_for_the_end_of_runs() -> None:
    with dg.DagsterInstance.get() as instance:
        while any(not run.is_finished for run in instance.get_runs(limit=5)):
            time.sleep(0.5)


def _runs() -> int:
    with dg.DagsterInstance.get() as instance:
        return len(runs_of(instance, NAME))


def _memory() -> list[dict]:
    """Resident memory of the processes of `dagster dev`, where /proc tells it."""
    kinds = {
        "dagster._daemon": "memory.daemon",
        "dagster_webserver": "memory.webserver",
        "dagster api grpc": "memory.code_location",
    }
    found: dict[str, float] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text().replace("\0", " ")
            status = (process / "status").read_text()
        except OSError:
            continue
        name = next((name for words, name in kinds.items() if words in command), None)
        if name is not None and "VmRSS" in status:
            kib = int(status.partition("VmRSS:")[2].split()[0])
            found[name] = max(found.get(name, 0.0), kib / 1024)
    return [_row(name, found[name], "MiB") for name in kinds.values() if name in found]


def _many(place: Path) -> list[dict]:
    """Twenty catalogs over the same tables: loading them, and a tick of each one's sensor."""
    folder = place / "many"
    folder.mkdir()
    (base,) = Catalogs.read(place / "catalogs").values()
    settings = yaml.safe_load((place / "catalogs" / f"{NAME}.yaml").read_text())
    for number in range(MANY):
        _write_catalog(folder, settings | {"name": f"{base.name}_{number}"})
    loading = _load_seconds(os.environ | {"RECSYS_CATALOGS": str(folder)})
    started = time.perf_counter()
    with dg.DagsterInstance.ephemeral() as instance:
        for catalog in Catalogs.read(folder).values():
            sensor = watch_sensor(catalog)
            assert sensor is not None
            tick = sensor.evaluate_tick(dg.build_sensor_context(instance))
            assert tick.run_requests or tick.skip_message
    return [
        _row("load.twenty_seconds", loading, f"s, {MANY} catalogs"),
        _row("tick.twenty_seconds", time.perf_counter() - started, f"s, {MANY} sensors"),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    arguments = parser.parse_args()
    rows = measure()
    table = Table(title="Live", title_justify="left", title_style="bold")
    for heading in ("name", "value", "unit", "aim"):
        table.add_column(heading, justify="right" if heading in ("value", "aim") else "left")
    for row in rows:
        aim = AIMS.get(row["name"])
        table.add_row(row["name"], f"{row['value']:.3g}", row["unit"], f"≤ {aim:g}" if aim else "")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
