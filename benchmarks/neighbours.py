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
from functools import partial
from pathlib import Path

import numpy as np
from scipy import sparse

from recsys_dagster.compute.blocks import LocalCompute
from recsys_dagster.resources.machine import usable_cores
from recsys_dagster.steps.lists.recommendations import BLOCK_CELLS, best_items
from recsys_dagster.steps.similarity.nearest import top_k
from recsys_dagster.steps.similarity.ranking import top_n

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


def measure_scoring(
    users: int = 8_000,
    items: int = 20_000,
    dimension: int = 384,
    n: int = 20,
    seen: int = 60,
    repeats: int = 3,
) -> list[dict]:
    """Time lists from scores beside the matrix product that the scores are.

    The product alone has all cores at once, as BLAS shares it out. Lists are made as in a run: in
    blocks, one core each.

    Args:
        users: rows of scores.
        items: columns.
        dimension: of the product.
        n: places of a list.
        seen: items that a user must not get, where lists are masked.
        repeats: rounds of (product, lists, masked lists); medians are compared.

    Returns:
        Rows {"name", "value", "unit"}: `scoring.vs_gemm`, the seconds of the product alone over
        those of product and ranking, and `scoring.masked_vs_gemm`, the same with what users have
        seen taken out and lists filled up as those that are published.
    """
    queries, table = _unit_vectors(users, dimension, 1), _unit_vectors(items, dimension, 2).T.copy()
    random = np.random.default_rng(0)
    pairs = (np.repeat(np.arange(users), seen), random.integers(0, items, users * seen))
    mask = sparse.csr_matrix((np.ones(users * seen, dtype=bool), pairs), shape=(users, items))
    everything, popularity = np.ones(items, dtype=bool), random.random(items).astype(np.float32)
    step, compute = BLOCK_CELLS // items, LocalCompute(usable_cores())
    blocks = [slice(start, start + step) for start in range(0, users, step)]

    def product() -> None:
        for block in blocks:
            queries[block] @ table

    def ranked(_: None, block: slice) -> None:
        top_n(queries[block] @ table, n)

    def masked(_: None, block: slice) -> None:
        best_items(queries[block] @ table, mask[block], everything, popularity, n)

    def in_blocks(work: Callable[[None, slice], None]) -> None:
        for _ in compute.map(work, None, blocks, "lists"):
            pass

    ways = (product, partial(in_blocks, ranked), partial(in_blocks, masked))
    seconds = np.array([[_seconds(way) for way in ways] for _ in range(repeats)])
    alone, plain, with_mask = np.median(seconds, axis=0)
    return [
        {"name": "scoring.vs_gemm", "value": alone / plain, "unit": "x"},
        {"name": "scoring.masked_vs_gemm", "value": alone / with_mask, "unit": "x"},
    ]


def _unit_vectors(count: int, dimension: int, seed: int) -> np.ndarray:
    """Random directions (count, dimension) float32, made in place so that memory has no peak."""
    vectors = np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32)
    vectors /= np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    return vectors


def _faiss(queries: np.ndarray, items: np.ndarray, k: int) -> None:
    import faiss

    # As it comes; ours has blocks of its own in the same process.
    faiss.cvar.distance_compute_blas_query_bs = 4096
    faiss.cvar.distance_compute_blas_database_bs = 1024
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
