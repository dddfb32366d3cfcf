"""What a training is stopped by: how well it finds what is hidden of some histories."""

from dataclasses import replace

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import NOT_RANKED, Evidence
from recsys_dagster.steps.similarity.ranking import top_n

PLACES = 20
HIDDEN_SHARE = 0.1
MAX_UNTIMED_SHARE = 0.1
MIN_HISTORY = 3
MAX_USERS = 5_000
MIN_BATCHES = 100
MAX_BATCHES = 300
"""Between two validations: a pass over all histories, but no fewer and no more than these."""


def ndcg_of(scores: np.ndarray, visible: sparse.csr_matrix, hidden: sparse.csr_matrix) -> float:
    """Mean NDCG@20 of lists without what is visible, float32 (users × n), for what is hidden."""
    return float(np.mean(ndcgs_of(scores, visible, hidden)))


def ndcgs_of(
    scores: np.ndarray, visible: sparse.csr_matrix, hidden: sparse.csr_matrix
) -> np.ndarray:
    """NDCG@20 of each list, float64 (users,).

    Args:
        scores: float32 (users × n); those of what is visible are overwritten.
        visible: csr (users × n), what lists do not hold.
        hidden: csr (users × n), what they should hold: something of every user.
    """
    scores[np.repeat(np.arange(len(scores)), np.diff(visible.indptr)), visible.indices] = NOT_RANKED
    ranked, values = top_n(scores, PLACES)
    hits = np.take_along_axis(hidden.toarray() > 0, ranked, axis=1) & (values > NOT_RANKED)
    gains = 1 / np.log2(np.arange(2, ranked.shape[1] + 2))
    wanted = np.minimum(np.diff(hidden.indptr), ranked.shape[1])
    return hits @ gains / np.cumsum(gains)[wanted - 1]


def validate_every(batches: int) -> int:
    """Batches between two validations, of so many that a pass over all histories has."""
    return int(np.clip(batches, MIN_BATCHES, MAX_BATCHES))


def without_newest(evidence: Evidence) -> tuple[Evidence, sparse.csr_matrix]:
    """What is known without the newest positives, and these; as strictly as they allow.

    By time, the newest tenth of all, where nine in ten have one; else of each user of three or
    more positives the last, where they are in an order; else a tenth by chance. Only users with
    something left are asked, 5,000 at most.

    Returns:
        What may be learned from; and what is hidden of those who are asked, csr (users × items).
    """
    behaviour = evidence.behaviour
    generator = np.random.default_rng(0)
    ages, recency = behaviour.ages, behaviour.recency
    rows = np.repeat(np.arange(recency.shape[0]), np.diff(recency.indptr))
    order = np.lexsort((recency.indices, recency.data, rows))
    newest = np.zeros(recency.nnz, dtype=bool)
    if np.isnan(ages.data).mean() <= MAX_UNTIMED_SHARE and np.ptp(ages.data[~np.isnan(ages.data)]):
        newest = ages.data < np.nanquantile(ages.data, HIDDEN_SHARE)
    elif (recency.data < 1).any():
        enough = np.flatnonzero(np.diff(recency.indptr) >= MIN_HISTORY)
        newest[order[recency.indptr[enough + 1] - 1]] = True
    else:
        newest = generator.random(recency.nnz) < HIDDEN_SHARE
    hidden = stored_where(recency, newest)
    left = stored_where(recency, ~newest)
    asked = np.flatnonzero((np.diff(hidden.indptr) > 0) & (np.diff(left.indptr) > 0))
    asked = generator.permutation(asked)[:MAX_USERS]
    seen = (behaviour.seen.astype(np.int8) - hidden.astype(bool).astype(np.int8)).tocsr()
    seen.eliminate_zeros()
    visible = replace(
        behaviour,
        seen=seen.astype(bool),
        weights=stored_where(behaviour.weights, ~newest),
        recency=recency_without(recency, newest),
        ages=stored_where(ages, ~newest),
        cold=behaviour.cold | (np.bincount(seen.indices, minlength=evidence.items) == 0),
    )
    of_asked = np.isin(np.repeat(np.arange(hidden.shape[0]), np.diff(hidden.indptr)), asked)
    return replace(evidence, behaviour=visible), stored_where(hidden, of_asked)


def recency_without(recency: sparse.csr_matrix, newest: np.ndarray) -> sparse.csr_matrix:
    """1 / (1 + later positives) of what is left when so many of each row's newest are gone."""
    left = stored_where(recency, ~newest)
    gone = np.diff(recency.indptr) - np.diff(left.indptr)
    later = np.rint(1 / left.data - 1) - np.repeat(gone, np.diff(left.indptr))
    left.data = (1 / (1 + np.maximum(later, 0))).astype(np.float32)
    return left


def stored_where(matrix: sparse.csr_matrix, kept: np.ndarray) -> sparse.csr_matrix:
    """The stored values of a csr matrix where `kept` says so, bool (nnz,)."""
    ends = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
    return sparse.csr_matrix((matrix.data[kept], matrix.indices[kept], ends), shape=matrix.shape)
