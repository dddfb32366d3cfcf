"""item_knn: items that the same people like, by cosine."""

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import ItemWeightsModel
from recsys_dagster.steps.models.ease import gram_rows
from recsys_dagster.steps.similarity.ranking import top_n


def fit_item_knn(
    positives: sparse.csr_matrix, neighbours: int, shrinkage: float
) -> ItemWeightsModel:
    """B_ji = n_ij / (√(n_i n_j) + shrinkage) for the most similar items j of each i.

    n_ij users like both i and j. The shrinkage is that of Bell & Koren, Improved Neighborhood-based
    Collaborative Filtering, KDD Cup 2007: it takes similarities that rest on few users down.

    Args:
        positives: X, csr (users × items).
        neighbours: items j that each item i keeps; those of similarity 0 are not kept.
        shrinkage: users, ≥ 0.
    """
    items = positives.shape[1]
    liked_by = np.bincount(positives.indices, minlength=items).astype(np.float32)
    history = np.empty((items, min(neighbours, items)), dtype=np.int64)
    similarity = np.empty(history.shape, dtype=np.float32)
    for rows, both in gram_rows(positives):
        own = np.arange(items)[rows]
        both[np.arange(len(own)), own] = 0
        cosines = both / np.maximum(np.sqrt(np.outer(liked_by[rows], liked_by)) + shrinkage, 1)
        history[rows], similarity[rows] = top_n(cosines, neighbours)
    kept = similarity > 0
    target = np.broadcast_to(np.arange(items)[:, None], kept.shape)
    weights = sparse.csr_matrix(
        (similarity[kept], (history[kept], target[kept])), shape=(items, items)
    )
    return ItemWeightsModel("item_knn", weights, np.arange(items))
