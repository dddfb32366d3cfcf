"""Other people's libraries beside ours, on the splits of the published tables.

Their pins clash with ours, so they live in `.venv-peers`, which `make peers` makes from
`peers-requirements.txt`, and `peers_worker.py` runs there. All get the same train pairs, rank every
item for the same users with the same pairs masked (`published_tasks.PROTOCOLS`), and are measured
by our metrics.

Theirs have the best of seven settings each, the library's defaults among them: `--tune` looks for
them on validation, out of train, by the metric that ours are chosen by and for at most 1,000 users
drawn with seed 0, and writes them to `peers_settings.json`; without it they are used from there,
and a table that it was never run for has the libraries' defaults. Ours have the defaults of a
catalog.

`python -m benchmarks.peers --data DIR --json FILE` writes rows of table, method, metric, value,
fit_seconds and recommend_seconds, and prints `peers.slowest_win_ratio`: how many times the seconds
of the quickest of ours that finds as much the closest of theirs takes. Where validation is masked
beside train (C) the seconds of theirs hold longer lists, of which the masked items are dropped.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from scipy import sparse

from benchmarks.published import Measured, figures, masked_at_test, timed_fit, without_valid
from benchmarks.published import ask as ask_ours
from benchmarks.published_tasks import PROTOCOLS, Protocol, Task, evidence_of, read_task
from recsys_dagster.steps.evaluation.ranked import NO_ITEM

PYTHON = Path(__file__).resolve().parents[1] / ".venv-peers" / "bin" / "python"
WORKER = Path(__file__).with_name("peers_worker.py")
SETTINGS = Path(__file__).with_name("peers_settings.json")
TABLES = ("B", "C", "E", "F")
OURS = ("item_knn", "ease", "hybrid")
TUNING_USERS = 1_000
CONSOLE = Console(stderr=True)

Settings = dict[str, float | str | bool]


@dataclass(frozen=True)
class Peer:
    """A method of another library.

    Attributes:
        label: what it is called in tables.
        tried: the settings that `--tune` tries; empty ones are the library's defaults.
    """

    label: str
    tried: tuple[Settings, ...]


PEERS: dict[str, Peer] = {
    "rectools_ease": Peer(
        "RecTools EASE",
        ({}, *({"regularization": value} for value in (20, 50, 100, 200, 1000, 4000))),
    ),
    "rectools_puresvd": Peer(
        "RecTools PureSVD", ({}, *({"factors": value} for value in (20, 30, 50, 100, 200, 400)))
    ),
    "rectools_item_knn": Peer(
        "RecTools item-kNN",
        (
            {},
            *({"weighting": "tfidf", "K": value} for value in (50, 100, 200)),
            *({"weighting": "cosine", "K": value} for value in (20, 50, 100)),
        ),
    ),
    "implicit_als": Peer(
        "implicit ALS",
        (
            {},
            {"factors": 32, "regularization": 10},
            {"factors": 128, "regularization": 30},
            {"factors": 32, "regularization": 30, "alpha": 10},
            {"factors": 128, "regularization": 30, "alpha": 30},
            {"factors": 256, "regularization": 30, "alpha": 30},
            {"factors": 256, "regularization": 30, "alpha": 100},
        ),
    ),
    "lenskit_item_knn": Peer(
        "LensKit item-kNN", ({}, *({"max_nbrs": value} for value in (5, 10, 50, 100, 200, 500)))
    ),
    "cornac_ease": Peer(
        "Cornac EASE",
        ({}, *({"posB": False, "lamb": value} for value in (20, 50, 100, 250, 1000, 4000))),
    ),
    "cornac_bpr": Peer(
        "Cornac BPR",
        (
            {},
            {"k": 200, "learning_rate": 0.01, "lambda_reg": 0.001},
            {"k": 50, "learning_rate": 0.05, "lambda_reg": 0.01, "max_iter": 200},
            {"k": 200, "learning_rate": 0.05, "lambda_reg": 0.03, "max_iter": 200},
            {"k": 200, "learning_rate": 0.1, "lambda_reg": 0.01, "max_iter": 200},
            {"k": 200, "learning_rate": 0.1, "lambda_reg": 0.01, "max_iter": 500},
            {"k": 50, "learning_rate": 0.1, "lambda_reg": 0.01, "max_iter": 500},
        ),
    ),
}


@dataclass(frozen=True)
class Answer:
    """What a peer did with one of its settings.

    Attributes:
        ranked: int64 (users × k), item positions, best first; -1 where a list is shorter.
        fit_seconds: of learning.
        recommend_seconds: of ranking for all of the users.
        library: its name and version.
    """

    ranked: np.ndarray
    fit_seconds: float
    recommend_seconds: float
    library: str


def ask(
    method: str,
    settings: Sequence[Settings],
    train: sparse.csr_matrix,
    mask: sparse.csr_matrix,
    users: np.ndarray,
    k: int,
) -> list[Answer]:
    """Fit a peer with one of its settings after the other, in a process of its own.

    Args:
        method: a key of `PEERS`.
        settings: to fit with.
        train: bool csr (users × items), what is learnt from.
        mask: bool csr (users × items), what lists must not hold, train included.
        users: int64 (users,), positions of those to rank for, ascending, all of them in train.
        k: places of a list.

    Returns:
        An answer for each of `settings`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, matrix in (("train", train), ("mask", mask)):
            rows, columns = (places.astype(np.int64) for places in matrix.nonzero())
            pd.DataFrame({"user": rows, "item": columns}).to_parquet(folder / f"{part}.parquet")
        pd.DataFrame({"user": users}).to_parquet(folder / "users.parquet")
        request = {"method": method, "k": k, "settings": settings}
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        # -P: modules beside the worker must not stand in for those of the libraries.
        subprocess.run([PYTHON, "-P", WORKER, folder], check=True)
        answer = json.loads((folder / "answer.json").read_text("utf-8"))
        lists = pd.read_parquet(folder / "lists.parquet")
    ranked = np.full((len(settings), len(users), k), NO_ITEM, dtype=np.int64)
    ranked[lists["setting"], np.searchsorted(users, lists["user"]), lists["rank"] - 1] = lists[
        "item"
    ]
    return [
        Answer(own, **seconds, library=answer["library"])
        for own, seconds in zip(ranked, answer["seconds"], strict=True)
    ]


