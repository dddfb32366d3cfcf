"""Every strategy of the registry: settings, evidence, model, and what need not be learned again."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from making import block_of, csr, direct_l3ae, histories, settings_of, texts
from scipy import sparse

from recsys_dagster.steps.models import SEARCHED, STRATEGIES
from recsys_dagster.steps.models.base import Evidence, UserBlock
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.models.fitting import Fits
from recsys_dagster.steps.models.item_weights import ItemWeightsModel
from recsys_dagster.steps.models.popular import popularity
from recsys_dagster.steps.similarity.space import Space
from recsys_dagster.steps.similarity.tables import item_neighbours, similarity_matrix

ten = partial(settings_of, regularisation=10)


def matrix_of(entries, shape):
    return sparse.csr_matrix((entries.similarities, (entries.rows, entries.columns)), shape=shape)


def evidence_of(behaviour, vectors):
    """Items are neighbours as their vectors say."""
    space, items = Space("cosine", None), len(vectors)
    entries = item_neighbours(space.project(vectors), 2, "cosine")
    return Evidence(behaviour, vectors, space, lambda: matrix_of(entries, (items, items)))


def similarities_of(evidence):
    """The similarity matrix of users who are the mean of what they like."""
    likes = evidence.behaviour.positives
    known = np.flatnonzero(np.diff(likes.indptr))
    people = evidence.space.project(likes[known] @ evidence.item_vectors)
    seen = np.diff(evidence.behaviour.seen.indptr)[known]
    entries = similarity_matrix(people, evidence.projected, seen, 2, "cosine")
    places = (known[entries.rows], entries.columns)
    return sparse.csr_matrix((entries.similarities, places), shape=likes.shape)


def needed_by(strategy):
    if strategy == "als":
        pytest.importorskip("implicit")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_of_the_registry_is_a_model(behaviour_of, strategy):
    needed_by(strategy)
    first, then = ((1.0, True, pd.Timestamp("2026-01-01") + pd.Timedelta(days=n)) for n in (0, 1))
    pairs = [("u", "a", *first), ("v", "b", *first), ("v", "c", *then), ("u", "b", *then)]
    behaviour = behaviour_of(pairs, ["u", "v", "w"], list("abcd"))
    evidence, own = evidence_of(behaviour, texts(4, 3)), STRATEGIES[strategy]
    assert own.name == strategy
    model = own.fit(evidence, settings_of(strategy))
    block = UserBlock.of(behaviour, similarities_of(evidence), np.arange(3))
    scores = model.score(block)
    assert scores.shape == (3, 4)
    assert scores.dtype == np.float32
    assert np.isfinite(scores[:2]).any()
    parts = model.contributions(block, np.array([1, 1]), np.array([0, 3]))
    assert parts.shape == (2 * 2,)
    assert parts.dtype == np.float32


def test_an_item_that_people_only_dislike_is_not_cold(behaviour_of):
    pairs = [("u", "a"), ("u", "b"), ("v", "a"), ("v", "b"), ("v", "disliked", 1.0, False)]
    behaviour = behaviour_of(pairs, ["u", "v"], ["a", "b", "disliked", "unknown"])
    F = Space("cosine", None).project(np.array([[1, 0.1], [1, 0], [1, 0.05], [1, 0.05]]))
    model = STRATEGIES["hybrid"].fit(evidence_of(behaviour, F), ten("hybrid"))
    assert isinstance(model, ItemWeightsModel)
    assert model.history_items.tolist() == [0, 1, 2]
    a, disliked, unknown = 0, 2, 3
    learned, _ = direct_l3ae(behaviour.positives.toarray()[:, :3], F[:3], 10, 8, 5)
    np.testing.assert_allclose(model.weights[:, disliked], learned[:, disliked], rtol=1e-4)
    # Identical texts: the transferred column differs from the learned one.
    assert model.weights[a, unknown] > 0
    assert model.weights[a, unknown] != pytest.approx(model.weights[a, disliked], rel=1e-3)


def test_an_item_whose_pairs_are_all_left_out_is_cold(behaviour_of):
    pairs = [("u", "a"), ("u", "b"), ("v", "a"), ("v", "b"), ("v", "rare", 1.0, False)]
    behaviour = behaviour_of(pairs, ["u", "v"], ["a", "b", "rare"], left_out=[False] * 4 + [True])
    model = STRATEGIES["hybrid"].fit(evidence_of(behaviour, texts(3, 2)), ten("hybrid"))
    assert isinstance(model, ItemWeightsModel)
    assert model.history_items.tolist() == [0, 1]


@pytest.fixture
def evidence(behaviour_of):
    """Random likes in the order of their items' names."""
    likes = histories(30, 8).tocoo()
    pairs = [(f"u{u:02d}", f"i{i}") for u, i in zip(likes.row, likes.col, strict=True)]
    users, items = [f"u{u:02d}" for u in range(30)], [f"i{i}" for i in range(8)]
    behaviour = behaviour_of(pairs, users, items, position=[float(i) for i in likes.col])
    return evidence_of(behaviour, texts(8, 4))


