"""A training that begins from the last model: what it takes over, and what it is asked for."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import evidence_of
from scipy import sparse
from test_sequential import cycles, in_order, recency_of

from recsys_dagster.steps.models import STRATEGIES, neural, sequential
from recsys_dagster.steps.models.base import LastModel
from recsys_dagster.steps.models.trainer import CURVE
from recsys_dagster.steps.models.validation import without_newest
from recsys_dagster.steps.models.warm_start import Places, begun_from, places_of

SMALL = {"width": 8, "epochs": 20, "warm_start": True}


def last_of(evidence, learned):
    return LastModel("before", evidence.behaviour.item_ids.tolist(), learned)


def test_items_are_matched_by_id_and_new_ones_begin_as_ever():
    learned = {
        "items": np.array([[1, 1], [2, 2]], dtype=np.float32),
        "places": np.array([5], dtype=np.float32),
        "columns": np.array([0, 2, 1]),  # the last one was lent, not learned
    }
    first = {
        "items": np.full((3, 2), 7, dtype=np.float32),
        "places": np.array([0], dtype=np.float32),
    }
    last = LastModel("before", ["a", "b", "c"], learned)
    found = begun_from(first, pd.Index(["b", "c", "d"]), last)
    assert found["items"].tolist() == [[7, 7], [2, 2], [7, 7]]
    assert found["places"].tolist() == [5]
    assert first["items"].tolist() == [[7, 7]] * 3
    assert found.keys() == first.keys()
    assert begun_from(first, pd.Index(["b", "c", "d"]), None) is first


@pytest.mark.parametrize("strategy", ["neural", "sequential"])
def test_it_begins_where_the_last_one_ended(strategy):
    own = STRATEGIES[strategy]
    evidence = in_order(cycles(), 12)
    nothing = sparse.csr_matrix((12, 12), dtype=np.float32)
    evidence = replace(evidence, item_neighbours=lambda: nothing)
    settings = own.settings.model_validate(SMALL | {"epochs": 60})
    cold = own.learn(evidence, settings)
    warm = own.learn(replace(evidence, last=last_of(evidence, cold)), settings)
    assert warm[CURVE][0, 1] < cold[CURVE][0, 1]


histories = st.lists(
    st.lists(st.integers(0, 19), min_size=1, max_size=20, unique=True), min_size=1, max_size=40
)


HOLD_BACK = {"neural": neural.hold_back, "sequential": sequential.hold_back_last}


def places_for(users):
    ids = (pd.Index([f"{kind} {n}" for n in range(20)], dtype="str") for kind in ("item",))
    return Places.of(pd.Index(users, dtype="str"), *ids, 0)


@given(histories=histories, data=st.data(), way=st.sampled_from(["neural", "sequential"]))
def test_what_is_hidden_of_grown_histories_was_not_learned_of_before(histories, data, way):
    hold_back = HOLD_BACK[way]
    before = [own[: data.draw(st.integers(0, len(own)))] for own in histories]
    places = places_for([f"user {row}" for row in range(len(histories))])
    learned_of, _ = hold_back(recency_of(before, 20), 0, places)
    _, hidden = hold_back(recency_of(histories, 20), 0, places)
    assert hidden.multiply(learned_of).nnz == 0


@pytest.mark.parametrize("way", ["neural", "sequential"])
def test_nor_where_positives_came_together_and_others_come_before(way):
    users = [f"user {row}" for row in range(400)]
    together = np.random.default_rng(0).permuted(np.tile(np.arange(20), (400, 1)), axis=1)[:, :6]
    # Of each the last three came at once: nothing is later than any of them.
    later = np.tile(np.float32([1 / 6, 1 / 5, 1 / 4, 1, 1, 1]), 400)
    indptr = np.arange(0, 2_401, 6)
    recency = sparse.csr_matrix((later, together.ravel(), indptr), shape=(400, 20))
    first = sparse.csr_matrix(np.eye(1, 20, dtype=np.float32))
    learned_of, _ = HOLD_BACK[way](recency, 0, places_for(users))
    more = sparse.csr_matrix(sparse.vstack([first, recency]))
    _, hidden = HOLD_BACK[way](more, 0, places_for(["another", *users]))
    assert hidden[1:].nnz
    assert hidden[1:].multiply(learned_of).nnz == 0


def test_a_fifth_of_the_users_is_asked_whoever_else_comes():
    ids = pd.Index([f"user {row}" for row in range(5_000)], dtype="str")
    places = places_of(ids, 0)
    assert (places < 0.2).mean() == pytest.approx(0.2, abs=0.02)
    np.testing.assert_array_equal(places_of(ids[::-1], 0)[::-1], places)
    assert not np.array_equal(places_of(ids, 1), places)


def test_a_competition_begins_from_nothing_that_has_seen_what_is_hidden():
    evidence = evidence_of(recency_of(cycles(), 12).sign())
    visible, _ = without_newest(replace(evidence, last=last_of(evidence, {})))
    assert visible.last is None
