"""content: the items nearest to the user, as the similarity matrix says."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from recsys_dagster.catalog.base import Settings
from recsys_dagster.steps.models.base import (
    NOT_RANKED,
    SIMILARITIES,
    VECTORS,
    Arrays,
    Evidence,
    Strategy,
    UserBlock,
)


def kept_scores(similarity: sparse.csr_matrix) -> np.ndarray:
    """Rows of the similarity matrix as scores, float32 (b × items); what it lacks is not ranked."""
    rows = similarity.tocoo()
    scores = np.full(rows.shape, NOT_RANKED, dtype=np.float32)
    scores[rows.row, rows.col] = rows.data
    return scores


class ContentSettings(Settings):
    """There is nothing to set here: `similarity`, `centre` and `users` say how users compare."""


@dataclass(frozen=True)
class ContentModel:
    """Ranks by the user-item similarity.

    Attributes:
        item_vectors: float32 (items × d), projected into the space of the similarity.
    """

    item_vectors: np.ndarray

    def score(self, block: UserBlock) -> np.ndarray:
        """The matrix's rows; what it does not keep is not ranked."""
        return kept_scores(block.similar)

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """w_uj v_j·v_i: the parts of the inner product of the user's vector and the item's."""
        starts, weights = block.weights.indptr, block.weights.data
        history = block.weights.indices
        parts = [np.empty(0, dtype=np.float32)]
        firsts = np.flatnonzero(np.diff(rows, prepend=-1))
        # A product a user reads each vector once, not once for every pair; they are too small for
        # threads, which wait for each other when other work shares the cores.
        with threadpool_limits(1):
            for first, end in pairwise([*firsts, len(rows)]):
                own = slice(starts[rows[first]], starts[rows[first] + 1])
                products = self.item_vectors[items[first:end]] @ self.item_vectors[history[own]].T
                parts.append((products * weights[own]).ravel())
        return np.concatenate(parts)


def learn(evidence: Evidence, _: ContentSettings) -> Arrays:
    """Nothing is learned of behaviour: the vectors are what contributions are told by."""
    return {"projected_vectors": evidence.projected}


def load(arrays: Arrays, _: ContentSettings) -> ContentModel:
    """The model of vectors."""
    return ContentModel(arrays["projected_vectors"])


STRATEGY = Strategy(
    name="content",
    settings=ContentSettings,
    formula="the similarity matrix: `r_ui = S_ui`",
    columns=(SIMILARITIES, *VECTORS, "histories.weights"),
    learn=learn,
    load=load,
)
