"""What a refresh takes as catalogs grow: from Parquet to published, through Dagster.

A catalog of nobody's is drawn at three sizes, each half as large as the next in users and items
alike, and once more with only its users and only its items halved. Popularity falls with rank as
1 / rank^0.8, who likes an item of a topic likes more of it, lengths of histories are log-normal,
and texts are words of topics, encoded by `encoder: tfidf`. Strategies are not measured: that comes
after what is published. Each run is a process of its own.

| figure | what it is |
| --- | --- |
| `scale.peak_gib` | GiB that the process took at its largest, of the largest run |
| `scale.minutes` | minutes of the job, of the largest run |
| `scale.users.exponent` | power of the users that the time goes with, items as they are |
| `scale.items.exponent` | the same of the items, users as they are |

`python -m benchmarks.scale --json FILE` writes them, and the seconds of each step, as rows of name,
value and unit. `--full` runs 1 M users and 20 M interactions once, and no other size.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.foundation import Aim, as_table

NAME = "scale"
USERS, ITEMS, INTERACTIONS = 100_000, 200_000, 3_000_000
FULL_USERS, FULL_INTERACTIONS = 1_000_000, 20_000_000
ITEMS_OF_TOPIC = 500
OWN_SHARE = 0.7
"""Of a history: with items of the user's own topics; the rest by popularity alone."""
TOPICS_OF_USER = 3
FALL = 0.8
SPREAD = 1.0
WORDS, WORDS_OF_TOPIC, WORDS_OF_TEXT = 20_000, 40, 8
DAY = 86_400
BEGAN, DAYS = 1_700_000_000, 730
AIMS = {
    "scale.peak_gib": Aim(12, at_least=False),
    "scale.users.exponent": Aim(1.1, at_least=False),
    "scale.items.exponent": Aim(1.3, at_least=False),
}
CATALOG = """\
name: scale
interactions: {source: interactions.parquet}
items: {source: items.parquet, text: title}
encoder: {model: tfidf, dimension: 256}
evaluation: {on_refresh: false}
"""
CONSOLE = Console(stderr=True)


