"""How fast `recsys serve` answers, as multiples of what an answer that says nothing takes.

A server of the demo catalog and one of a synthetic catalog with many stored lists, each in a
process of its own on loopback, asked by this process for a bounded time. While stored lists are
asked for, a snapshot is exchanged every few seconds.

`python -m benchmarks.serving --json FILE` also writes the figures as rows of name, value and unit.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.foundation import Aim, as_table
from benchmarks.synthetic import NAME, publish_synthetic
from recsys_dagster.snapshots.current import CURRENT
from recsys_dagster.snapshots.reader import Snapshot

USERS, ROWS = 1_000_000, 20
ITEMS, LEARNED_FROM = 8_000, 6_000
SECONDS = 8.0
CLIENTS = 4
SWAP_SECONDS = 5.0
AIMS = {
    "serving.stored.p99_ratio": Aim(3, at_least=False),
    "serving.fold_in.p99_ratio": Aim(10, at_least=False),
    "serving.errors": Aim(0, at_least=False),
}
CONSOLE = Console(stderr=True)
Ask = Callable[[httpx.AsyncClient, int], Awaitable[httpx.Response]]


@contextmanager
def serving(home: Path, catalogs: Path) -> Generator[tuple[str, int, float]]:
    """A server over a home: its address, process and the seconds until it was ready."""
    recsys = str(Path(sys.executable).with_name("recsys"))
    environment = os.environ | {"RECSYS_HOME": str(home), "RECSYS_CATALOGS": str(catalogs)}
    started = time.perf_counter()
    with subprocess.Popen(
        [recsys, "serve", "--port", "0", "--rate", "0"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            address = re.search(r"http://\S+", process.stderr.readline())
            assert address is not None
            url = address.group()
            while True:
                try:
                    if httpx.get(f"{url}/health/ready").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.02)
            yield url, process.pid, time.perf_counter() - started
        finally:
            process.terminate()
            process.wait(timeout=30)


async def asked(
    url: str, ask: Ask, seconds: float, clients: int
) -> tuple[np.ndarray, list[httpx.Response]]:
    """Seconds of every answer, and the answers that were none."""
    times: list[float] = []
    errors: list[httpx.Response] = []
    end = time.perf_counter() + seconds

    async def one(number: int) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            turn = number
            while time.perf_counter() < end:
                started = time.perf_counter()
                answer = await ask(client, turn)
                times.append(time.perf_counter() - started)
                if answer.status_code != 200:
                    errors.append(answer)
                turn += clients

    await asyncio.gather(*(one(number) for number in range(clients)))
    return np.array(times), errors


def get(path: str) -> Ask:
    async def ask(client: httpx.AsyncClient, turn: int) -> httpx.Response:
        return await client.get(path)

    return ask


def stored_list(users: Sequence[str], catalog: str) -> Ask:
    async def ask(client: httpx.AsyncClient, turn: int) -> httpx.Response:
        user = users[turn * 7919 % len(users)]
        return await client.get(f"/v1/{catalog}/users/{user}/recommendations?n=20")

    return ask


def folded_in(histories: Sequence[Sequence[str]], catalog: str) -> Ask:
    async def ask(client: httpx.AsyncClient, turn: int) -> httpx.Response:
        body = {"items": histories[turn % len(histories)], "n": 20}
        return await client.post(f"/v1/{catalog}/recommendations", json=body)

    return ask


def of_text(catalog: str) -> Ask:
    async def ask(client: httpx.AsyncClient, turn: int) -> httpx.Response:
        body = {"text": f"a film about the sea, number {turn}", "n": 20}
        return await client.post(f"/v1/{catalog}/recommendations", json=body)

    return ask


def p(times: np.ndarray, share: float) -> float:
    return float(np.percentile(times, share))


def memory_mib(process: int) -> float:
    """Resident memory of a process, MiB."""
    text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found.group(1)) / 1024


def give_lists(snapshot: Snapshot, users: int) -> None:
    """Give a synthetic catalog a list for each of many users: those of a few, again and again."""
    file = snapshot.path / "recommendations.parquet"
    few = pq.read_table(file)
    known = few["user_id"].to_pandas()
    own = {user: few.filter(pc.field("user_id") == user) for user in known.unique()}
    templates = list(own.values())
    with pq.ParquetWriter(file.with_name("many.parquet"), few.schema, compression="zstd") as writer:
        for start in range(0, users, 1_000):
            some = [templates[user % len(templates)] for user in range(start, start + 1_000)]
            rows = pa.concat_tables(some)
            lengths = [each.num_rows for each in some]
            ids = np.repeat([f"{user:09}" for user in range(start, start + 1_000)], lengths)
            place = rows.schema.get_field_index("user_id")
            writer.write_table(rows.set_column(place, "user_id", pa.array(ids, pa.string())))
    file.with_name("many.parquet").replace(file)


def exchange(home: Path, names: Sequence[str], turn: int) -> None:
    """Make another snapshot the current one, as a publish does."""
    place = home / CURRENT
    beside = home / f".{CURRENT}"
    beside.write_text(names[turn % len(names)] + "\n", encoding="utf-8")
    beside.replace(place)


async def with_swaps(
    url: str, ask: Ask, home: Path, names: Sequence[str], seconds: float
) -> tuple[np.ndarray, list[httpx.Response], int]:
    """Answers while snapshots are exchanged; and how many were of a mix of two."""
    versions: list[bool] = []

    async def checked(client: httpx.AsyncClient, turn: int) -> httpx.Response:
        answer = await ask(client, turn)
        content = answer.json()
        titles = {row["title"].split()[0] for row in content["recommendations"]}
        versions.append(len(titles) == 1)
        return answer

    async def swapping() -> None:
        for turn in range(int(seconds / SWAP_SECONDS)):
            await asyncio.sleep(SWAP_SECONDS)
            exchange(home, names, turn + 1)

    (times, errors), _ = await asyncio.gather(asked(url, checked, seconds, CLIENTS), swapping())
    return times, errors, versions.count(False)


def two_versions(snapshot: Snapshot) -> list[str]:
    """A second snapshot beside the first, alike but for the first word of every title."""
    import shutil

    other = snapshot.path.with_name(snapshot.path.name + "-b")
    shutil.copytree(snapshot.path, other)
    for path, word in ((snapshot.path, "first"), (other, "second")):
        file = path / "items.parquet"
        items = pq.read_table(file)
        titles = [f"{word} {item}" for item in items["item_id"].to_pylist()]
        place = items.schema.get_field_index("title")
        pq.write_table(items.set_column(place, "title", pa.array(titles)), file)
    manifest = json.loads((other / "manifest.json").read_text("utf-8"))
    text = json.dumps(manifest | {"snapshot": other.name})
    (other / "manifest.json").write_text(text, encoding="utf-8")
    return [snapshot.path.name, other.name]


def measure(home: Path, catalogs: Path, users: int, seconds: float) -> list[dict]:
    """All figures.

    Args:
        home: where the demo catalog is published.
        catalogs: folder of the catalog files.
        users: of the synthetic catalog, who have lists.
        seconds: that each question is asked for.
    """
    figures: dict[str, tuple[float, str]] = {}
    snapshot = Snapshot.current(home / "snapshots", "movies")
    known = snapshot.some_users(500)
    histories = [
        [row.item_id for row in snapshot.recommend(user, 20)[: 3 + turn % 12]]
        for turn, user in enumerate(known)
    ]
    with serving(home, catalogs) as (url, process, _):
        CONSOLE.print("movies: nothing, stored lists, histories, texts")
        live, _ = asyncio.run(asked(url, get("/health/live"), seconds, CLIENTS))
        stored, wrong = asyncio.run(asked(url, stored_list(known, "movies"), seconds, CLIENTS))
        fold_in, more = asyncio.run(asked(url, folded_in(histories, "movies"), seconds, CLIENTS))
        text = None
        if snapshot.manifest["encoder"]["model"] != "tfidf":
            asyncio.run(asked(url, of_text("movies"), 1, 1))  # loads the encoder
            text, also = asyncio.run(asked(url, of_text("movies"), seconds, 1))
            more = [*more, *also]
    figures |= {
        "serving.live.p50_ms": (1_000 * p(live, 50), "ms"),
        "serving.live.p99_ms": (1_000 * p(live, 99), "ms"),
        "serving.stored.p50_ms": (1_000 * p(stored, 50), "ms"),
        "serving.stored.p99_ratio": (p(stored, 99) / p(live, 99), "ratio"),
        "serving.fold_in.p50_ms": (1_000 * p(fold_in, 50), "ms"),
        "serving.fold_in.p99_ratio": (p(fold_in, 99) / p(live, 99), "ratio"),
        "serving.rps": (len(stored) / seconds, "requests/s"),
    }
    if text is not None:
        figures["serving.text.p50_ms"] = (1_000 * p(text, 50), "ms")
    errors = len(wrong) + len(more)
    with tempfile.TemporaryDirectory(prefix="recsys-bench-") as temporary:
        other = Path(temporary)
        CONSOLE.print(f"{users:,} users with lists of {ROWS}")
        many = publish_synthetic(other, ITEMS, LEARNED_FROM)
        with serving(other, catalogs) as (_, process, _):
            few = memory_mib(process)
        give_lists(many, users)
        names = two_versions(many)
        exchange(other / "snapshots" / NAME, names, 0)
        with serving(other, catalogs) as (url, process, ready):
            million_rows = users * ROWS / 1e6
            held = (memory_mib(process) - few) / million_rows
            figures["serving.mib_per_million_rows"] = (held, "MiB")
            figures["serving.start_seconds"] = (ready, "s")
            some = [f"{user:09}" for user in range(0, users, max(1, users // 10_000))]
            base, _ = asyncio.run(asked(url, get("/health/live"), seconds, CLIENTS))
            ask = stored_list(some, NAME)
            quiet, wrong = asyncio.run(asked(url, ask, seconds, CLIENTS))
            swapped, also, mixed = asyncio.run(
                with_swaps(url, ask, other / "snapshots" / NAME, names, 4 * SWAP_SECONDS + 1)
            )
            figures |= {
                "serving.many.stored.p99_ratio": (p(quiet, 99) / p(base, 99), "ratio"),
                "serving.swapping.p99_ms": (1_000 * p(swapped, 99), "ms"),
            }
            errors += len(wrong) + len(also) + mixed
    figures["serving.errors"] = (float(errors), "answers")
    return [{"name": name, "value": value, "unit": unit} for name, (value, unit) in figures.items()]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    root = Path(__file__).resolve().parents[1]
    home = Path(os.environ.get("RECSYS_HOME", root / ".recsys"))
    parser.add_argument("--home", type=Path, default=home, help="where the demo is published")
    parser.add_argument("--users", type=int, default=USERS, help="of the synthetic catalog")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each question")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments = parser.parse_args()
    rows = measure(arguments.home, root / "catalogs", arguments.users, arguments.seconds)
    Console().print(as_table(rows, "Serving", AIMS))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
