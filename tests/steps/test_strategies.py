"""The strategies against their formulas, and what every list keeps to."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recsys_dagster.steps.matrices import Behaviour
from recsys_dagster.steps.models import inverse
from recsys_dagster.steps.models.base import UserBlock
from recsys_dagster.steps.models.ease import fit_ease
from recsys_dagster.steps.models.hybrid import fit_hybrid
from recsys_dagster.steps.models.l3ae import l3ae_weights
from recsys_dagster.steps.models.popular import PopularModel, popularity
from recsys_dagster.steps.models.similar_items import fit_similar_items
from recsys_dagster.steps.recommendations import recommend
from recsys_dagster.steps.similarity import Space, pairwise
from recsys_dagster.steps.similarity_tables import item_neighbours, similarity_matrix


def likes(users: int, items: int, seed: int = 0, density: float = 0.1) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    return sparse.csr_matrix((rng.random((users, items)) < density).astype(np.float32))


def unit_rows(rows: int, dimension: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def behaviour_of(rows: list[tuple[str, str, bool]], items: list[str]) -> Behaviour:
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "positive"])
    table["weight"] = 1.0
    table["last_timestamp"] = pd.NaT
    table["last_timestamp"] = table["last_timestamp"].astype("datetime64[us]")
    users = pd.Series(sorted(set(table["user_id"])), dtype="str")
    return Behaviour.of(table, users, pd.Series(items, dtype="str"), 180.0)


def l3ae_by_two_inverses(X, F, total, semantic_weight, semantic_regularisation):
    X, F = X.toarray().astype(np.float64), F.astype(np.float64)
    P1 = np.linalg.inv(F @ F.T + semantic_regularisation * np.eye(len(F)))
    C = -P1 / np.diag(P1)
    np.fill_diagonal(C, 0)
    P = np.linalg.inv(X.T @ X + total * np.eye(X.shape[1]))
    PC = P @ C
    B = semantic_weight * PC - P * ((1 + semantic_weight * np.diag(PC)) / np.diag(P))
    np.fill_diagonal(B, 0)
    return B


@pytest.mark.parametrize("leaf", [3, 16, 1024])
def test_the_inverse_by_blocks_is_the_inverse(monkeypatch, leaf):
    monkeypatch.setattr(inverse, "LEAF", leaf)
    A = np.random.default_rng(1).normal(size=(41, 30))
    gram = A.T @ A
    expected = np.linalg.inv(gram + 2 * np.eye(30))
    np.testing.assert_allclose(inverse.regularised_inverse(gram.copy(), 2.0), expected, atol=1e-10)
    single = inverse.regularised_inverse(gram.astype(np.float32), 2.0)
    np.testing.assert_allclose(single, expected, atol=1e-4)


def test_the_inverse_refuses_what_is_not_positive_definite():
    with pytest.raises(ValueError, match="larger regularisation"):
        inverse.regularised_inverse(-np.eye(4), 0.5)


def test_ease_is_its_formula():
    X = likes(60, 20)
    P = np.linalg.inv(X.T.toarray().astype(np.float64) @ X.toarray() + 5 * np.eye(20))
    expected = -P / np.diag(P)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(fit_ease(X, 5.0).weights, expected, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    total=st.floats(1, 1000),
    share=st.floats(0, 1),
    semantic_regularisation=st.floats(1, 10),
)
def test_the_fast_l3ae_is_the_one_with_two_inverses(seed, total, share, semantic_regularisation):
    X, F = likes(50, 30, seed), unit_rows(30, 8, seed)
    fast = l3ae_weights(
        X,
        F,
        regularisation=total,
        semantic_weight=share * total,
        semantic_regularisation=semantic_regularisation,
    )
    direct = l3ae_by_two_inverses(X, F, total, share * total, semantic_regularisation)
    np.testing.assert_allclose(fast, direct, atol=1e-5)


def test_l3ae_without_texts_is_ease():
    X = likes(60, 20)
    settings_ = {"semantic_weight": 0.0, "semantic_regularisation": 5.0}
    weights = l3ae_weights(X, unit_rows(20, 4), regularisation=5.0, **settings_)
    np.testing.assert_allclose(weights, fit_ease(X, 5.0).weights, atol=1e-6)


class TestColdItems:
    def fit(self, behaviour, vectors, boost=1.0):
        return fit_hybrid(
            behaviour.positives,
            vectors,
            cold=np.diff(behaviour.seen.tocsc().indptr) == 0,
            regularisation=1.0,
            semantic_weight=0.5,
            semantic_regularisation=1.0,
            cold_boost=boost,
        ).weights

    @pytest.fixture
    def behaviour(self):
        rows = [(f"u{n}", item, True) for n in range(6) for item in ("a", "b")]
        rows += [("u0", "disliked", False), ("u9", "c", True)]
        return behaviour_of(rows, ["a", "b", "c", "disliked", "new"])

    @pytest.fixture
    def vectors(self):
        return np.array([[1, 0], [0.9, 0.1], [0, 1], [1, 0.05], [1, 0.01]], dtype=np.float32)

    def test_a_new_item_is_recommended_to_those_who_like_what_reads_alike(self, behaviour, vectors):
        weights = self.fit(behaviour, vectors)
        new = behaviour.item_ids.get_loc("new")
        a, c = behaviour.item_ids.get_loc("a"), behaviour.item_ids.get_loc("c")
        assert weights[a, new] > 0
        assert weights[a, new] > weights[c, new]
        doubled = self.fit(behaviour, vectors, boost=2.0)
        np.testing.assert_allclose(doubled[:, new], 2 * weights[:, new], rtol=1e-6)

    def test_an_item_that_was_only_disliked_is_not_new(self, behaviour, vectors):
        weights = self.fit(behaviour, vectors)
        disliked, new = (behaviour.item_ids.get_loc(name) for name in ("disliked", "new"))
        assert abs(weights[:, disliked]).max() < abs(weights[:, new]).max()


def test_similar_items_sums_over_the_history():
    S = np.array([[0, 0.9, 0.1, 0.2], [0.9, 0, 0.3, 0.6], [0.1, 0.3, 0, 0.7], [0.2, 0.6, 0.7, 0]])
    model = fit_similar_items(sparse.csr_matrix(S.astype(np.float32)))
    history = sparse.csr_matrix(np.array([[1, 0, 1, 0]], dtype=np.float32))
    scores = model.score(UserBlock(np.array([0]), history, history))[0]
    np.testing.assert_allclose(scores, S[0] + S[2], rtol=1e-6)
    unseen = [1, 3]
    assert unseen[int(np.argmax(scores[unseen]))] == 1
    positions, parts = model.contributions(UserBlock(np.array([0]), history, history), 0, [1])
    assert positions.tolist() == [0, 2]
    np.testing.assert_allclose(parts[:, 0], [0.9, 0.3], rtol=1e-6)


pairs = st.lists(
    st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcdefz"), st.booleans()),
    min_size=1,
    max_size=28,
    unique_by=lambda row: row[:2],
)


@settings(deadline=None, max_examples=60)
@given(rows=pairs, n=st.integers(1, 8))
def test_lists_keep_their_promises(rows, n):
    catalogue = list("abcdef")
    behaviour = behaviour_of(rows, catalogue)
    popular = popularity(behaviour.positives)
    model = fit_ease(behaviour.positives, 1.0)
    (lists,) = recommend(model, popular, behaviour, n)
    seen = {(user, item) for user, item, _ in rows}
    for position, user in enumerate(behaviour.user_ids):
        mine = lists.users == position
        items = behaviour.item_ids[lists.items[mine]].tolist()
        unseen = [item for item in catalogue if (user, item) not in seen]
        assert set(items) <= set(unseen)
        assert len(items) == len(set(items)) == min(n, len(unseen))
        assert lists.ranks[mine].tolist() == list(range(1, len(items) + 1))
        if not any(row[0] == user and row[2] for row in rows):
            assert lists.filled[mine].all()
    for filled, because in zip(lists.filled, lists.because, strict=True):
        shares = [share for _, share in because]
        assert shares == sorted(shares, reverse=True)
        assert len(shares) <= 3
        assert all(0 < share <= 1 for share in shares)
        assert sum(shares) <= 1 + 1e-9
        assert not (filled and because)


def test_popular_fills_by_share_then_by_id():
    rows = [("u", "b", True), ("v", "b", True), ("v", "a", True), ("w", "c", False)]
    behaviour = behaviour_of(rows, list("abc"))
    popular = popularity(behaviour.positives)
    assert popular.tolist() == [0.5, 1.0, 0.0]
    (lists,) = recommend(PopularModel(popular), popular, behaviour, 3)
    of_w = behaviour.item_ids[lists.items[lists.users == 2]].tolist()
    assert of_w == ["b", "a"]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), width=st.integers(1, 6), users=st.integers(0, 9))
def test_the_matrix_keeps_width_unseen_items_whatever_was_seen(seed, width, users):
    rng = np.random.default_rng(seed)
    space = Space.of(rng.normal(size=(12, 5)).astype(np.float32), "cosine", centre=False)
    items = space.project(rng.normal(size=(12, 5)).astype(np.float32))
    people = space.project(rng.normal(size=(users, 5)).astype(np.float32))
    seen = rng.random((users, 12)) < rng.random((users, 1))
    entries = similarity_matrix(people, items, seen.sum(axis=1), width, "cosine")
    dense = pairwise(people, items, "cosine")
    assert entries.rows.tolist() == sorted(entries.rows.tolist())
    for user in range(users):
        kept = entries.columns[entries.rows == user]
        order = np.lexsort((np.arange(12), -dense[user]))
        assert kept.tolist() == order[: len(kept)].tolist()
        unseen = [item for item in order if not seen[user, item]]
        assert [item for item in kept if not seen[user, item]][:width] == unseen[:width]


def test_neighbours_are_others():
    vectors = np.ones((4, 3), dtype=np.float32)
    entries = item_neighbours(vectors, 3, "cosine")
    assert len(entries.rows) == 12
    assert (entries.rows != entries.columns).all()
