"""How long the list of a history takes that no run has seen, in a process that holds the model.

`python -m benchmarks.fold_in --json FILE` also writes the figures as rows of name, value and unit.
"""

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.foundation import Aim, as_table
from benchmarks.synthetic import lengths, publish_synthetic

ITEMS, USERS = 8_000, 6_000
HISTORIES = 500
ROWS = 20
AIMS = {
    "fold_in.p50_ms": Aim(5, at_least=False),
    "fold_in.p99_ms": Aim(20, at_least=False),
}


def measure(items: int = ITEMS, users: int = USERS, histories: int = HISTORIES) -> list[dict]:
    """Lists with reasons for histories with times, by the default strategy.

    Args:
        items: of the synthetic catalog.
        users: that its model learns from.
        histories: that are asked for one after the other.

    Returns:
        Rows {"name", "value", "unit"}: `fold_in.load_ms`, the first call, which loads the model;
        `fold_in.p50_ms` and `fold_in.p99_ms`, of the others.
    """
    with tempfile.TemporaryDirectory(prefix="recsys-bench-") as home:
        snapshot = publish_synthetic(Path(home), items, users)
        random = np.random.default_rng(1)
        popular = snapshot.recommendable()
        chances = 1 / np.arange(1, items + 1) ** 0.8
        now, milliseconds = datetime(2026, 1, 1, tzinfo=UTC), []
        for length in lengths(random, histories + 1).tolist():
            liked = random.choice(popular, min(length, items // 2), False, chances / chances.sum())
            history = liked.tolist()
            times = [now - timedelta(days=float(days)) for days in random.random(len(history))]
            started = time.perf_counter()
            snapshot.fold_in(history, times=times, n=ROWS)
            milliseconds.append(1_000 * (time.perf_counter() - started))
    first, *others = milliseconds
    p50, p99 = np.percentile(others, [50, 99])
    figures = {"fold_in.load_ms": first, "fold_in.p50_ms": p50, "fold_in.p99_ms": p99}
    return [{"name": name, "value": float(ms), "unit": "ms"} for name, ms in figures.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    options = parser.parse_args()
    console = Console()
    with console.status("fitting a model, and asking it"):
        rows = measure()
    console.print(as_table(rows, "Fold-in", AIMS))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
