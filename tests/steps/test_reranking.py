"""Lists by rules: varied, fresh, not too much of one category, and never shorter than they must."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recsys_dagster.catalog.rules import RuleSettings
from recsys_dagster.steps.lists import reranking as module
from recsys_dagster.steps.lists.recommendations import best_items, popular_items
from recsys_dagster.steps.lists.reranking import Reranking, fill, item_ages, relevance, rerank
from recsys_dagster.steps.models.base import NOT_RANKED
from recsys_dagster.steps.models.popular import popularity

F = np.float32
CORNERS = np.vstack([np.eye(3), -np.eye(3), np.zeros((1, 3))]).astype(F)
"""Vectors whose cosines are exact: 1, 0 or -1."""


def of_catalogue(rules, behaviour, items, vectors, centre=True):
    """The rules over a catalogue, all of which may be in lists."""
    listed = popular_items(behaviour, popularity(behaviour.positives), items)
    return Reranking.of(rules, behaviour.item_ids, listed, vectors, behaviour.in_catalogue, centre)


def rules_of(items, cap=None, categories=None, diversity=0.0, vectors=None, freshness=None):
    return Reranking(
        cap,
        np.full(items, -1) if categories is None else np.array(categories),
        diversity,
        vectors if vectors is None else np.array(vectors, dtype=F),
        freshness if freshness is None else np.array(freshness, dtype=F),
    )


def reranked(scores, rules, n):
    """Items of each user, those that are there."""
    items, best = rerank(np.array(scores, dtype=F), rules, n)
    return [row[kept].tolist() for row, kept in zip(items, best > NOT_RANKED, strict=True)]


def plain_list(scores, rules, n):
    """One user's list, as one would write it first."""
    order = sorted(np.flatnonzero(scores > NOT_RANKED), key=lambda item: (-scores[item], item))
    pool = order[: max(module.POOL_PER_PLACE * n, module.MIN_POOL)]
    chosen, counts = [], {}

    def fits(item):
        category = rules.categories[item]
        full = rules.max_per_category is not None and category >= 0
        return item not in chosen and not (
            full and counts.get(category, 0) >= rules.max_per_category
        )

    def worth(item):
        low, high = scores[pool].min(), scores[pool].max()
        value = (scores[item] - low) / (high - low) if high > low else F(1)
        if rules.freshness is not None:
            value = value + rules.freshness[item]
        value = value * F(1 - rules.diversity)
        if rules.vectors is not None and chosen:
            nearest = max(rules.vectors[item] @ rules.vectors[other] for other in chosen)
            value = value - F(rules.diversity) * nearest
        return value

    while len(chosen) < n:
        fitting = [item for item in pool if fits(item)]
        rest = [item for item in order if fits(item)]
        if not rest:
            break
        chosen.append(max(fitting, key=worth) if fitting else rest[0])
        category = rules.categories[chosen[-1]]
        counts[category] = counts.get(category, 0) + 1
    return [int(item) for item in chosen]


# Against the plain form


@settings(max_examples=150)
@given(st.data())
def test_lists_are_those_of_the_plain_form(data):
    users, items = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 12))
    score = st.one_of(st.integers(-3, 3).map(float), st.just(-np.inf))
    rows = st.lists(score, min_size=items, max_size=items)
    scores = np.array([data.draw(rows) for _ in range(users)], dtype=F).reshape(users, items)

    def drawn(strategy):
        return np.array(data.draw(st.lists(strategy, min_size=items, max_size=items)))

    rules = rules_of(
        items,
        cap=data.draw(st.sampled_from([None, 1, 2])),
        categories=drawn(st.integers(-1, 2)).astype(int),
        diversity=data.draw(st.sampled_from([0.25, 0.5, 0.75])),
        vectors=CORNERS[drawn(st.integers(0, len(CORNERS) - 1)).astype(int)],
        freshness=data.draw(st.none() | st.just(drawn(st.sampled_from([0, 0.125, 0.5, 2])))),
    )
    n = data.draw(st.integers(1, 8))
    with pytest.MonkeyPatch.context() as patch:
        # A pool smaller than the catalogue, and more than one block of users.
        patch.setattr(module, "POOL_PER_PLACE", 1)
        patch.setattr(module, "MIN_POOL", 3)
        patch.setattr(module, "BLOCK_CELLS", data.draw(st.sampled_from([1, 40, 10_000])))
        found = reranked(scores, rules, n)
        assert found == [plain_list(row, rules, n) for row in scores]


# Diversity


