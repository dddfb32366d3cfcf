"""How fast, and in how little memory, the exact top-k runs beside faiss and scikit-learn.

`python -m benchmarks.neighbours --users 2000 --items 2000` prints the rows of a smaller size.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from recsys_dagster.steps.similarity.nearest import top_k

_SKLEARN_BLOCK = 2_000
# Scores, their negation and their order: what the matrix as a whole takes a cell.
_SKLEARN_CELL_BYTES = 16


def measure(
    users: int = 20_000,
    items: int = 20_000,
    dimension: int = 384,
    k: int = 100,
    repeats: int = 3,
) -> list[dict]:
    """Time `top_k` by cosine against what people reach for.

    Args:
        users: query vectors.
        items: item vectors.
        dimension: of both.
        k: neighbours a query.
        repeats: rounds of (faiss, ours); medians are compared. scikit-learn runs once.

    Returns:
        Rows {"name", "value", "unit"}, ratios being their time over ours: `topk.vs_sklearn` (the
        whole score matrix at once, as it is usually written; in blocks where memory is short),
        `topk.vs_sklearn_blocks` (the same in blocks of rows, its best form), `topk.vs_faiss`
        (building the index included), `topk.peak_mib` (memory at most in use beyond the vectors,
        the result included) and `topk.seconds`.
    """
    queries, table = _unit_vectors(users, dimension, 1), _unit_vectors(items, dimension, 2)
    ours, faiss = [], []
    _sklearn(queries[:64], table, k, 64)
    _faiss(queries[:64], table, k)
    top_k(queries[:64], table, k, "cosine")
    for _ in range(repeats):
        faiss.append(_seconds(lambda: _faiss(queries, table, k)))
        ours.append(_seconds(lambda: top_k(queries, table, k, "cosine")))
    blocks = _seconds(lambda: _sklearn(queries, table, k, _SKLEARN_BLOCK))
    fits = users * items * _SKLEARN_CELL_BYTES < _free_bytes()
    whole = _seconds(lambda: _sklearn(queries, table, k, users)) if fits else blocks
    seconds = statistics.median(ours)
    return [
        {"name": "topk.vs_sklearn", "value": whole / seconds, "unit": "x"},
        {"name": "topk.vs_sklearn_blocks", "value": blocks / seconds, "unit": "x"},
        {"name": "topk.vs_faiss", "value": statistics.median(faiss) / seconds, "unit": "x"},
        {"name": "topk.peak_mib", "value": _peak_mib(users, items, dimension, k), "unit": "MiB"},
        {"name": "topk.seconds", "value": seconds, "unit": "s"},
    ]


def _unit_vectors(count: int, dimension: int, seed: int) -> np.ndarray:
    """Random directions (count, dimension) float32, made in place so that memory has no peak."""
    vectors = np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32)
    vectors /= np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    return vectors


def _faiss(queries: np.ndarray, items: np.ndarray, k: int) -> None:
    import faiss

    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    index.search(queries, min(k, len(items)))


def _sklearn(queries: np.ndarray, items: np.ndarray, k: int, rows: int) -> None:
    from sklearn.metrics.pairwise import cosine_similarity

    for start in range(0, len(queries), rows):
        scores = cosine_similarity(queries[start : start + rows], items)
        order = np.argsort(-scores, axis=1)[:, :k]
        np.take_along_axis(scores, order, axis=1)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak_mib(users: int, items: int, dimension: int, k: int) -> float:
    """Ask a fresh process, whose peak is this search's alone."""
    sizes = ["--users", users, "--items", items, "--dimension", dimension, "--k", k]
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.neighbours", "--peak", *map(str, sizes)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    return float(answer.stdout)


def _own_peak_mib(users: int, items: int, dimension: int, k: int) -> float:
    queries, table = _unit_vectors(users, dimension, 1), _unit_vectors(items, dimension, 2)
    top_k(queries[:1], table[:1], 1, "cosine")  # loads faiss, which is not the search's memory
    before = _high_water_kib()
    top_k(queries, table, k, "cosine")
    return (_high_water_kib() - before) / 1024


def _high_water_kib() -> int:
    """Most resident memory so far; getrusage's ru_maxrss would count the parent's before exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def _free_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("users", 20_000), ("items", 20_000), ("dimension", 384), ("k", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak", action="store_true", help="print the memory of one search only")
    options = vars(parser.parse_args())
    repeats, peak = options.pop("repeats"), options.pop("peak")
    if peak:
        print(_own_peak_mib(**options))
        return
    for row in measure(**options, repeats=repeats):
        print(f"{row['name']:<24} {row['value']:>10.3f} {row['unit']}")


if __name__ == "__main__":
    main()
