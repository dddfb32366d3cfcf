"""What is hidden for a competition, and that what is left is as if it had never been."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recsys_dagster.steps.models import validation
from recsys_dagster.steps.models.base import Evidence
from recsys_dagster.steps.models.validation import ndcgs_of, validate_every, without_newest
from recsys_dagster.steps.similarity.space import Space

USERS, ITEMS = [f"u{n:02}" for n in range(40)], [f"i{n:02}" for n in range(30)]


def pairs_of(*, timed, seed=0):
    """Rows of user, item, weight, positive and time, each user's in an order of chance."""
    generator = np.random.default_rng(seed)
    return [
        (
            user,
            item,
            1.0,
            bool(generator.random() < 0.8),
            pd.Timestamp("2026-01-01") + pd.Timedelta(minutes=int(generator.integers(100_000)))
            if timed
            else pd.NaT,
        )
        for user in USERS
        for item in generator.choice(ITEMS, generator.integers(1, 12), replace=False)
    ]


def evidence_of(behaviour):
    vectors = np.zeros((len(behaviour.item_ids), 1), dtype=np.float32)
    return Evidence(behaviour, vectors, Space("cosine", None), lambda: sparse.csr_matrix((1, 1)))


@pytest.fixture
def few_are_enough(monkeypatch):
    monkeypatch.setattr(validation, "MIN_USERS", 1)


def names_of(behaviour, pairs):
    rows, columns = pairs.nonzero()
    return set(zip(behaviour.user_ids[rows], behaviour.item_ids[columns], strict=True))


def test_by_time_what_is_left_is_what_was_known_before(behaviour_of, few_are_enough):
    pairs = pairs_of(timed=True)
    behaviour = behaviour_of(pairs, USERS, ITEMS)
    visible, hidden = without_newest(evidence_of(behaviour))
    gone = names_of(behaviour, hidden)
    times = {(user, item): time for user, item, _, _, time in pairs}
    left = names_of(behaviour, visible.behaviour.positives)
    assert max(times[pair] for pair in left) < min(times[pair] for pair in gone)
    total = behaviour.positives.nnz
    assert visible.behaviour.positives.nnz == pytest.approx(0.9 * total, abs=1)
    before = [row for row in pairs if row[:2] in left or not row[3]]
    expected = behaviour_of(before, USERS, ITEMS)
    for name in ("positives", "recency"):
        found, wanted = getattr(visible.behaviour, name), getattr(expected, name)
        np.testing.assert_allclose(found.toarray(), wanted.toarray(), rtol=1e-6)


def test_only_those_are_asked_who_have_something_left(behaviour_of, few_are_enough):
    behaviour = behaviour_of(pairs_of(timed=True), USERS, ITEMS)
    visible, hidden = without_newest(evidence_of(behaviour))
    asked = np.flatnonzero(np.diff(hidden.indptr))
    assert len(asked)
    assert (np.diff(visible.behaviour.positives.indptr)[asked] > 0).all()
    assert not visible.behaviour.seen.multiply(hidden.astype(bool)).nnz


def test_where_times_are_too_coarse_for_a_cut_the_last_of_each_is_hidden(behaviour_of):
    days = [pd.Timestamp("2026-01-01"), pd.Timestamp("2026-01-02"), pd.Timestamp("2026-01-02")]
    liked = list(zip(ITEMS[:3], days, strict=True))
    pairs = [(user, item, 1.0, True, day) for user in USERS for item, day in liked]
    behaviour = behaviour_of(pairs, USERS, ITEMS)
    _, hidden = without_newest(evidence_of(behaviour))
    assert (np.diff(hidden.indptr) == 1).all()
    assert set(hidden.indices) == {1, 2}


def test_a_cut_in_time_that_leaves_few_to_ask_is_not_taken(behaviour_of):
    came_once = [
        (user, item, 1.0, True, pd.Timestamp("2026-01-01") + pd.Timedelta(days=n, minutes=m))
        for n, user in enumerate(USERS)
        for m, item in enumerate(ITEMS[:4])
    ]
    _, hidden = without_newest(evidence_of(behaviour_of(came_once, USERS, ITEMS)))
    assert set(hidden.indices) == {3}
    assert (np.diff(hidden.indptr) == 1).all()


def test_ages_are_counted_from_the_newest_that_is_left(behaviour_of, few_are_enough):
    behaviour = behaviour_of(pairs_of(timed=True), USERS, ITEMS)
    left = without_newest(evidence_of(behaviour))[0].behaviour
    assert left.ages.data.min() == 0
    assert left.newest < behaviour.newest


def test_without_times_the_last_of_each_history_is_hidden(behaviour_of, few_are_enough):
    pairs = [row for row in pairs_of(timed=False) if row[3]]
    behaviour = behaviour_of(pairs, USERS, ITEMS, position=[float(n) for n in range(len(pairs))])
    _, hidden = without_newest(evidence_of(behaviour))
    last = {user: item for user, item, *_ in pairs}
    lengths = pd.Series([user for user, *_ in pairs]).value_counts()
    assert names_of(behaviour, hidden) == {
        (user, item) for user, item in last.items() if lengths[user] >= 3
    }


def test_without_an_order_some_are_hidden_by_chance(behaviour_of):
    behaviour = behaviour_of(pairs_of(timed=False), USERS, ITEMS)
    visible, hidden = without_newest(evidence_of(behaviour))
    assert 0.02 < hidden.nnz / behaviour.positives.nnz < 0.2
    assert (visible.behaviour.recency.data == 1).all()


def test_an_item_that_only_hidden_pairs_have_is_cold(behaviour_of, few_are_enough):
    days = pd.date_range("2026-01-01", periods=20)
    pairs = [("u", f"i{n:02}", 1.0, True, day) for n, day in enumerate(days)]
    behaviour = behaviour_of(pairs, ["u"], ITEMS)
    visible, hidden = without_newest(evidence_of(behaviour))
    assert names_of(behaviour, hidden) == {("u", "i18"), ("u", "i19")}
    assert visible.behaviour.cold.tolist() == [n >= 18 for n in range(30)]


def test_places_that_a_model_has_no_opinion_on_are_no_hits():
    scores = np.array([[1, -np.inf, -np.inf]], dtype=np.float32)
    visible = sparse.csr_matrix((1, 3))
    hidden = sparse.csr_matrix(np.array([[0.0, 1.0, 0.0]]))
    assert ndcgs_of(scores, visible, hidden).tolist() == [0]


@pytest.mark.parametrize(("batches", "every"), [(1, 100), (170, 170), (5_000, 300)])
def test_a_pass_is_validated_but_not_too_often_nor_too_seldom(batches, every):
    assert validate_every(batches) == every


@given(st.data())
def test_what_is_left_is_as_recent_as_if_the_others_had_never_been(data):
    times = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=8))
    gone = np.array(data.draw(st.lists(st.booleans(), min_size=len(times), max_size=len(times))))

    def recency_of(own):
        later = [sum(other > time for other in own) for time in own]
        return np.float32([1 / (1 + number) for number in later])

    def row_of(values, items):
        return sparse.csr_matrix((values, items, [0, 0, len(items)]), shape=(2, 8))

    whole = row_of(recency_of(times), np.arange(len(times)))
    left = validation.recency_without(whole, gone)
    expected = recency_of([time for time, is_gone in zip(times, gone, strict=True) if not is_gone])
    assert left.indices.tolist() == np.flatnonzero(~gone).tolist()
    np.testing.assert_array_equal(left.data, expected)
