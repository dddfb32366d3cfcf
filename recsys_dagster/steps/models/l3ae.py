"""l3ae: a linear autoencoder on behaviour, pulled towards weights learned from texts.

Moon, Park, Lee: LLM-Enhanced Linear Autoencoders for Recommendation, CIKM 2025.
"""

from typing import Annotated

import numpy as np
from pydantic import Field
from scipy import sparse

from recsys_dagster.catalog.base import Settings
from recsys_dagster.steps.models.base import (
    MAX_NUMBER,
    ORDER,
    POSITIVES,
    VECTORS,
    Arrays,
    Evidence,
    RecencyPower,
    Search,
    Strategy,
)
from recsys_dagster.steps.models.ease import Dropout, Regularisation
from recsys_dagster.steps.models.gram import regularised_gram_inverse
from recsys_dagster.steps.models.inverse import regularised_inverse
from recsys_dagster.steps.models.item_weights import (
    ItemWeightsModel,
    kept_arrays,
    model_of,
)
from recsys_dagster.steps.models.weighting import weighted

SemanticShare = Annotated[
    float,
    Field(ge=0, le=1, description="λ_E / λ: pull towards the weights that texts alone give"),
    Search((0, 0.2, 0.5, 0.8, 0.95)),
]
ItemWeighting = Annotated[
    float,
    Field(ge=0, le=10, description="b: the larger, the less popular items count"),
    Search((0, 0.25, 0.5)),
]
UserWeighting = Annotated[
    float,
    Field(ge=-2, le=2, description="a: above 0 active users count less, below 0 more"),
    Search((-1, -0.5, 0, 0.25, 0.5, 0.75)),
]
SemanticRegularisation = Annotated[
    float, Field(gt=0, le=MAX_NUMBER, description="λ_F"), Search((1, 5, 20))
]


class L3aeSettings(Settings):
    """How much behaviour and texts say."""

    recency_power: RecencyPower = 0.3
    regularisation: Regularisation = Field(default=250.0, description="λ = λ_X + λ_E")
    dropout: Dropout = 0.5
    semantic_share: SemanticShare = 0.8
    item_weighting: ItemWeighting = 0.0
    user_weighting: UserWeighting = 0.0
    semantic_regularisation: SemanticRegularisation = 5.0


def learn(evidence: Evidence, settings: L3aeSettings) -> Arrays:
    """L3AE of the items people know: cold ones have no weights."""
    behaviour = evidence.behaviour
    warm = np.flatnonzero(~behaviour.cold)
    X = behaviour.positives[:, warm]
    learned = l3ae_weights(
        X,
        evidence.item_vectors[warm],
        regularisation=settings.regularisation,
        semantic_weight=settings.semantic_share * settings.regularisation,
        semantic_regularisation=settings.semantic_regularisation,
        dropout=settings.dropout,
        user_weighting=settings.user_weighting,
        item_weighting=settings.item_weighting,
    )
    return kept_arrays(learned, warm, len(behaviour.cold), warm, X)


def load(arrays: Arrays, settings: L3aeSettings) -> ItemWeightsModel:
    """The model of weights."""
    return model_of(arrays, settings.recency_power)


def l3ae_weights(
    positives: sparse.csr_matrix,
    item_vectors: np.ndarray,
    *,
    regularisation: float,
    semantic_weight: float,
    semantic_regularisation: float,
    dropout: float = 0.0,
    user_weighting: float = 0.0,
    item_weighting: float = 0.0,
) -> np.ndarray:
    """Item-item weights B, zero diagonal, that predict X from X·B and stay near the texts' C.

    With P₁ = (FFᵀ + λ_F I)⁻¹ and C_ij = −P₁_ij / P₁_jj, zero diagonal, B minimises
    ‖X − XB‖² + λ_X‖B‖² + λ_E‖B − C‖²: with P = (XᵀX + λI)⁻¹ and λ = λ_X + λ_E,
    B = λ_E·PC − P·diag((1 + λ_E diag(PC)) / diag P). The last three settings change P alone: B is
    made for raw histories whatever the fit saw.

    C is never formed. By Woodbury, P₁ = (I − FMFᵀ) / λ_F with M = (FᵀF + λ_F I_d)⁻¹, so with
    FM = F·M, h = rowsum(FM ∘ F) and s = 1 / (1 − h): PC = (P·FM)(Fᵀ ∘ s) − P ∘ (h·s), which
    costs items² × d where a second inverse costs items³.

    Args:
        positives: X, csr (users × items).
        item_vectors: F, float32 (items × d).
        regularisation: λ > 0.
        semantic_weight: λ_E ≥ 0.
        semantic_regularisation: λ_F > 0.
        dropout: p, see `regularised_gram_inverse`.
        user_weighting: a, see `weighted`.
        item_weighting: b, see `weighted`.

    Returns:
        B, float32 (items × items).
    """
    F = np.ascontiguousarray(item_vectors, dtype=np.float32)
    M = regularised_inverse((F.T @ F).astype(np.float64), semantic_regularisation)
    FM = (F @ M).astype(np.float32)
    h = np.einsum("ij,ij->i", FM, F, dtype=np.float64)
    s = 1 / (1 - h)

    X = weighted(positives, user_weighting, item_weighting)
    P = regularised_gram_inverse(X, regularisation, dropout)
    B = (P @ FM) @ (F.T * s.astype(np.float32))
    hs = (h * s).astype(np.float32)
    PC_diagonal = np.diag(B).astype(np.float64) - np.diag(P) * hs
    scale = (1 + semantic_weight * PC_diagonal) / np.diag(P)
    # λ_E (B − P ∘ hs) − P ∘ scale, in place: two items × items matrices are all there ever is.
    B *= np.float32(semantic_weight)
    P *= (semantic_weight * hs + scale).astype(np.float32)
    B -= P
    np.fill_diagonal(B, 0)
    return B


STRATEGY = Strategy(
    name="l3ae",
    settings=L3aeSettings,
    formula="`r = X·B`, B learned from X, near the weights that texts alone give (Moon, Park and "
    "Lee, 2025)",
    columns=(*POSITIVES, *ORDER, *VECTORS),
    learn=learn,
    load=load,
    dense_over="seen",
)
