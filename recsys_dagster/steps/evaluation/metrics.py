"""What lists are worth: accuracy of each user's list, and properties of all lists together.

Everywhere: `ranked` is int64 (users × K), item positions, best first, no item twice, -1 where a
list is shorter; `test` is csr (users × items) of ones, the held back pairs, no pair twice.

The accuracy metrics are those of trec_eval, which the tests compare them with.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from recsys_dagster.steps.lists.statistics import gini

BLOCK_CELLS = 4_000_000
"""Places of lists, or numbers of vectors, that are worked on at a time: 32 MB an array."""


def accuracy(
    ranked: np.ndarray, test: sparse.csr_matrix, ks: Sequence[int]
) -> dict[str, np.ndarray]:
    """Accuracy of each user's first k places, for each k of `ks`.

    With R the number of the user's test items and h_p whether place p holds one:

    - `recall@k` = Σ_{p≤k} h_p / R
    - `precision@k` = Σ_{p≤k} h_p / k, whatever the length of the list
    - `ndcg@k` = Σ_{p≤k} h_p / log2(p + 1) / Σ_{p≤min(k, R)} 1 / log2(p + 1), the ideal list's
      (Järvelin & Kekäläinen, Cumulated Gain-Based Evaluation of IR Techniques, TOIS 2002, with the
      discount of Burges et al., ICML 2005)
    - `map@k` = Σ_{p≤k} h_p · precision@p / R (Buckley & Voorhees, Evaluating Evaluation Measure
      Stability, SIGIR 2000)
    - `mrr@k` = 1 / the first p ≤ k with h_p, or 0 (Voorhees, The TREC-8 Question Answering Track
      Report, 1999)
    - `hit_rate@k` = whether there is one

    Args:
        ranked: lists with K ≥ every k.
        test: what they should hold.
        ks: numbers of places, each at least 1.

    Returns:
        float64 (users,) by name; NaN for users without a test item.

    Raises:
        ValueError: a k below 1, or lists that are not as wide as the largest.
    """
    users, width = _checked(ranked, ks)
    figures = {
        f"{name}@{k}": np.full(users, np.nan)
        for name in ("recall", "precision", "ndcg", "map", "mrr", "hit_rate")
        for k in ks
    }
    wanted = np.diff(test.indptr)
    asked = np.flatnonzero(wanted)
    step = max(1, BLOCK_CELLS // width)
    for start in range(0, len(asked), step):
        own = asked[start : start + step]
        hits = _hits(ranked[own, :width], test[own])
        for name, values in _accuracy(hits, wanted[own], ks).items():
            figures[name][own] = values
    return figures


def _accuracy(hits: np.ndarray, wanted: np.ndarray, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """The metrics of `accuracy` of users with test items, from bool (users × K)."""
    width = hits.shape[1]
    places = np.arange(1, width + 1)
    discounts = 1 / np.log2(places + 1)
    ideal = np.cumsum(discounts)
    found = np.cumsum(hits, axis=1)
    gained = np.cumsum(hits * discounts, axis=1)
    precise = np.cumsum(hits * (found / places), axis=1)
    first = np.where(found[:, -1] > 0, hits.argmax(axis=1) + 1, np.inf)
    figures = {}
    for k in ks:
        figures |= {
            f"recall@{k}": found[:, k - 1] / wanted,
            f"precision@{k}": found[:, k - 1] / k,
            f"ndcg@{k}": gained[:, k - 1] / ideal[np.minimum(k, wanted) - 1],
            f"map@{k}": precise[:, k - 1] / wanted,
            f"mrr@{k}": np.where(first <= k, 1 / first, 0),
            f"hit_rate@{k}": found[:, k - 1] > 0,
        }
    return figures


def _hits(ranked: np.ndarray, test: sparse.csr_matrix) -> np.ndarray:
    """Whether each place holds a test item, bool (users × K)."""
    rows = np.repeat(np.arange(len(ranked)), ranked.shape[1])
    held = np.asarray(test[rows, np.maximum(ranked, 0).ravel()]).reshape(ranked.shape)
    return (held > 0) & (ranked >= 0)


def catalogue_metrics(
    ranked: np.ndarray,
    test: sparse.csr_matrix,
    ks: Sequence[int],
    *,
    train_counts: np.ndarray,
    train_users: int,
    item_vectors: np.ndarray,
    candidates: np.ndarray,
) -> dict[str, float]:
    """Properties of the first k places of all lists together, for each k of `ks`.

    `coverage@k`, `gini@k`, `novelty@k`, `diversity@k` and `popularity_bias@k`: see the functions
    of these names. Novelty and diversity are means over users.

    Args:
        ranked: lists with K ≥ every k.
        test: what they should hold.
        ks: numbers of places, each at least 1.
        train_counts: int64 (items,), users with a positive pair in train.
        train_users: users with any.
        item_vectors: float32 (items × d); zeros where an item has no text.
        candidates: bool (items,), the items that lists may hold.

    Returns:
        Figures by name; NaN where no list has what a figure needs.
    """
    _checked(ranked, ks)
    surprise = self_information(train_counts, train_users)
    figures = {}
    for k in ks:
        top = ranked[:, :k]
        shown = exposure(top, len(train_counts))[candidates]
        figures |= {
            f"coverage@{k}": coverage(shown),
            f"gini@{k}": gini(shown),
            f"novelty@{k}": _mean(novelty(top, surprise)),
            f"diversity@{k}": _mean(diversity(top, item_vectors)),
            f"popularity_bias@{k}": popularity_bias(top, test, train_counts),
        }
    return figures


def exposure(ranked: np.ndarray, items: int) -> np.ndarray:
    """In how many lists each item is, int64 (items,)."""
    return np.bincount(ranked[ranked >= 0], minlength=items)


def coverage(shown: np.ndarray) -> float:
    """Share of the items that are in any list.

    (Herlocker et al., Evaluating Collaborative Filtering Recommender Systems, TOIS 2004: catalog
    coverage.)

    Args:
        shown: int64 (candidates,), `exposure` of the items that lists may hold.
    """
    return float((shown > 0).mean()) if len(shown) else np.nan


def self_information(train_counts: np.ndarray, train_users: int) -> np.ndarray:
    """How little expected each item is, −log2 of the share of users who like it, float64 (items,).

    An item nobody likes in train counts as if one user did: its surprise would be infinite.
    """
    return -np.log2(np.maximum(train_counts, 1) / max(train_users, 1))


def novelty(ranked: np.ndarray, surprise: np.ndarray) -> np.ndarray:
    """Mean self-information of each user's items, float64 (users,); NaN where a list is empty.

    (Zhou et al., Solving the Apparent Diversity-Accuracy Dilemma of Recommender Systems, PNAS
    2010.)

    Args:
        ranked: the lists.
        surprise: float64 (items,), `self_information`.
    """
    return _mean_of_lists(ranked, surprise)


def diversity(ranked: np.ndarray, item_vectors: np.ndarray) -> np.ndarray:
    """1 − the mean cosine of the pairs of items in each user's list, float64 (users,).

    With unit vectors Σ_{i≠j} v_i·v_j = ‖Σ_i v_i‖² − n. Items without a vector take no part; NaN
    where a list has fewer than two others. (Intra-list similarity: Ziegler et al., Improving
    Recommendation Lists Through Topic Diversification, WWW 2005.)

    Args:
        ranked: the lists.
        item_vectors: float32 (items × d); zeros where an item has no text.
    """
    lengths = np.linalg.norm(item_vectors, axis=1, keepdims=True)
    units = np.divide(item_vectors, lengths, out=np.zeros_like(item_vectors), where=lengths > 0)
    has_vector = (lengths > 0).ravel()
    spread = np.full(len(ranked), np.nan)
    step = max(1, BLOCK_CELLS // max(ranked.shape[1], units.shape[1]))
    for start in range(0, len(ranked), step):
        block = ranked[start : start + step]
        taken = (block >= 0) & has_vector[block]
        n = taken.sum(axis=1)
        starts = np.append(0, np.cumsum(n))
        ones = np.ones(starts[-1], dtype=units.dtype)
        lists = sparse.csr_matrix((ones, block[taken], starts), shape=(len(block), len(units)))
        sums = lists @ units
        squares = np.einsum("ud,ud->u", sums, sums, dtype=np.float64)
        cosines = np.divide(squares - n, n * (n - 1), out=np.full(len(n), np.nan), where=n > 1)
        # Rounding would make a list of identical items a little less diverse than none.
        spread[start : start + step] = np.maximum(1 - cosines, 0)
    return spread


def popularity_bias(ranked: np.ndarray, test: sparse.csr_matrix, train_counts: np.ndarray) -> float:
    """How much more popular what users are shown is than what they chose; 1 is as popular.

    Mean over users of the mean popularity of their lists, over that of their test items: of the
    users who have both, each counting alike. (Average recommendation popularity: Abdollahpouri et
    al., Managing Popularity Bias in Recommender Systems with Personalized Re-ranking, FLAIRS 2019.)

    Args:
        ranked: the lists.
        test: what users chose.
        train_counts: int64 (items,), users with a positive pair in train.
    """
    shown = _mean_of_lists(ranked, train_counts)
    wanted = np.diff(test.indptr)
    has_both = (wanted > 0) & ~np.isnan(shown)
    chosen = (test[has_both] @ train_counts) / wanted[has_both]
    return float(shown[has_both].mean() / chosen.mean()) if chosen.any() else np.nan


def _mean_of_lists(ranked: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean value of each list's items, float64 (users,); NaN where a list is empty."""
    means = np.full(len(ranked), np.nan)
    step = max(1, BLOCK_CELLS // max(1, ranked.shape[1]))
    for start in range(0, len(ranked), step):
        block = ranked[start : start + step]
        taken = block >= 0
        totals = np.where(taken, values[block], 0).sum(axis=1)
        n = taken.sum(axis=1)
        np.divide(totals, n, out=means[start : start + step], where=n > 0)
    return means


def _mean(values: np.ndarray) -> float:
    """The mean of what is not NaN."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def _checked(ranked: np.ndarray, ks: Sequence[int]) -> tuple[int, int]:
    """Number of users and the largest k."""
    users, width = ranked.shape
    if not ks or min(ks) < 1 or max(ks) > width:
        raise ValueError(f"lists of {width} places cannot be measured at {list(ks)}")
    return users, max(ks)
