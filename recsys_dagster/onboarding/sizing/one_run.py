"""A refresh of one catalog in a process of its own, and what it took: seconds, memory, storage.

`python -m recsys_dagster.onboarding.sizing.one_run CATALOG ANSWER` is that process; it writes JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from recsys_dagster.onboarding.sizing.drawn import NAME, draw

MODULE = "recsys_dagster.onboarding.sizing.one_run"
LOOKED_EVERY = 0.02
"""Seconds."""
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Step:
    """What one step took.

    Attributes:
        seconds: by the clock.
        core_seconds: of all cores together, other work on the machine left out.
        peak_bytes: the largest memory of the process meanwhile, without what it began with; 0
            where the system does not tell.
    """

    seconds: float
    core_seconds: float
    peak_bytes: float


@dataclass(frozen=True)
class OneRun:
    """What a refresh took.

    Attributes:
        seconds: by the clock.
        core_seconds: of all cores together.
        peak_bytes: the largest memory of the process.
        steps: by their key.
        stored: bytes of each table in the warehouse.
        published: bytes of each file of the snapshot, the model's under `model`.
    """

    seconds: float
    core_seconds: float
    peak_bytes: float
    steps: dict[str, Step]
    stored: dict[str, float]
    published: dict[str, float]


def refresh_drawn(users: int, items: int, interactions: int, log: Path | None = None) -> OneRun:
    """Draw a catalog and refresh it in a process of its own.

    Args:
        users: how many.
        items: how many.
        interactions: how many, about.
        log: where what the run says goes.

    Raises:
        RuntimeError: the run failed.
    """
    with tempfile.TemporaryDirectory(prefix="recsys-drawn-") as folder:
        home = Path(folder)
        draw(home / "catalogs", users, items, interactions)
        return refresh(NAME, home, home / "catalogs", log)


def refresh(catalog: str, home: Path, catalogs: Path, log: Path | None = None) -> OneRun:
    """Refresh a catalog in a process of its own.

    Args:
        catalog: its name.
        home: an empty folder for everything that the run makes.
        catalogs: the folder of its YAML file.
        log: where what the run says goes.

    Raises:
        RuntimeError: the run failed.
    """
    answer = home / "took.json"
    environment = os.environ | {
        "RECSYS_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "RECSYS_CATALOGS": str(catalogs),
        "RECSYS_SNAPSHOTS": "",  # at home
        "RECSYS_COMPUTE": "local",
    }
    done = subprocess.run(  # noqa: S603 (this very program)
        [sys.executable, "-m", MODULE, catalog, str(answer)],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    if log is not None:
        log.write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"the run failed:\n{done.stdout[-4_000:]}")
    found = json.loads(answer.read_text(encoding="utf-8"))
    return OneRun(**found | {"steps": {key: Step(**of) for key, of in found["steps"].items()}})


class Watched:
    """Time of the process's cores and its memory, looked at while a block runs."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, float, float]] = []
        self._stopped = threading.Event()

    @contextmanager
    def looking(self) -> Generator[None]:
        """Look every few milliseconds, from another thread."""
        thread = threading.Thread(target=self._look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def _look(self) -> None:
        while True:
            self._seen.append((time.time(), time.process_time(), _resident_bytes()))
            if self._stopped.wait(LOOKED_EVERY):
                return

    def step(self, began: float, ended: float) -> Step:
        """What a step took that began and ended at two times, in seconds since 1970."""
        times, cores, memory = np.array(self._seen).T
        inside = memory[(times >= began) & (times <= ended)]
        cores_then = np.interp([began, ended], times, cores)
        peak = float(inside.max(initial=memory[0]) - memory[0])
        return Step(ended - began, float(cores_then[1] - cores_then[0]), peak)


def _resident_bytes() -> float:
    return float(STATM.read_text().split()[1]) * PAGE if STATM.is_file() else 0.0


def _refresh_here(catalog: str) -> OneRun:
    import dagster as dg

    from recsys_dagster.automation.jobs import refresh_job_name
    from recsys_dagster.build import build_defs
    from recsys_dagster.home import prepare_dagster_home, snapshots_folder, warehouse_folder
    from recsys_dagster.resources.machine import peak_bytes
    from recsys_dagster.snapshots.reader import Snapshot

    prepare_dagster_home()
    job = build_defs().resolve_job_def(refresh_job_name(catalog))
    watched = Watched()
    with dg.DagsterInstance.get() as instance, watched.looking():
        clock, cores = time.perf_counter(), time.process_time()
        result = job.execute_in_process(instance=instance)
        clock, cores = time.perf_counter() - clock, time.process_time() - cores
        log = instance.all_logs(result.run_id)
    began = {}
    steps = {}
    for entry in log:
        event = entry.dagster_event
        if event is None or event.step_key is None:
            continue
        if event.event_type_value == "STEP_START":
            began[event.step_key] = entry.timestamp
        elif event.event_type_value == "STEP_SUCCESS":
            steps[event.step_key] = watched.step(began[event.step_key], entry.timestamp)
    snapshot = Snapshot.current(snapshots_folder(), catalog)
    published: dict[str, float] = {}
    for file in snapshot.path.rglob("*.*"):
        name = file.parent.name if file.parent != snapshot.path else file.stem
        published[name] = published.get(name, 0.0) + file.stat().st_size
    stored = _stored(warehouse_folder() / f"{catalog}.duckdb")
    return OneRun(clock, cores, peak_bytes(), steps, stored, published)


def _stored(file: Path) -> dict[str, float]:
    """Bytes of each table in a DuckDB file, in whole blocks."""
    import duckdb

    from recsys_dagster.sql import literal, quoted

    with duckdb.connect(str(file), read_only=True) as connection:

        def rows(sql: str) -> list[tuple]:
            return connection.execute(sql).fetchall()

        ((block,),) = rows("select block_size from pragma_database_size()")
        stored = {}
        for schema, table in rows("select schema_name, table_name from duckdb_tables()"):
            name = literal(f"{quoted(schema)}.{quoted(table)}")
            ((blocks,),) = rows(
                f"select count(distinct block_id) from pragma_storage_info({name}) "
                "where block_id >= 0"
            )
            stored[table] = float(blocks * block)
        return stored


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(asdict(_refresh_here(sys.argv[1]))), encoding="utf-8")