def test_what_differs_from_what_is_above_comes_earlier():
    vectors = [[1, 0], [1, 0], [0.6, 0.8], [0, 1]]
    scores = [[1.0, 0.9, 0.5, 0.0]]
    assert reranked(scores, rules_of(4), 4) == [[0, 1, 2, 3]]
    # Then .45 - .5, .25 - .3 and 0 - 0: the last one is worth most; beside it .25 - .4 of item 2
    # is less than .45 - .5 of item 1.
    assert reranked(scores, rules_of(4, diversity=0.5, vectors=vectors), 4) == [[0, 3, 1, 2]]
    # .81 - .1 of item 1 is more than .45 - .06 of item 2.
    assert reranked(scores, rules_of(4, diversity=0.1, vectors=vectors), 4) == [[0, 1, 2, 3]]


def test_what_is_opposite_to_all_above_gains():
    vectors = [[1, 0], [0, 1], [-1, 0]]
    assert reranked([[4, 2, 1]], rules_of(3, diversity=0.5, vectors=vectors), 3) == [[0, 2, 1]]


def test_the_pool_is_where_variety_ends(monkeypatch):
    monkeypatch.setattr(module, "MIN_POOL", 2)
    monkeypatch.setattr(module, "POOL_PER_PLACE", 1)
    vectors = [[1, 0], [1, 0], [0, 1]]
    assert reranked([[3, 2, 1]], rules_of(3, diversity=0.9, vectors=vectors), 2) == [[0, 1]]


def test_vectors_are_centred_as_the_catalog_has_it(behaviour_of, items_of):
    rows = [("u", "a"), ("u", "x")]
    behaviour, items = behaviour_of(rows, ["u"], list("abc")), items_of("abc")
    vectors = np.array([[2, 0], [0, 2], [1, 1], [0, 0]], dtype=F)  # x is not in the catalogue
    settings = RuleSettings(diversity=0.5)

    def resolved(centre):
        return of_catalogue(settings, behaviour, items, vectors, centre).vectors

    half = F(np.sqrt(0.5))
    np.testing.assert_allclose(resolved(False), [[1, 0], [0, 1], [half, half], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(
        resolved(True), [[half, -half], [-half, half], [0, 0], [0, 0]], rtol=1e-6
    )


# Freshness


def test_a_boost_lifts_new_items_by_their_part_of_the_span():
    rules = rules_of(4, freshness=[0, 0, 0.3, 0.5])
    # Relevance 1, .75, .5, 0 and what is added to it.
    assert reranked([[8, 6, 4, 0]], rules, 4) == [[0, 2, 1, 3]]
    # The same in another scale: scores of strategies have none of their own.
    assert reranked([[0.8, 0.6, 0.4, 0]], rules, 4) == [[0, 2, 1, 3]]


def test_an_item_ages_from_when_it_was_made_to_the_newest_interaction_of_all(
    items_of, behaviour_of
):
    days = {name: pd.Timestamp(f"2024-01-{name}") for name in ("01", "11", "16", "21", "30")}
    rows = [
        ("u", "a", 1.0, True, days["11"]),
        ("v", "a", 1.0, True, days["16"]),
        ("u", "b", 1.0, False, days["21"]),
        ("u", "c"),
        ("u", "d", 1.0, True, days["11"]),
    ]
    items = items_of("abcdef")
    items.loc[[3, 4], "created_at"] = [days["01"], days["30"]]
    ages = item_ages(behaviour_of(rows, ["u", "v"], list("abcdef")), items)
    # By first interaction; the newest; no time at all; as said; later than all; untouched.
    np.testing.assert_array_equal(ages, [10, 0, np.nan, 20, 0, np.nan])


def test_the_boost_halves_and_what_is_of_unknown_age_has_none(behaviour_of, items_of):
    time = pd.Timestamp("2024-01-21")
    rows = [("u", "a", 1.0, True, time), ("u", "b", 1.0, True, time - pd.Timedelta(days=20))]
    settings = RuleSettings(freshness_boost=2, freshness_half_life_days=10)

    def lifts(rows):
        behaviour = behaviour_of(rows, ["u"], list("abc"))
        vectors = np.zeros((3, 2), dtype=F)
        return of_catalogue(settings, behaviour, items_of("abc"), vectors).freshness

    assert lifts(rows).tolist() == [2, 0.5, 0]
    assert lifts([("u", "a"), ("u", "b")]).tolist() == [0, 0, 0]
    assert lifts([]).tolist() == [0, 0, 0]


# Categories


def test_no_category_has_more_rows_than_it_may():
    rules = rules_of(6, cap=2, categories=[0, 0, 0, 1, -1, -1])
    assert reranked([[6, 5, 4, 3, 2, 1]], rules, 5) == [[0, 1, 3, 4, 5]]
    assert reranked([[6, 5, 4, 3, 2, 1]], rules, 6) == [[0, 1, 3, 4, 5]]


def test_a_pool_of_one_category_is_widened_by_score(monkeypatch):
    monkeypatch.setattr(module, "MIN_POOL", 3)
    monkeypatch.setattr(module, "POOL_PER_PLACE", 1)
    rules = rules_of(6, cap=1, categories=[0, 0, 0, 0, 1, 1])
    assert reranked([[9, 8, 7, 6, 1, 2], [1, 2, 3, 4, 5, 6]], rules, 2) == [[0, 5], [5, 3]]


def test_fillers_go_by_popularity_and_stay_within_the_cap():
    rules = rules_of(5, cap=1, categories=[0, 0, 1, 1, -1])
    items, scores = np.array([[1, 0, 0, 0]]), np.array([[7, *[-np.inf] * 3]], dtype=F)
    left = np.array([[0.9, 0.8, 0.1, 0.2, 0.0]], dtype=F)
    items, scores, filled = fill(items, scores, left, rules)
    assert items[0, :3].tolist() == [1, 3, 4]
    np.testing.assert_array_equal(scores, np.array([[7, 0.2, 0, -np.inf]], dtype=F))
    assert filled.tolist() == [[False, True, True, False]]


@settings(max_examples=100)
@given(st.data())
def test_whole_lists_keep_the_cap_and_are_as_long_as_it_lets_them(data):
    users, items = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 10))
    n, cap = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 3))

    def table(strategy, *shape):
        size = int(np.prod(shape))
        drawn = data.draw(st.lists(strategy, min_size=size, max_size=size))
        return np.array(drawn).reshape(shape)

    categories = table(st.integers(-1, 2), items)
    scores = table(st.one_of(st.integers(0, 5).map(float), st.just(-np.inf)), users, items)
    seen, candidates = table(st.booleans(), users, items), table(st.booleans(), items)
    popularity = table(st.integers(0, 3), items).astype(F)
    rules = rules_of(items, cap, categories, 0.5, CORNERS[table(st.integers(0, 6), items)])
    model_scores = scores.astype(F)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "POOL_PER_PLACE", 1)
        patch.setattr(module, "MIN_POOL", 2)
        found, best, filled = best_items(
            model_scores.copy(), sparse.csr_matrix(seen), candidates, popularity, n, rules
        )
    for user in range(users):
        there = best[user] > NOT_RANKED
        assert (np.diff(there.astype(int)) <= 0).all()
        own, by_popular = found[user, there], filled[user, there]
        assert len(set(own.tolist())) == len(own)
        assert candidates[own].all()
        assert not seen[user, own].any()
        counts = np.bincount(categories[own][categories[own] >= 0], minlength=3)
        assert counts.max() <= cap
        left = np.flatnonzero(candidates & ~seen[user])
        room = sum(min(cap, int((categories[left] == one).sum())) for one in range(3))
        assert len(own) == min(n, room + int((categories[left] == -1).sum()))
        # Rows are scored by what put them there, and popular ones come last.
        assert (np.diff(by_popular.astype(int)) >= 0).all()
        expected = np.where(by_popular, popularity[own], model_scores[user, own])
        np.testing.assert_array_equal(best[user, there], expected)


