"""gfcf: a graph filter on who likes what, nothing is trained.

Shen, Wu, Zhang, Shan, Zhang, Letaief, Li: How Powerful is Graph Convolution for Recommendation?,
CIKM 2021.
"""

import numpy as np
from scipy import sparse

from recsys_dagster.catalog.base import Settings
from recsys_dagster.steps.models.base import (
    ORDER,
    POSITIVES,
    Arrays,
    Evidence,
    RecencyPower,
    Strategy,
)
from recsys_dagster.steps.models.gram import GRAM_ROWS, gram
from recsys_dagster.steps.models.item_weights import (
    ItemWeightsModel,
    model_of,
    weight_arrays,
    whole,
)

LOW_PASS_RANK = 256
LOW_PASS_WEIGHT = np.float32(0.3)
POWER_ITERATIONS = 3
"""Of the randomised SVD: of RᵀR they do what twice as many would do of R."""


class GfcfSettings(Settings):
    """The filter itself has nothing to set."""

    recency_power: RecencyPower = 0.3


def learn(evidence: Evidence, _: GfcfSettings) -> Arrays:
    """GF-CF of the items with a positive pair; the others have no weights.

    All weights are kept: the many small ones are what a smooth filter says.
    """
    positives = evidence.behaviour.positives
    items = positives.shape[1]
    liked = np.flatnonzero(np.bincount(positives.indices, minlength=items))
    return weight_arrays(whole(gfcf_weights(positives[:, liked]), liked, items), liked)


def load(arrays: Arrays, settings: GfcfSettings) -> ItemWeightsModel:
    """The model of weights."""
    return model_of(arrays, settings.recency_power)


def gfcf_weights(positives: sparse.csr_matrix) -> np.ndarray:
    """W = RᵀR + a·D_I^-½ V Vᵀ D_I^½ with R = D_U^-½ X D_I^-½ and a = .3, zero diagonal.

    D_U and D_I hold the numbers of pairs of users and items, and V is the top right singular
    vectors of R, at most 256: those of RᵀR, which is there already, whatever the number of users.
    The paper keeps the diagonal; it only tells of items that a user has seen.

    Args:
        positives: X, csr (users × items).

    Returns:
        float32 (items × items).
    """
    # Late: a code location is loaded for every run.
    from sklearn.utils.extmath import randomized_svd

    W = gram(_normalised(positives))
    if not len(W):
        return W
    _, _, V = randomized_svd(W, min(LOW_PASS_RANK, len(W)), n_iter=POWER_ITERATIONS, random_state=0)
    root = np.sqrt(np.maximum(positives.sum(axis=0), 1)).A1
    left, right = LOW_PASS_WEIGHT * V.T / root[:, None], V * root
    for start in range(0, len(W), GRAM_ROWS):
        rows = slice(start, start + GRAM_ROWS)
        W[rows] += left[rows] @ right
    np.fill_diagonal(W, 0)
    return W


def _normalised(positives: sparse.csr_matrix) -> sparse.csr_matrix:
    of_user, of_item = (np.maximum(positives.sum(axis=axis), 1).A1 for axis in (1, 0))
    return sparse.csr_matrix(sparse.diags(of_user**-0.5) @ positives @ sparse.diags(of_item**-0.5))


STRATEGY = Strategy(
    name="gfcf",
    settings=GfcfSettings,
    formula="a graph filter: `r = X·W`, W from the normalised `XᵀX` and its low-pass part "
    "(Shen et al., 2021)",
    columns=(*POSITIVES, *ORDER),
    learn=learn,
    load=load,
    dense_over="positives",
)
