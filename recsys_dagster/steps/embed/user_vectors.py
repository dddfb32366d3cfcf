"""Which texts must be encoded, and what a user's vector is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import sparse

from recsys_dagster.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

UserVectors = Literal["history", "text", "blend"]


def distinct_texts(texts: "pd.DataFrame", stored_hashes: set[str]) -> "pd.DataFrame":
    """The (text_hash, text) pairs not yet encoded, each once, in table order."""
    missing = texts[~texts["text_hash"].isin(stored_hashes)]
    return missing[["text_hash", "text"]].drop_duplicates("text_hash").reset_index(drop=True)


@dataclass(frozen=True)
class VectorsOfUsers:
    """Vectors of the users that have one.

    Attributes:
        has_vector: bool (users,).
        vectors: float32 (has_vector.sum() × d).
        sources: what each vector is made of: history, text or blend.
    """

    has_vector: np.ndarray
    vectors: np.ndarray
    sources: np.ndarray


def user_vectors(
    weights: sparse.csr_matrix,
    item_vectors: np.ndarray,
    text_vectors: np.ndarray | None,
    kind: UserVectors,
    text_share: float,
) -> VectorsOfUsers:
    """Vectors of users in the space of the items.

    history: Σ_i w_ui v_i / Σ_i w_ui over the positives; text: the encoded profile; blend:
    text_share · text + (1 − text_share) · history. A user who lacks one of the two gets the
    other, and one who lacks both gets no vector.

    Args:
        weights: csr (users × items), non-negative decayed weights of positives.
        item_vectors: float32 (items × d); an item without a vector is a zero row and is not
            counted.
        text_vectors: float32 (users × d), zero rows where a user has no text; None: no texts.
        kind: which of the two, or both.
        text_share: in [0, 1].

    Raises:
        UserError: kind asks for texts and there is none.
    """
    users, dimension = weights.shape[0], item_vectors.shape[1]
    known_items = item_vectors.any(axis=1).astype(np.float32)
    counted = weights @ sparse.diags_array(known_items)
    totals = np.asarray(counted.sum(axis=1)).ravel()
    has_history = totals > 0
    history = np.asarray(counted @ item_vectors, dtype=np.float32)
    history[has_history] /= totals[has_history, None]

    if text_vectors is None:
        if kind != "history":
            raise UserError(
                f"users: vectors: {kind} needs profile texts: give users a source and a text, or "
                "use vectors: history."
            )
        text_vectors = np.zeros((users, dimension), dtype=np.float32)
    has_text = text_vectors.any(axis=1)

    from_history = has_history & ((kind != "text") | ~has_text)
    from_text = has_text & ((kind != "history") | ~has_history)
    both = from_history & from_text
    share = np.where(both, text_share, from_text).astype(np.float32)[:, None]
    vectors = share * text_vectors + (1 - share) * history
    has_vector = from_history | from_text
    sources = np.where(both, "blend", np.where(from_text, "text", "history"))
    return VectorsOfUsers(has_vector, vectors[has_vector], sources[has_vector])


def norms_of(vectors: np.ndarray) -> np.ndarray:
    """Euclidean lengths, float64 (n,)."""
    return np.linalg.norm(vectors.astype(np.float64), axis=1)


def mean_cosine(vectors: np.ndarray) -> float:
    """Mean cosine over all pairs of rows, the collapse of a set of embeddings: 1 is all alike.

    |Σ u|² = n + Σ_{i≠j} u_i·u_j for unit rows u, so no pair is computed. Zero rows are left out;
    fewer than two rows have a mean of 0.
    """
    norms = norms_of(vectors)
    unit = vectors[norms > 0] / norms[norms > 0, None]
    n = len(unit)
    if n < 2:
        return 0.0
    total = unit.sum(axis=0)
    return float((total @ total - n) / (n * (n - 1)))
