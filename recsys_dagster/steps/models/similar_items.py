"""similar_items: r_ui = Σ over the user's items j of S_ji, S the item-item similarity."""

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import ItemWeightsModel


def fit_similar_items(neighbours: sparse.csr_matrix) -> ItemWeightsModel:
    """A model over kept neighbours.

    Args:
        neighbours: float32 csr (items × items), row j holding the similarities of j's neighbours.
    """
    return ItemWeightsModel("similar_items", neighbours, np.arange(neighbours.shape[0]))