def tune(task: Task, method: str, protocol: Protocol) -> Settings:
    """The settings of a peer that are best on validation, by the metric that ours are chosen by."""
    train = without_valid(task)
    # Of B's tenth, a user may have taken all pairs.
    users = np.flatnonzero((np.diff(task.valid.indptr) > 0) & (np.diff(train.indptr) > 0))
    if len(users) > TUNING_USERS:
        users = np.sort(np.random.default_rng(0).choice(users, TUNING_USERS, replace=False))
    tried = PEERS[method].tried
    scores = [
        float(figures(answer.ranked, task.valid[users], protocol.ks)[protocol.chosen_by].mean())
        for answer in ask(method, tried, train, train, users, max(protocol.ks))
    ]
    best = int(np.argmax(scores))
    CONSOLE.print(
        f"  {PEERS[method].label}: {len(tried)} settings, {protocol.chosen_by} on validation "
        f"{scores[0]:.4f} → {scores[best]:.4f} with {in_words(tried[best])}",
        highlight=False,
    )
    return tried[best]


def measure_peer(
    task: Task, method: str, settings: Settings, protocol: Protocol
) -> tuple[Measured, str]:
    """What a peer does on test, and its library with the version."""
    users = np.flatnonzero(np.diff(task.test.indptr))
    mask = masked_at_test(task, protocol)
    answer = ask(method, [settings], task.train, mask, users, max(protocol.ks))[0]
    found = figures(answer.ranked, task.test[users], protocol.ks)
    return Measured(found, answer.fit_seconds, answer.recommend_seconds), answer.library


def in_words(settings: Settings) -> str:
    """Settings on a line."""
    return ", ".join(f"{name} {value}" for name, value in settings.items()) or "defaults"


