"""L3AE: a linear autoencoder on behaviour, pulled towards weights learned from texts.

Moon, Park, Lee: LLM-Enhanced Linear Autoencoders for Recommendation, CIKM 2025.
"""

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import ItemWeightsModel, widened
from recsys_dagster.steps.models.ease import regularised_gram_inverse
from recsys_dagster.steps.models.inverse import regularised_inverse
from recsys_dagster.steps.models.memory import require_memory
from recsys_dagster.steps.models.weighting import weighted


def fit_l3ae(
    positives: sparse.csr_matrix, item_vectors: np.ndarray, cold: np.ndarray, **settings: float
) -> ItemWeightsModel:
    """L3AE of the items people know; B is float32 (warm × items), zero columns for the cold ones.

    Args:
        positives: X, csr (users × items).
        item_vectors: float32 (items × d), as the encoder gave them; zero rows have no text.
        cold: bool (items,), items that no interaction says anything of.
        settings: those of `l3ae_weights`.

    Raises:
        UserError: there is not the memory for it.
    """
    warm = np.flatnonzero(~cold)
    require_memory("l3ae", len(warm), len(cold))
    learned = l3ae_weights(positives[:, warm], item_vectors[warm], **settings)
    return ItemWeightsModel("l3ae", widened(learned, warm, len(cold)), warm)


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
