"""als: weighted matrix factorisation by alternating least squares, of the library implicit.

Hu, Koren, Volinsky: Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy import sparse
from threadpoolctl import threadpool_limits

from recsys_dagster.catalog.base import Settings
from recsys_dagster.errors import UnfittableError, install
from recsys_dagster.steps.models.base import (
    MAX_NUMBER,
    NOT_RANKED,
    POSITIVES,
    Arrays,
    Evidence,
    Search,
    Strategy,
    UserBlock,
)

ITERATIONS = 15


class AlsSettings(Settings):
    """How many factors, and how sure they are of positives."""

    regularisation: Annotated[float, Field(gt=0, le=MAX_NUMBER), Search((1, 3, 10, 30, 100))] = (
        Field(default=30.0, description="λ")
    )
    confidence: Annotated[float, Field(ge=1, le=MAX_NUMBER), Search((2, 5, 10, 40))] = Field(
        default=10.0, description="how much a positive counts where any other pair counts 1"
    )
    factors: Annotated[int, Field(gt=0, le=10_000), Search((16, 32, 64, 128))] = Field(
        default=64, description="factors of a user and of an item"
    )


@dataclass(frozen=True)
class AlsModel:
    """Item factors; a user's come from the history in closed form, whoever the user is.

    With the factors Y_h of a history: r = Y·A⁻¹·c·Y_hᵀ1, A = YᵀY + (c − 1)·Y_hᵀY_h + λI. It is a
    sum over the history, whose parts are the contributions (section 5 of the paper).

    Attributes:
        item_factors: Y, float32 (items × f).
        confidence: c ≥ 1, how much a positive pair counts where any other pair counts 1.
        regularisation: λ.
    """

    item_factors: np.ndarray
    confidence: float
    regularisation: float

    def score(self, block: UserBlock) -> np.ndarray:
        """Y·(user's factors); users without a history are not ranked."""
        factors = [part.sum(axis=1) for part in self._parts(block, np.arange(len(block.lengths)))]
        scores = np.reshape(factors, (-1, self.item_factors.shape[1])) @ self.item_factors.T
        scores = scores.astype(np.float32, copy=False)
        scores[block.lengths == 0] = NOT_RANKED
        return scores

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """c·y_iᵀA⁻¹y_j for history items j."""
        firsts = np.flatnonzero(np.diff(rows, prepend=-1))
        parts = [
            (self.item_factors[items[first:end]] @ of_user).ravel()
            for (first, end), of_user in zip(
                pairwise([*firsts, len(rows)]), self._parts(block, rows[firsts]), strict=True
            )
        ]
        return np.concatenate([np.empty(0, dtype=np.float32), *parts])

    def _parts(self, block: UserBlock, users: np.ndarray) -> list[np.ndarray]:
        """What each item of a history adds to its user's factors, float32 (f × history) a user."""
        Y, starts = self.item_factors, block.positives.indptr
        with threadpool_limits(1):  # small systems: threads would wait for each other
            always = Y.T @ Y + np.float32(self.regularisation) * np.eye(Y.shape[1], dtype=Y.dtype)
            histories = [
                Y[block.positives.indices[starts[user] : starts[user + 1]]] for user in users
            ]
            return [
                np.float32(self.confidence)
                * np.linalg.solve(always + np.float32(self.confidence - 1) * (H.T @ H), H.T)
                for H in histories
            ]


def item_factors(
    positives: sparse.csr_matrix, factors: int, regularisation: float, confidence: float
) -> np.ndarray:
    """Factors of fixed seed, in one thread: the same data give the same model.

    Args:
        positives: X, csr (users × items).
        factors: f > 0.
        regularisation: λ > 0.
        confidence: c ≥ 1.

    Returns:
        float32 (items × f).

    Raises:
        UnfittableError: implicit is not installed.
    """
    try:
        from implicit.cpu.als import AlternatingLeastSquares
    except ImportError:
        raise UnfittableError(
            f"strategy: als needs the package implicit, which is not installed: {install('als')}."
        ) from None
    with threadpool_limits(1):
        model = AlternatingLeastSquares(
            factors=factors,
            regularization=regularisation,
            alpha=confidence,
            iterations=ITERATIONS,
            num_threads=1,
            random_state=0,
        )
        model.fit(positives, show_progress=False)
    return np.asarray(model.item_factors)


def learn(evidence: Evidence, settings: AlsSettings) -> Arrays:
    """Factors of items; those of users come from histories."""
    factors = item_factors(
        evidence.behaviour.positives,
        settings.factors,
        settings.regularisation,
        settings.confidence,
    )
    return {"item_factors": factors}


def load(arrays: Arrays, settings: AlsSettings) -> AlsModel:
    """The model of factors."""
    return AlsModel(arrays["item_factors"], settings.confidence, settings.regularisation)


STRATEGY = Strategy(
    name="als",
    settings=AlsSettings,
    formula="`r = U·Vᵀ`, factors of users and items (Hu, Koren and Volinsky, 2008)",
    columns=POSITIVES,
    learn=learn,
    load=load,
)