@dataclass(frozen=True)
class Row:
    """A method in a table.

    Attributes:
        method: what it is called.
        library: its library, with the version.
        settings: in words.
        measured: what it did.
    """

    method: str
    library: str
    settings: str
    measured: Measured

    def as_records(self, table: str, metrics: Sequence[str]) -> list[dict]:
        """A record for each metric."""
        return [
            {
                "table": table,
                "method": self.method,
                "metric": metric,
                "value": self.measured.mean(metric),
                "fit_seconds": self.measured.fit_seconds,
                "recommend_seconds": self.measured.recommend_seconds,
            }
            for metric in metrics
        ]


def rows_of(name: str, task: Task, settings: dict[str, Settings]) -> list[Row]:
    """Theirs, then ours.

    Args:
        name: of the table.
        task: its data.
        settings: of the peers, by method; their defaults where there are none.
    """
    protocol = PROTOCOLS[name]
    rows = []
    for method, peer in PEERS.items():
        own = settings.get(method, {})
        measured, library = measure_peer(task, method, own, protocol)
        rows.append(Row(peer.label, library, in_words(own), measured))
    evidence = evidence_of(task, task.train)
    mask = masked_at_test(task, protocol)
    library = f"recsys-dagster {version('recsys-dagster')}"
    for method in OURS:
        fitted, seconds = timed_fit(evidence, method, {})
        measured = ask_ours(fitted, seconds, evidence, task.test, mask, protocol.ks)
        rows.append(Row(f"ours: {method}", library, in_words({}), measured))
    return rows


def slowest_win_ratio(rows: Sequence[Row], metric: str) -> float:
    """How many times the seconds of ours a peer takes to fit and recommend, of the closest race.

    Against each peer runs the quickest of ours that finds at least as much.

    Args:
        rows: theirs and ours, as of `rows_of`.
        metric: by which as much is found.
    """

    def seconds(row: Row) -> float:
        return row.measured.fit_seconds + row.measured.recommend_seconds

    ours = [row for row in rows if row.method.startswith("ours")]
    ratios = []
    for peer in (row for row in rows if row not in ours):
        able = [own for own in ours if own.measured.mean(metric) >= peer.measured.mean(metric)]
        quickest = min((seconds(own) for own in able), default=float("inf"))
        ratios.append(seconds(peer) / quickest)
    return min(ratios)


def as_markdown(name: str, rows: Sequence[Row]) -> str:
    """The rows as a table, with what each was set to."""
    metrics = PROTOCOLS[name].metrics
    headings = ("method", "library", "settings", *metrics, "fit s", "recommend s")
    lines = [headings, ["---"] * len(headings)]
    for row in rows:
        values = [f"{row.measured.mean(metric):.4f}" for metric in metrics]
        seconds = [
            f"{part:.1f}" for part in (row.measured.fit_seconds, row.measured.recommend_seconds)
        ]
        lines.append([row.method, row.library, row.settings, *values, *seconds])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", choices=TABLES, nargs="+", default=list(TABLES))
    parser.add_argument("--tune", action="store_true", help="search on validation first")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    parser.add_argument(
        "--cache", type=Path, default=Path(".recsys/vectors"), help="where vectors are kept"
    )
    arguments = parser.parse_args()
    if not PYTHON.exists():
        parser.error(f"there is no {PYTHON}: `make peers` makes it")
    settings = json.loads(SETTINGS.read_text("utf-8")) if SETTINGS.exists() else {}
    records: list[dict] = []
    for name in arguments.only:
        CONSOLE.rule(f"{name}: {PROTOCOLS[name].folder}")
        task = read_task(PROTOCOLS[name], arguments.data, arguments.cache)
        if arguments.tune:
            settings[name] = {method: tune(task, method, PROTOCOLS[name]) for method in PEERS}
            SETTINGS.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        chosen = (
            "the best of 7 on validation"
            if name in settings
            else "the libraries' defaults: --tune was never run for this table"
        )
        CONSOLE.print(f"  Settings of other libraries: {chosen}; of ours: a catalog's defaults.")
        rows = rows_of(name, task, settings.get(name, {}))
        metric = PROTOCOLS[name].metrics[-1]
        ratio = slowest_win_ratio(rows, metric)
        sys.stdout.write(f"{as_markdown(name, rows)}\n\npeers.slowest_win_ratio {ratio:.2f}\n\n")
        for row in rows:
            records += row.as_records(name, PROTOCOLS[name].metrics)
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
