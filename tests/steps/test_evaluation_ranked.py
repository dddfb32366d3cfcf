"""Lists for evaluation are those that would be published, but for what is masked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recsys_dagster.steps.evaluation.ranked import rank_for_evaluation
from recsys_dagster.steps.lists.recommendations import recommend
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.base import Evidence
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.models.item_weights import ItemWeightsModel
from recsys_dagster.steps.models.popular import popularity
from recsys_dagster.steps.similarity.space import Space

USERS = ["u1", "u2", "u3", "u4", "u5"]
CATALOGUE = "abcdefg"
pairs_of_users = st.dictionaries(
    st.tuples(st.sampled_from(USERS), st.sampled_from([*CATALOGUE, "x"])),
    st.booleans(),
    max_size=30,
)


def behaviour_from(behaviour_of, liked, **settings):
    pairs = [(*pair, 1.0, positive) for pair, positive in liked.items()]
    return behaviour_of(pairs, USERS, CATALOGUE, **settings)


def fitted(name, behaviour, **settings):
    items = behaviour.seen.shape[1]
    near = sparse.random(items, items, 0.3, format="csr", dtype=np.float32, random_state=0)
    vectors = np.zeros((items, 1), dtype=np.float32)
    evidence = Evidence(behaviour, vectors, Space("cosine", None), lambda: near)
    strategy = STRATEGIES[name]
    model = strategy.fit(evidence, strategy.settings.model_validate(settings))
    return Fitted(strategy, model, popularity(behaviour.positives))


def models_of(behaviour):
    return [
        fitted("popular", behaviour),
        fitted("ease", behaviour, regularisation=2, dropout=0),
        fitted("similar_items", behaviour),
    ]


def nothing_similar(behaviour):
    return sparse.csr_matrix(behaviour.seen.shape, dtype=np.float32)


def published(fitted, behaviour, k):
    ranked = np.full((behaviour.seen.shape[0], k), -1)
    for lists in recommend(fitted, behaviour, nothing_similar(behaviour), k):
        ranked[lists.users, lists.ranks - 1] = lists.items
    return ranked


@given(pairs_of_users, st.integers(1, 12), st.integers(1, 6))
def test_equals_what_would_be_published(behaviour_of, liked, k, block):
    behaviour = behaviour_from(behaviour_of, liked)
    users = np.array([4, 0, 2])
    for model in models_of(behaviour):
        ranked = rank_for_evaluation(
            model, behaviour, nothing_similar(behaviour), users, behaviour.seen, k, block
        )
        assert ranked.dtype == np.int64
        assert ranked.shape == (3, k)
        np.testing.assert_array_equal(ranked, published(model, behaviour, k)[users])


@given(pairs_of_users, pairs_of_users)
def test_what_is_masked_is_never_in_a_list_and_all_else_is(behaviour_of, liked, later):
    behaviour = behaviour_from(behaviour_of, {**dict.fromkeys([("u1", "x")], True), **liked})
    seen = behaviour.seen.toarray()
    rows = behaviour.user_ids.get_indexer([user for user, _ in later])
    columns = behaviour.item_ids.get_indexer([item for _, item in later])
    seen[rows, columns] = True
    k = seen.shape[1]
    for model in models_of(behaviour):
        ranked = rank_for_evaluation(
            model,
            behaviour,
            nothing_similar(behaviour),
            np.arange(len(USERS)),
            sparse.csr_matrix(seen),
            k,
        )
        for row, items in enumerate(ranked):
            listed = items[items >= 0]
            assert (items[len(listed) :] == -1).all()
            assert sorted(listed) == np.flatnonzero(~seen[row] & behaviour.in_catalogue).tolist()


def test_what_is_sold_out_today_could_be_had_then(behaviour_of):
    behaviour = behaviour_from(
        behaviour_of, {("u1", "a"): True, ("u2", "b"): True}, unavailable=["b"]
    )
    ranked = rank_for_evaluation(
        fitted("popular", behaviour),
        behaviour,
        nothing_similar(behaviour),
        np.array([0]),
        behaviour.seen,
        1,
    )
    assert behaviour.item_ids[ranked[0, 0]] == "b"


@pytest.mark.parametrize("block", [None, 1])
def test_nobody_to_test(behaviour_of, block):
    behaviour = behaviour_from(behaviour_of, {("u1", "a"): True})
    model = ItemWeightsModel(np.zeros((7, 7), dtype=np.float32), np.arange(7))
    nobody, similar = np.empty(0, dtype=np.int64), nothing_similar(behaviour)
    ranked = rank_for_evaluation(
        Fitted(STRATEGIES["ease"], model, popularity(behaviour.positives)),
        behaviour,
        similar,
        nobody,
        behaviour.seen,
        3,
        block,
    )
    assert ranked.shape == (0, 3)
