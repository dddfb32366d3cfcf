"""item_knn: items that the same people like, by cosine."""

from typing import Annotated

import numpy as np
from pydantic import Field
from scipy import sparse

from recsys_dagster.catalog.base import Settings
from recsys_dagster.compute.blocks import LOCAL, Compute
from recsys_dagster.steps.models.base import (
    MAX_NUMBER,
    MAX_ROWS,
    ORDER,
    POSITIVES,
    Arrays,
    Evidence,
    RecencyPower,
    Search,
    Strategy,
)
from recsys_dagster.steps.models.gram import gram_rows
from recsys_dagster.steps.models.item_weights import ItemWeightsModel, model_of, weight_arrays
from recsys_dagster.steps.models.pairs import most_of_rows


class ItemKnnSettings(Settings):
    """Which items count as similar."""

    recency_power: RecencyPower = 0.3
    neighbours: Annotated[int, Field(gt=0, le=MAX_ROWS), Search((20, 50, 100, 200, 500))] = Field(
        default=200, description="neighbours an item learns from"
    )
    shrinkage: Annotated[float, Field(ge=0, le=MAX_NUMBER), Search((0, 10, 50, 200, 1000))] = Field(
        default=50.0, description="how far similarities that rest on few users shrink"
    )


def similarities(
    positives: sparse.csr_matrix, neighbours: int, shrinkage: float, compute: Compute = LOCAL
) -> sparse.csr_matrix:
    """B_ji = n_ij / (√(n_i n_j) + shrinkage) for the most similar items j of each i.

    n_ij users like both i and j. The shrinkage is that of Bell & Koren, Improved Neighborhood-based
    Collaborative Filtering, KDD Cup 2007: it takes similarities that rest on few users down.

    Args:
        positives: X, csr (users × items).
        neighbours: items j that each item i keeps; those of similarity 0 are not kept.
        shrinkage: users, ≥ 0.
        compute: does the blocks of XᵀX.

    Returns:
        float32 csr (items × items).
    """
    items = positives.shape[1]
    liked_by = np.bincount(positives.indices, minlength=items).astype(np.float32)
    values, rows, columns = [], [], []
    for own, product in gram_rows(positives, compute):
        both = product.tocoo()
        item, history = both.row + own.start, both.col
        others = item != history
        item, history = item[others], history[others]
        roots = np.sqrt(liked_by[item] * liked_by[history]) + np.float32(shrinkage)
        shape = (len(range(*own.indices(items))), items)
        cosines = both.data[others] / np.maximum(roots, 1)
        kept = most_of_rows(
            sparse.csr_matrix((cosines, (item - own.start, history)), shape=shape), neighbours
        ).tocoo()
        values.append(kept.data)
        rows.append(kept.col)
        columns.append(kept.row + own.start)
    if not values:
        return sparse.csr_matrix((items, items), dtype=np.float32)
    places = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix((np.concatenate(values), places), shape=(items, items))


def learn(evidence: Evidence, settings: ItemKnnSettings) -> Arrays:
    """The neighbours by behaviour."""
    positives = evidence.behaviour.positives
    weights = similarities(
        positives, settings.neighbours, settings.shrinkage, evidence.trainer.compute
    )
    return weight_arrays(weights, np.arange(positives.shape[1]))


def load(arrays: Arrays, settings: ItemKnnSettings) -> ItemWeightsModel:
    """The model of neighbours."""
    return model_of(arrays, settings.recency_power)


STRATEGY = Strategy(
    name="item_knn",
    settings=ItemKnnSettings,
    formula="the cosine of who likes two items: `r = X·S` (Bell and Koren, 2007)",
    columns=(*POSITIVES, *ORDER),
    learn=learn,
    load=load,
)
