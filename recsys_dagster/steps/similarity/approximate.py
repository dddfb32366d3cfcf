"""An approximate index for more pairs than exact search has time for, held to a measured recall.

faiss's inverted lists (IVF): items are grouped by k-means, and a query looks at the groups nearest
to it alone. How many is found by asking for a sample of the queries both ways. Inverted lists and
not a graph (HNSW), because they come out the same for the same vectors whatever the number of
threads that built them, and are built in a fifth of the time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

MIN_RECALL = 0.99
SAMPLE_QUERIES = 512
POINTS_PER_LIST = 64
"""That k-means looks at: more makes lists no better."""
ROUNDS = 10
"""Of k-means."""
FIRST_PROBES = 4
MAX_SHARE = 0.25
"""Of the lists: a query that has to look at more is as quick where all are looked at."""


@dataclass(frozen=True, eq=False)
class ApproximateIndex:
    """Items in lists, of which a query looks at some.

    Attributes:
        index: faiss's.
        lists: how many there are.
        probes: how many of them a query looks at.
        recall: which share of the exact nearest was found for a sample of the queries.
        is_distance: whether smaller is nearer.
    """

    index: Any
    lists: int
    probes: int
    recall: float
    is_distance: bool

    def search(self, queries: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
        """Look for the nearest of queries, float32 (b × d).

        Returns:
            Scores float32 (b × fetch), larger is nearer, and positions int64, −1 where the lists
            that a query looks at hold too few.
        """
        scores, positions = self.index.search(queries, fetch)
        return (-scores if self.is_distance else scores), positions

    @property
    def in_words(self) -> str:
        """For metadata."""
        return (
            f"approximate: {self.probes:,} of {self.lists:,} lists a query, "
            f"{self.recall:.2%} of the nearest found in a sample"
        )


def approximate_index(
    queries: np.ndarray,
    items: np.ndarray,
    fetch: int,
    is_distance: bool,
    doing: Callable[[str], None] = lambda _what: None,
) -> ApproximateIndex | None:
    """An index that finds 99 % of the nearest, or None where no index does in much less time.

    Args:
        queries: float32 (m × d), those that will be asked; a sample of them is.
        items: float32 (n × d).
        fetch: how many of the nearest are asked for, fewer than n.
        is_distance: whether nearness is euclidean distance; else it is the inner product.
        doing: called with what begins, in words.
    """
    import faiss

    lists = int(2 * np.sqrt(len(items)))
    doing(f"grouping {len(items):,} items into {lists:,} lists")
    metric = faiss.METRIC_L2 if is_distance else faiss.METRIC_INNER_PRODUCT
    flat = faiss.IndexFlatL2 if is_distance else faiss.IndexFlatIP
    index = faiss.IndexIVFFlat(flat(items.shape[1]), items.shape[1], lists, metric)
    index.cp.niter, index.cp.max_points_per_centroid = ROUNDS, POINTS_PER_LIST
    index.train(items)
    index.add(items)
    sample = queries[np.linspace(0, len(queries) - 1, min(len(queries), SAMPLE_QUERIES), dtype=int)]
    _, nearest = faiss.knn(sample, items, fetch, metric=metric)
    probes = FIRST_PROBES
    while probes <= MAX_SHARE * lists:
        index.nprobe = probes
        found = ApproximateIndex(index, lists, probes, 0.0, is_distance)
        recall = shared(found.search(sample, fetch)[1], nearest)
        if recall >= MIN_RECALL:
            return ApproximateIndex(index, lists, probes, recall, is_distance)
        probes *= 2
    return None


def shared(found: np.ndarray, nearest: np.ndarray) -> float:
    """Which share of `nearest`, int64 (m × k), is in the same row of `found`."""
    rows = np.arange(len(nearest))[:, None]
    step = np.int64(max(found.max(initial=0), nearest.max(initial=0)) + 2)
    hits = np.isin(nearest + rows * step, np.where(found < 0, -1, found + rows * step))
    return float(hits.mean())