# Rules that are off


def test_without_rules_of_order_there_is_nothing_to_rerank_by(behaviour_of, items_of):
    rules = RuleSettings(allow=("a",), categories=("x",), freshness_half_life_days=3)
    behaviour, vectors = behaviour_of([], [], ["a"]), np.zeros((1, 2), dtype=F)
    assert of_catalogue(rules, behaviour, items_of("a"), vectors) is None


@given(st.data())
def test_rules_that_bind_nothing_leave_lists_as_they_are(data):
    shape = (3, data.draw(st.integers(1, 12)))
    size = shape[0] * shape[1]
    score = st.one_of(st.floats(-1, 1, width=32), st.just(-np.inf))
    scores = data.draw(st.lists(score, min_size=size, max_size=size))
    scores = np.array(scores, dtype=F).reshape(shape)
    seen = sparse.csr_matrix(shape, dtype=bool)
    candidates, popularity = np.ones(shape[1], dtype=bool), np.arange(shape[1], dtype=F)
    n = data.draw(st.integers(1, 14))
    loose = rules_of(shape[1], cap=shape[1], categories=np.zeros(shape[1], dtype=int))
    plain, ruled = (
        best_items(scores.copy(), seen, candidates, popularity, n, rules) for rules in (None, loose)
    )
    for before, after in zip(plain, ruled, strict=True):
        np.testing.assert_array_equal(before, after)


def test_relevance_is_where_a_score_lies_between_the_least_and_the_largest():
    scores = np.array([[4, 3, 0], [2, 2, -np.inf], [-np.inf] * 3], dtype=F)
    assert relevance(scores).tolist() == [[1, 0.75, 0], [1, 1, 1], [1, 1, 1]]