def block_in_order(evidence):
    users = np.arange(len(evidence.behaviour.user_ids))
    return UserBlock.of(evidence.behaviour, similarities_of(evidence), users)


def test_popularity_speaks_in_the_hybrid_for_users_known_by_little(evidence):
    plain, ruled = (
        STRATEGIES["hybrid"].fit(evidence, ten("hybrid", popularity_weight=weight))
        for weight in (0, 2)
    )
    likes = np.eye(8, dtype=np.float32)
    for n in (1, 3):
        block = block_of(csr(likes[:n].sum(axis=0, keepdims=True)))
        added = 2 * popularity(evidence.behaviour.positives)[None] / n**3
        np.testing.assert_allclose(ruled.score(block) - plain.score(block), added, atol=1e-5)
        parts = [m.contributions(block, np.array([0]), np.array([5])) for m in (plain, ruled)]
        np.testing.assert_array_equal(*parts)


@pytest.mark.parametrize("strategy", SEARCHED)
def test_a_search_fits_as_if_each_trial_were_the_first(evidence, strategy):
    needed_by(strategy)
    block, fits = block_in_order(evidence), Fits(evidence)
    start = settings_of(strategy)
    tried = [
        settings_of(strategy, **{name: mark.values[-1]})
        for name, mark in STRATEGIES[strategy].searched.items()
    ]
    for settings in (start, *tried, start):
        again = STRATEGIES[strategy].fit(evidence, settings)
        shares = popularity(evidence.behaviour.positives)
        np.testing.assert_array_equal(
            fits.fit(strategy, settings).score(block),
            Fitted(STRATEGIES[strategy], again, shares).score(block),
        )


def test_settings_of_the_scores_alone_are_tried_without_learning_again(evidence):
    learned = []

    def learn(strategy, settings, known):
        learned.append(settings)
        return strategy.learn(known, settings)

    fits, block = Fits(evidence, learn), block_in_order(evidence)
    scores = [
        fits.fit("hybrid", ten("hybrid", **own)).score(block)
        for own in ({}, {"recency_power": 0.8}, {"popularity_weight": 10})
    ]
    assert len(learned) == 1
    assert not any(np.array_equal(scores[0], other) for other in scores[1:])
    fits.fit("hybrid", settings_of("hybrid", regularisation=20))
    fits.fit("ease", settings_of("ease", regularisation=20))
    assert len(learned) == 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_learned_does_not_depend_on_settings_of_the_scores(evidence, strategy):
    needed_by(strategy)
    own = STRATEGIES[strategy]
    others = {name: 0.9 for name, mark in own.searched.items() if mark.scores_only}
    one, other = (
        own.learn(evidence, settings_of(strategy, **settings)) for settings in ({}, others)
    )
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])
