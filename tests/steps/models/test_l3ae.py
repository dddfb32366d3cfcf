"""l3ae against its formula and its objective."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from making import L3AE, L3AE_SETTINGS, assert_near, direct_l3ae, fitted, histories, texts

from recsys_dagster.steps.models.l3ae import l3ae_weights
from recsys_dagster.steps.models.weighting import weighted


@given(
    seed=st.integers(0, 1000),
    items=st.integers(2, 40),
    dimension=st.integers(1, 50),
    regularisation=st.sampled_from([10.0, 100.0, 500.0]),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    semantic_regularisation=st.sampled_from([1.0, 5.0, 10.0]),
)
def test_the_fast_form_equals_the_direct_one(
    seed, items, dimension, regularisation, share, semantic_regularisation
):
    positives, F = histories(60, items, seed), texts(items, dimension, seed)
    F[0] = 0  # an item without a text
    semantic_weight = share * regularisation
    found = l3ae_weights(
        positives,
        F,
        regularisation=regularisation,
        semantic_weight=semantic_weight,
        semantic_regularisation=semantic_regularisation,
    )
    expected, _ = direct_l3ae(
        positives.toarray(), F, regularisation, semantic_weight, semantic_regularisation
    )
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-5 * max(np.abs(expected).max(), 1e-3)


def test_l3ae_minimises_its_objective():
    positives, F = histories(50, 10), texts(10, 4)
    X, own, pull = positives.toarray(), 20.0, 30.0
    _, C = direct_l3ae(X, F, own + pull, pull, 5)
    B = l3ae_weights(
        positives, F, regularisation=own + pull, semantic_weight=pull, semantic_regularisation=5
    ).astype(np.float64)
    gradient = X.T @ (X @ B - X) + own * B + pull * (B - C)
    np.fill_diagonal(gradient, 0)  # the diagonal is not free
    np.testing.assert_allclose(gradient, 0, atol=1e-4)


def test_l3ae_without_semantics_is_ease():
    positives = histories(60, 20)[:, :-1]
    found = l3ae_weights(
        positives, texts(19, 8), regularisation=30, semantic_weight=0, semantic_regularisation=5
    )
    assert_near(found, fitted("ease", positives, regularisation=30).weights)


def test_l3ae_with_every_setting_is_the_direct_formula():
    positives, F = histories(60, 20)[:, :-1], texts(19, 8)
    Y = weighted(positives, 0.5, 0.25).toarray().astype(np.float64)
    gram, vectors = Y.T @ Y, F.astype(np.float64)
    C = np.linalg.inv(vectors @ vectors.T + 5 * np.eye(19))
    C /= -np.diag(C)
    np.fill_diagonal(C, 0)
    P = np.linalg.inv(gram + 50 * np.eye(19) + np.diag(np.diag(gram)) * 0.2 / 0.8)
    B = 20 * P @ C - P * ((1 + 20 * np.diag(P @ C)) / np.diag(P))
    np.fill_diagonal(B, 0)
    found = l3ae_weights(positives, F, **L3AE, dropout=0.2, user_weighting=0.5, item_weighting=0.25)
    assert_near(found, B)


def test_l3ae_is_learned_from_warm_items_and_says_nothing_of_cold_ones():
    positives, F = histories(40, 15), texts(15, 4)
    cold = np.arange(15) == 14
    model = fitted("l3ae", positives, F, cold, **L3AE_SETTINGS)
    assert model.history_items.tolist() == list(range(14))
    np.testing.assert_array_equal(
        model.weights[:, :14], l3ae_weights(positives[:, :14], F[:14], **L3AE)
    )
    assert not model.weights[:, 14].any()
