"""l3ae: a linear autoencoder on behaviour, pulled towards weights learned from texts.

Moon, Park, Lee: LLM-Enhanced Linear Autoencoders for Recommendation, CIKM 2025.
"""

from typing import Annotated, NotRequired, TypedDict, Unpack

import numpy as np
from pydantic import Field
from scipy import sparse

from recsys_dagster.catalog.base import Settings
from recsys_dagster.compute.blocks import LOCAL, Compute
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
from recsys_dagster.steps.models.item_weights import (
    ItemWeightsModel,
    kept_arrays,
    model_of,
)
from recsys_dagster.steps.models.long_tail import Autoencoder, Parted, Together, long_tail_arrays
from recsys_dagster.steps.models.long_tail import about as about_head
from recsys_dagster.steps.models.memory import head_of
from recsys_dagster.steps.models.semantic_weights import SemanticFactors, weights_from_inverse
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


class Parameters(TypedDict):
    """What L3AE's weights go by, as `l3ae_weights` has it."""

    regularisation: float
    semantic_weight: float
    semantic_regularisation: float
    dropout: float
    user_weighting: float
    item_weighting: float
    compute: NotRequired[Compute]


def learn(evidence: Evidence, settings: L3aeSettings) -> Arrays:
    """L3AE of the items people know: cold ones have no weights."""
    behaviour = evidence.behaviour
    warm = np.flatnonzero(~behaviour.cold)
    X, F = behaviour.positives[:, warm], evidence.item_vectors[warm]
    parameters = Parameters(
        regularisation=settings.regularisation,
        semantic_weight=settings.semantic_share * settings.regularisation,
        semantic_regularisation=settings.semantic_regularisation,
        dropout=settings.dropout,
        user_weighting=settings.user_weighting,
        item_weighting=settings.item_weighting,
        compute=evidence.trainer.compute,
    )
    head = head_of(evidence, len(warm))
    if head is not None:
        parted = Parted.of(X, head)
        model = autoencoder_of(X, F, parted, **parameters)
        return long_tail_arrays(
            Together(X, parted, [(1.0, model)], F, evidence.trainer.compute), X, warm, evidence
        )
    learned = l3ae_weights(X, F, **parameters)
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
    compute: Compute = LOCAL,
) -> np.ndarray:
    """Item-item weights B, zero diagonal, that predict X from X·B and stay near the texts' C.

    With P₁ = (FFᵀ + λ_F I)⁻¹ and C_ij = −P₁_ij / P₁_jj, zero diagonal, B minimises
    ‖X − XB‖² + λ_X‖B‖² + λ_E‖B − C‖²: with P = (XᵀX + λI)⁻¹ and λ = λ_X + λ_E,
    B = λ_E·PC − P·diag((1 + λ_E diag(PC)) / diag P). The last three settings change P alone: B is
    made for raw histories whatever the fit saw.

    C is never formed (`SemanticFactors`). By Woodbury, P₁ = (I − FMFᵀ) / λ_F with
    M = (FᵀF + λ_F I_d)⁻¹, so with FM = F·M, h = rowsum(FM ∘ F) and s = 1 / (1 − h):
    PC = (P·FM)(Fᵀ ∘ s) − P ∘ (h·s), which costs items² × d where a second inverse costs items³.

    Args:
        positives: X, csr (users × items).
        item_vectors: F, float32 (items × d).
        regularisation: λ > 0.
        semantic_weight: λ_E ≥ 0.
        semantic_regularisation: λ_F > 0.
        dropout: p, see `regularised_gram_inverse`.
        user_weighting: a, see `weighted`.
        item_weighting: b, see `weighted`.
        compute: does the blocks of XᵀX.

    Returns:
        B, float32 (items × items).
    """
    texts = SemanticFactors.of(item_vectors, semantic_regularisation)
    X = weighted(positives, user_weighting, item_weighting)
    P = regularised_gram_inverse(X, regularisation, dropout, compute)
    return weights_from_inverse(P, texts, semantic_weight)


def autoencoder_of(
    positives: sparse.csr_matrix,
    item_vectors: np.ndarray,
    parted: Parted,
    **parameters: Unpack[Parameters],
) -> Autoencoder:
    """`l3ae_weights` where they are learned densely of the head alone.

    Args:
        positives: X, csr (users × items).
        item_vectors: F, float32 (items × d).
        parted: head and tail of the items.
        parameters: as of `l3ae_weights`.
    """
    X = weighted(positives, parameters["user_weighting"], parameters["item_weighting"])
    texts = SemanticFactors.of(item_vectors, parameters["semantic_regularisation"])
    return Autoencoder(
        X,
        texts,
        parted,
        parameters["regularisation"],
        parameters["dropout"],
        parameters["semantic_weight"],
        parameters.get("compute", LOCAL),
    )


STRATEGY = Strategy(
    name="l3ae",
    settings=L3aeSettings,
    formula="`r = X·B`, B learned from X, near the weights that texts alone give (Moon, Park and "
    "Lee, 2025)",
    columns=(*POSITIVES, *ORDER, *VECTORS),
    learn=learn,
    load=load,
    dense_over="seen",
    about=about_head,
)
