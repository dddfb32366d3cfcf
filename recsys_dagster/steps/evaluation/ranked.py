"""Lists of the users to test, as positions: ranked and filled like those that are published."""

import numpy as np
from scipy import sparse

from recsys_dagster.compute.blocks import LOCAL, Compute
from recsys_dagster.steps.lists.recommendations import BLOCK_CELLS, Asking, Ranking, best_items
from recsys_dagster.steps.lists.reranking import Reranking
from recsys_dagster.steps.models.base import NOT_RANKED, UserBlock
from recsys_dagster.steps.models.behaviour import Behaviour
from recsys_dagster.steps.models.fitted import Fitted

NO_ITEM = -1
"""In the places of a list that is shorter than asked for."""


def rank_for_evaluation(
    fitted: Fitted,
    behaviour_train: Behaviour,
    similarity_matrix: sparse.csr_matrix,
    users: np.ndarray,
    mask: sparse.csr_matrix,
    k: int,
    block: int | None = None,
    reranking: Reranking | None = None,
    compute: Compute = LOCAL,
) -> np.ndarray:
    """The best k items of each user among all of the catalogue: no sampled negatives.

    Sampled negatives change which strategy looks best (Krichene & Rendle, On Sampled Metrics for
    Item Recommendation, KDD 2020).

    Unlike published lists these may hold items that are not available: what is sold out today
    could be had at the time that the test asks for.

    Args:
        fitted: the strategy.
        behaviour_train: the matrices it was fitted on.
        similarity_matrix: float32 csr (all users × items).
        users: int64 (users,), positions of the users to test.
        mask: bool csr (all users × items), what is left out of lists: `behaviour_train.seen`, and
            the validation pairs where they are to be masked too.
        k: places of a list, at least 1.
        block: users at a time; where None, as many as keep their scores small.
        reranking: rules that order lists; None follows the scores.
        compute: does the blocks.

    Returns:
        int64 (users × k), item positions, best first; -1 where the catalogue has no more.
    """
    items = behaviour_train.seen.shape[1]
    step = block or max(1, BLOCK_CELLS // max(1, items))
    blocks = [users[start : start + step] for start in range(0, len(users), step)]
    asking = (
        Asking(own, UserBlock.of(behaviour_train, similarity_matrix, own), mask[own])
        for own in blocks
    )
    ranking = Ranking(fitted, behaviour_train.in_catalogue, k, reranking)
    ranked = np.full((len(users), k), NO_ITEM, dtype=np.int64)
    done = 0
    for lists in compute.map(_ranked_of, ranking, asking, "lists of users to test"):
        ranked[done : done + len(lists), : lists.shape[1]] = lists
        done += len(lists)
    return ranked


def _ranked_of(ranking: Ranking, asking: Asking) -> np.ndarray:
    items, best, _ = best_items(
        ranking.fitted.score(asking.histories),
        asking.seen,
        ranking.candidates,
        ranking.fitted.popularity,
        ranking.n,
        ranking.reranking,
    )
    return np.where(best > NOT_RANKED, items, NO_ITEM)