def draw(folder: Path, users: int, items: int, interactions: int) -> None:
    """Write a catalog and its two tables.

    Args:
        folder: where to.
        users: how many.
        items: how many.
        interactions: how many, about.
    """
    random = np.random.default_rng(0)
    topics = max(1, items // ITEMS_OF_TOPIC)
    topic_of = random.integers(0, topics, items)
    rank = random.permutation(items) + 1
    by_topic = np.lexsort((rank, topic_of))
    starts = np.searchsorted(topic_of[by_topic], np.arange(topics + 1))
    weights = 1 / rank[by_topic] ** FALL
    sums = np.concatenate([[0.0], np.cumsum(weights)])

    lengths = np.exp(random.normal(0, SPREAD, users))
    lengths = np.maximum(1, np.rint(lengths * interactions / lengths.sum())).astype(np.int64)
    user_of = np.repeat(np.arange(users), np.minimum(lengths, items // 4))
    own = random.integers(0, topics, (users, TOPICS_OF_USER))
    topic = own[user_of, random.integers(0, TOPICS_OF_USER, len(user_of))]
    everywhere = random.random(len(user_of)) > OWN_SHARE
    low = np.where(everywhere, 0.0, sums[starts[topic]])
    high = np.where(everywhere, sums[-1], sums[starts[topic + 1]])
    place = np.searchsorted(sums, low + random.random(len(user_of)) * (high - low), side="right")
    item_of = by_topic[np.clip(place - 1, 0, items - 1)]
    seconds = BEGAN + random.integers(0, DAYS * DAY, len(user_of))
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table({"user_id": user_of, "item_id": item_of, "timestamp": seconds}),
        folder / "interactions.parquet",
    )
    words = np.array([f"w{number:05}" for number in range(WORDS)])
    of_topic = random.integers(0, WORDS, (topics, WORDS_OF_TOPIC))
    chosen = of_topic[topic_of[:, None], random.integers(0, WORDS_OF_TOPIC, (items, WORDS_OF_TEXT))]
    titles = [" ".join(text) for text in words[chosen]]
    pq.write_table(
        pa.table({"item_id": np.arange(items), "title": titles}), folder / "items.parquet"
    )
    (folder / "scale.yaml").write_text(CATALOG, encoding="utf-8")


def measure(users: int, items: int, interactions: int, log: Path | None = None) -> dict:
    """Draw a catalog and refresh it in a process of its own: seconds, of each step, and GiB.

    Raises:
        RuntimeError: the run failed.
    """
    with tempfile.TemporaryDirectory(prefix="recsys-scale-") as folder:
        home = Path(folder)
        draw(home / "catalogs", users, items, interactions)
        environment = os.environ | {
            "RECSYS_HOME": str(home),
            "DAGSTER_HOME": str(home / "dagster"),
            "RECSYS_CATALOGS": str(home / "catalogs"),
        }
        answer = home / "measured.json"
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scale", "--answer", str(answer)],
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
        return json.loads(answer.read_text())


def _run() -> dict:
    """Refresh the catalog here."""
    from recsys_dagster.home import prepare_dagster_home

    prepare_dagster_home()
    import dagster as dg

    from recsys_dagster.automation.jobs import refresh_job_name
    from recsys_dagster.build import build_defs
    from recsys_dagster.resources.machine import peak_bytes

    job = build_defs().resolve_job_def(refresh_job_name(NAME))
    with dg.DagsterInstance.get() as instance:
        began = time.perf_counter()
        result = job.execute_in_process(instance=instance)
        seconds = time.perf_counter() - began
    steps = {
        event.step_key: event.step_success_data.duration_ms / 1000
        for event in result.all_events
        if event.event_type_value == "STEP_SUCCESS" and event.step_key is not None
    }
    return {"seconds": seconds, "steps": steps, "peak_gib": peak_bytes() / 2**30}


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The slope of log seconds over log size, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def rows_of(runs: dict[tuple[int, int], dict], largest: tuple[int, int]) -> list[dict]:
    """The figures of runs by users and items."""
    found = runs[largest]
    rows = [
        {"name": "scale.peak_gib", "value": found["peak_gib"], "unit": "GiB"},
        {"name": "scale.minutes", "value": found["seconds"] / 60, "unit": "min"},
    ]
    for name, place in (("users", 0), ("items", 1)):
        own = sorted(size for size in runs if size[1 - place] == largest[1 - place])
        if len(own) > 1:
            slope = exponent([size[place] for size in own], [runs[size]["seconds"] for size in own])
            rows.append({"name": f"scale.{name}.exponent", "value": slope, "unit": "power"})
    steps = sorted(found["steps"].items(), key=lambda step: -step[1])
    rows += [
        {"name": f"scale.{step.removeprefix(NAME + '__')}.seconds", "value": took, "unit": "s"}
        for step, took in steps
        if took >= 1
    ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument("--full", action="store_true", help="1 M users, 20 M interactions, once")
    parser.add_argument("--share", type=float, default=1.0, help="of users, items, interactions")
    parser.add_argument("--once", action="store_true", help="the largest size alone")
    parser.add_argument("--log", type=Path, help="where the log of the last run goes")
    options = parser.parse_args()
    if options.answer is not None:
        options.answer.write_text(json.dumps(_run()))
        return
    users, interactions = (FULL_USERS, FULL_INTERACTIONS) if options.full else (USERS, INTERACTIONS)
    users, items = int(options.share * users), int(options.share * ITEMS)
    interactions = int(options.share * interactions)
    sizes = [(users, items)]
    if not (options.once or options.full):
        sizes += [(users // 2, items), (users // 4, items)]
        sizes += [(users, items // 2), (users, items // 4)]
    runs: dict[tuple[int, int], dict] = {}
    table = RichTable("users", "items", "interactions", "minutes", "GiB")
    for size in sizes:
        of_users = interactions * size[0] // users
        CONSOLE.print(f"{size[0]:,} users, {size[1]:,} items, {of_users:,} interactions …")
        runs[size] = found = measure(*size, of_users, options.log)
        numbers = (f"{size[0]:,}", f"{size[1]:,}", f"{of_users:,}")
        table.add_row(*numbers, f"{found['seconds'] / 60:.1f}", f"{found['peak_gib']:.1f}")
    rows = rows_of(runs, sizes[0])
    console = Console()
    console.print(table)
    console.print(as_table(rows, "A refresh as catalogs grow", AIMS))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
