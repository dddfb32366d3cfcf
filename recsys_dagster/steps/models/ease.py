"""ease: a closed-form linear autoencoder on behaviour alone.

Harald Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from recsys_dagster.catalog.base import Settings
from recsys_dagster.steps.models.base import (
    MAX_NUMBER,
    ORDER,
    POSITIVES,
    Arrays,
    Evidence,
    RecencyPower,
    Search,
    Strategy,
)
from recsys_dagster.steps.models.gram import regularised_gram_inverse
from recsys_dagster.steps.models.item_weights import (
    ItemWeightsModel,
    kept_arrays,
    model_of,
)
from recsys_dagster.steps.models.long_tail import Autoencoder, Parted, Together, long_tail_arrays
from recsys_dagster.steps.models.long_tail import about as about_head
from recsys_dagster.steps.models.memory import head_of
from recsys_dagster.steps.models.semantic_weights import SemanticFactors

Regularisation = Annotated[
    float,
    Field(gt=0, le=MAX_NUMBER),
    Search((25, 50, 100, 250, 500, 1000, 2000, 4000)),
]
Dropout = Annotated[
    float,
    Field(
        ge=0,
        lt=1,
        description="p: learn as if this share of every history were hidden",
    ),
    Search((0, 0.25, 0.5, 0.65, 0.8)),
]


class EaseSettings(Settings):
    """How much EASE may rest on single positives."""

    recency_power: RecencyPower = 0.3
    regularisation: Regularisation = Field(default=250.0, description="λ")
    dropout: Dropout = 0.5


def learn(evidence: Evidence, settings: EaseSettings) -> Arrays:
    """P = (XᵀX + diag λ)⁻¹, B_ij = −P_ij / P_jj, zero diagonal.

    Items without a positive pair have no weights, whatever λ: they are left out of the inverse.
    """
    positives, compute = evidence.behaviour.positives, evidence.trainer.compute
    items = positives.shape[1]
    liked = np.flatnonzero(np.bincount(positives.indices, minlength=items))
    X = positives[:, liked]
    head = head_of(evidence, len(liked))
    if head is not None:
        parted = Parted.of(X, head)
        no_texts = SemanticFactors.of(np.empty((len(liked), 0), dtype=np.float32), 1.0)
        model = Autoencoder(
            X, no_texts, parted, settings.regularisation, settings.dropout, 0.0, compute
        )
        return long_tail_arrays(Together(X, parted, [(1.0, model)]), X, liked, evidence)
    inverse = regularised_gram_inverse(X, settings.regularisation, settings.dropout, compute)
    inverse /= -np.diag(inverse).copy()
    np.fill_diagonal(inverse, 0)
    return kept_arrays(inverse, liked, items, liked, X)


def load(arrays: Arrays, settings: EaseSettings) -> ItemWeightsModel:
    """The model of weights."""
    return model_of(arrays, settings.recency_power)


STRATEGY = Strategy(
    name="ease",
    settings=EaseSettings,
    formula="a linear autoencoder: `r = X·B`, `P = (XᵀX + λI)⁻¹`, `B_ij = −P_ij / P_jj`, "
    "`B_jj = 0` (Steck, 2019)",
    columns=(*POSITIVES, *ORDER),
    learn=learn,
    load=load,
    dense_over="positives",
    about=about_head,
)
