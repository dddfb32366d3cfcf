"""similar_items: neighbours of the history."""

import numpy as np
import pytest
from making import block_of, contributions, fitted, histories, texts
from scipy import sparse

from recsys_dagster.steps.models.base import NOT_RANKED
from recsys_dagster.steps.similarity.tables import item_neighbours


def test_similar_items_worked_example():
    # r_u = argmax_i Σ_{j ∈ J(u)} S_ij, by hand: items 0 and 1 are the user's.
    S = np.array(
        [
            [1.0, 0.2, 0.9, 0.5],
            [0.2, 1.0, 0.1, 0.6],
            [0.9, 0.1, 1.0, 0.3],
            [0.5, 0.6, 0.3, 1.0],
        ],
        dtype=np.float32,
    )
    neighbours = sparse.csr_matrix(S - np.eye(4, dtype=np.float32))
    user = sparse.csr_matrix(np.array([[1, 1, 0, 0]], dtype=np.float32))
    scores = fitted("similar_items", user, kept=neighbours).score(block_of(user))[0]
    np.testing.assert_allclose(scores[2:], [0.9 + 0.1, 0.5 + 0.6])
    assert scores[2:].argmax() + 2 == 3


@pytest.mark.parametrize("kept", [4, 100])
def test_similar_items_sums_over_the_neighbours_of_the_history(kept):
    vectors, positives = texts(30, 6), histories(12, 30)
    entries = item_neighbours(vectors, kept, "cosine")
    S = sparse.csr_matrix((entries.similarities, (entries.rows, entries.columns)), shape=(30, 30))
    dense = np.full((30, 30), np.nan)
    dense[entries.rows, entries.columns] = entries.similarities
    model = fitted("similar_items", positives, kept=S)
    scores = model.score(block_of(positives))
    for user, history in enumerate(np.split(positives.indices, positives.indptr[1:-1])):
        for item in range(30):
            votes = dense[history, item]
            if np.isnan(votes).all():
                assert scores[user, item] == NOT_RANKED
            else:
                assert scores[user, item] == pytest.approx(np.nansum(votes), abs=1e-5)
        parts = contributions(model, positives, [user] * 30, range(30))
        np.testing.assert_allclose(np.transpose(parts), np.nan_to_num(dense[history]), atol=1e-7)
