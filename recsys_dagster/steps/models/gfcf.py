"""gfcf: a graph filter on who likes what, nothing is trained.

Shen, Wu, Zhang, Shan, Zhang, Letaief, Li: How Powerful is Graph Convolution for Recommendation?,
CIKM 2021.
"""

import numpy as np
from scipy import sparse

from recsys_dagster.catalog.base import Settings
from recsys_dagster.compute.blocks import LOCAL, Compute
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
from recsys_dagster.steps.models.long_tail import Parted, Together, long_tail_arrays
from recsys_dagster.steps.models.long_tail import about as about_head
from recsys_dagster.steps.models.memory import head_of
from recsys_dagster.steps.models.pairs import pair_products, stored_values

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
    positives, compute = evidence.behaviour.positives, evidence.trainer.compute
    items = positives.shape[1]
    liked = np.flatnonzero(np.bincount(positives.indices, minlength=items))
    head = head_of(evidence, len(liked))
    if head is not None:
        X = positives[:, liked]
        parted = Parted.of(X, head)
        together = Together(X, parted, [(1.0, GraphFilter(X, parted))])
        return long_tail_arrays(together, X, liked, evidence)
    return weight_arrays(whole(gfcf_weights(positives[:, liked], compute), liked, items), liked)


def load(arrays: Arrays, settings: GfcfSettings) -> ItemWeightsModel:
    """The model of weights."""
    return model_of(arrays, settings.recency_power)


def gfcf_weights(positives: sparse.csr_matrix, compute: Compute = LOCAL) -> np.ndarray:
    """W = RᵀR + a·D_I^-½ V Vᵀ D_I^½ with R = D_U^-½ X D_I^-½ and a = .3, zero diagonal.

    D_U and D_I hold the numbers of pairs of users and items, and V is the top right singular
    vectors of R, at most 256: those of RᵀR, which is there already, whatever the number of users.
    The paper keeps the diagonal; it only tells of items that a user has seen.

    Args:
        positives: X, csr (users × items).
        compute: does the blocks of RᵀR.

    Returns:
        float32 (items × items).
    """
    # Late: a code location is loaded for every run.
    from sklearn.utils.extmath import randomized_svd

    W = gram(_normalised(positives), compute)
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


class GraphFilter:
    """The same W, worked out a few columns at a time: RᵀR is sparse, its low-pass part is thin."""

    def __init__(self, positives: sparse.csr_matrix, parted: Parted) -> None:
        """Find the low-pass part.

        Args:
            positives: X, csr (users × items).
            parted: head and tail of the items.
        """
        # Late: a code location is loaded for every run.
        from sklearn.utils.extmath import randomized_svd

        normalised = _normalised(positives)
        # Of a matrix itself, not of its square, it takes twice the power iterations.
        _, _, V = randomized_svd(
            normalised,
            min(LOW_PASS_RANK, *normalised.shape),
            n_iter=2 * POWER_ITERATIONS,
            random_state=0,
        )
        root = np.sqrt(np.maximum(positives.sum(axis=0), 1)).A1
        self._left = (LOW_PASS_WEIGHT * V.T / root[:, None]).astype(np.float32)
        self._right = (V * root).T.astype(np.float32)
        self._parted, self._rows, self._columns = parted, normalised, normalised.tocsc()
        self._head, self._tail = normalised[:, parted.head], normalised[:, parted.tail]
        self._place_in_head = np.full(positives.shape[1], -1)
        self._place_in_head[parted.head] = np.arange(len(parted.head))
        # What an item says of itself, by users who have it, and by the low-pass part.
        self._squares = np.asarray(normalised.multiply(normalised).sum(axis=0)).ravel()
        self._smooth = np.einsum("ij,ij->i", self._left, self._right)

    def of_head(self, columns: np.ndarray) -> np.ndarray:
        """See `long_tail.Linear`."""
        found = (self._columns[:, columns].T @ self._head).toarray()
        found += self._right[columns] @ self._left[self._parted.head].T
        place = self._place_in_head[columns]
        own = np.flatnonzero(place >= 0)
        found[own, place[own]] = 0
        return found

    def of_pairs(
        self, rows: np.ndarray, tail: np.ndarray, columns: np.ndarray, _: np.ndarray
    ) -> np.ndarray:
        """See `long_tail.Linear`."""
        together = stored_values(self._columns[:, columns].T.tocsr() @ self._tail, rows, tail)
        return together + pair_products(
            self._left, self._parted.tail[tail], self._right[columns], rows
        )

    def lent(self, shares: sparse.csr_matrix) -> tuple[np.ndarray, sparse.csr_matrix]:
        """W·w for some items that are lent, what the head and what the tail say.

        Args:
            shares: w, float32 csr (c × items), what each is lent by each item.

        Returns:
            float32 (c × h) and float32 csr (c × t), the second without the low-pass part.
        """
        asked = shares @ self._rows.T

        def own(diagonal: np.ndarray, of: np.ndarray) -> sparse.csr_matrix:
            return shares[:, of].multiply(diagonal[of][None, :].astype(np.float32)).tocsr()

        head, tail = self._parted.head, self._parted.tail
        found = (asked @ self._head).toarray()
        found -= own(self._squares + self._smooth, head).toarray()
        found += (shares @ self._right) @ self._left[head].T
        return found, (asked @ self._tail - own(self._squares, tail)).tocsr()


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
    about=about_head,
)
