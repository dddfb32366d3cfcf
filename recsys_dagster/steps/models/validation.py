"""What a training is stopped by: how well it finds what is hidden of some histories."""

from dataclasses import replace

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import NOT_RANKED, Evidence
from recsys_dagster.steps.models.behaviour import Behaviour, ones
from recsys_dagster.steps.models.warm_start import Places
from recsys_dagster.steps.similarity.ranking import top_n

PLACES = 20
HIDDEN_SHARE = 0.1
MAX_UNTIMED_SHARE = 0.1
MIN_HISTORY = 3
ASKED_SHARE = 0.2
"""Of the users with enough: who are asked while something is trained."""
MIN_USERS, MAX_USERS = 200, 5_000
MICROSECONDS_OF_DAY = 86_400_000_000
MAX_CELLS = 100_000_000
"""Scores that are held at a time, 400 MB."""
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


def users_at_once(items: int) -> int:
    """How many users are scored at a time, so that memory does not grow with the items."""
    return max(1, MAX_CELLS // max(1, items))


def validate_every(batches: int) -> int:
    """Batches between two validations, of so many that a pass over all histories has."""
    return int(np.clip(batches, MIN_BATCHES, MAX_BATCHES))


def without_newest(evidence: Evidence) -> tuple[Evidence, sparse.csr_matrix]:
    """What is known without the newest positives, and these; as strictly as they allow.

    By time, the newest tenth of all, where nine in ten have one; else of each user of three or
    more positives the last, where they are in an order; else a tenth by chance. Only users with
    something left are asked, 5,000 at most. A way that leaves fewer than 200 of them, as where
    everybody came once, tells little: the first that leaves more is taken, or the one that leaves
    most.

    Returns:
        What may be learned from; and what is hidden of those who are asked, csr (users × items).
    """
    behaviour = evidence.behaviour
    recency = behaviour.recency
    generator = np.random.default_rng(0)
    newest, asked = np.zeros(recency.nnz, dtype=bool), np.empty(0, dtype=np.int64)
    for way in (_newest_of_all, _last_of_each, _some):
        if len(asked) >= MIN_USERS:
            break
        found = way(behaviour, generator)
        left, gone = (np.diff(stored_where(recency, own).indptr) for own in (~found, found))
        able = np.flatnonzero((left > 0) & (gone > 0))
        if len(able) > len(asked):
            newest, asked = found, generator.permutation(able)[:MAX_USERS]
    hidden = stored_where(recency, newest)
    seen = (behaviour.seen.astype(np.int8) - hidden.astype(bool).astype(np.int8)).tocsr()
    seen.eliminate_zeros()
    ages = stored_where(behaviour.ages, ~newest)
    age = float(np.nanmin(ages.data)) if len(ages.data) and not np.isnan(ages.data).all() else 0.0
    ages.data -= np.float32(age)
    visible = replace(
        behaviour,
        seen=seen.astype(bool),
        weights=stored_where(behaviour.weights, ~newest),
        recency=recency_without(recency, newest),
        ages=ages,
        cold=behaviour.cold | (np.bincount(seen.indices, minlength=evidence.items) == 0),
        newest=behaviour.newest - np.timedelta64(round(age * MICROSECONDS_OF_DAY), "us"),
    )
    of_asked = np.isin(np.repeat(np.arange(hidden.shape[0]), np.diff(hidden.indptr)), asked)
    return replace(evidence, behaviour=visible, last=None), stored_where(hidden, of_asked)


def _newest_of_all(behaviour: Behaviour, _: np.random.Generator) -> np.ndarray:
    """Which positives are the newest tenth of all, bool (nnz,); none where too few have a time."""
    ages = behaviour.ages.data
    if not len(ages) or np.isnan(ages).mean() > MAX_UNTIMED_SHARE:
        return np.zeros(len(ages), dtype=bool)
    with np.errstate(invalid="ignore"):
        return ages < np.nanquantile(ages, HIDDEN_SHARE)


def _last_of_each(behaviour: Behaviour, generator: np.random.Generator) -> np.ndarray:
    """Which positives are the last of a user, bool (nnz,); none where there is no order."""
    recency = behaviour.recency
    if not (recency.data < 1).any():
        return np.zeros(recency.nnz, dtype=bool)
    enough = np.diff(recency.indptr) >= MIN_HISTORY
    return newest_of_each(recency, enough.astype(np.int64), generator.random(recency.nnz))


def _some(behaviour: Behaviour, generator: np.random.Generator) -> np.ndarray:
    """A tenth of the positives by chance, bool (nnz,)."""
    return generator.random(behaviour.recency.nnz) < HIDDEN_SHARE


def newest_of_each(recency: sparse.csr_matrix, numbers: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Which stored values are the newest of their rows, bool (nnz,).

    Args:
        recency: csr (users × items), as `Behaviour` has it.
        numbers: int64 (users,), how many of each row, no more than it has.
        ties: float64 (nnz,), the larger is the newer of those that came together.
    """
    lengths = np.diff(recency.indptr)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((ties, recency.data, rows))
    from_end = np.repeat(recency.indptr[1:], lengths) - np.arange(recency.nnz) - 1
    newest = np.zeros(recency.nnz, dtype=bool)
    newest[order] = from_end < np.repeat(numbers, lengths)
    return newest


def chosen_of(
    enough: np.ndarray, most: int, generator: np.random.Generator, places: Places | None
) -> np.ndarray:
    """A fifth of some users, int64, at the most so many.

    Args:
        enough: int64, those who have positives enough to be asked.
        most: how many at once.
        generator: who draws them.
        places: of all users, where they are not drawn: those below a fifth.
    """
    if places is None:
        return generator.permutation(enough)[: min(most, int(ASKED_SHARE * len(enough)))]
    own = enough[places.users[enough] < ASKED_SHARE]
    return own[np.argsort(places.users[own])][:most]


def parted(
    recency: sparse.csr_matrix, is_hidden: np.ndarray
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """What is left, as recent as it then is, and what is hidden, as ones: csr (users × items)."""
    return recency_without(recency, is_hidden), ones(stored_where(recency, is_hidden))


def recency_without(recency: sparse.csr_matrix, gone: np.ndarray) -> sparse.csr_matrix:
    """1 / (1 + later positives) of what is left when some, bool (nnz,), are gone."""
    lengths = np.diff(recency.indptr)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    later = np.rint(1 / recency.data - 1).astype(np.int64)
    order = np.lexsort((later, rows))
    counted = np.concatenate([[0], np.cumsum(gone[order])])[:-1]  # gone before it, rows too
    # What came together has the same number of later ones: that of the first of them.
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (np.diff(rows[order]) != 0) | (np.diff(later[order]) != 0)
    before = np.empty(len(order), dtype=np.int64)
    before[order] = counted[np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))]
    of_row = np.concatenate([[0], np.cumsum(gone)])[recency.indptr[:-1]]
    later -= before - np.repeat(of_row, lengths)
    left = stored_where(recency, ~gone)
    left.data = (1 / (1 + np.maximum(later[~gone], 0))).astype(np.float32)
    return left


def stored_where(matrix: sparse.csr_matrix, kept: np.ndarray) -> sparse.csr_matrix:
    """The stored values of a csr matrix where `kept` says so, bool (nnz,)."""
    ends = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
    return sparse.csr_matrix((matrix.data[kept], matrix.indices[kept], ends), shape=matrix.shape)
