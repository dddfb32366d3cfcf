"""The catalog's strategy, fitted: names to models, and what need not be learned again."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from scipy import sparse
from test_models import block_of, direct_l3ae, histories, texts

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.steps.evaluation.tuning import KNOBS, VALUES
from recsys_dagster.steps.models import strategies
from recsys_dagster.steps.models.base import ItemWeightsModel
from recsys_dagster.steps.models.popular import popularity
from recsys_dagster.steps.similarity.nearest import Space

STRATEGIES = get_args(Catalog.model_fields["strategy"].annotation)


def catalog_of(strategy, **models):
    return Catalog.model_validate(
        {
            "name": "shop",
            "interactions": {"source": "x.csv"},
            "items": {"source": "y.csv", "text": "{title}"},
            "strategy": strategy,
            "models": {
                "ease_regularisation": 10,
                "hybrid_regularisation": 10,
                "dropout": 0,
                "hybrid_gfcf_weight": 0,
                **models,
            },
        }
    )


def evidence_of(behaviour, vectors):
    users, items = behaviour.seen.shape
    return strategies.Evidence(
        behaviour,
        vectors,
        sparse.csr_matrix((users, items), dtype=np.float32),
        sparse.csr_matrix((items, items), dtype=np.float32),
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_of_the_catalog_is_a_model_of_that_name(behaviour_of, strategy):
    behaviour = behaviour_of([("u", "a"), ("v", "b"), ("v", "c")], ["u", "v", "w"], list("abcd"))
    model = strategies.fit(catalog_of(strategy), evidence_of(behaviour, texts(4, 3)))
    assert model.strategy == strategy
    block = block_of(behaviour.positives, behaviour.weights)
    scores = model.score(block)
    assert scores.shape == (3, 4)
    assert scores.dtype == np.float32
    parts = model.contributions(block, np.array([1, 1]), np.array([0, 3]))
    assert parts.shape == (2 * 2,)
    assert parts.dtype == np.float32


def test_an_item_that_people_only_dislike_is_not_cold(behaviour_of):
    pairs = [("u", "a"), ("u", "b"), ("v", "a"), ("v", "b"), ("v", "disliked", 1.0, False)]
    behaviour = behaviour_of(pairs, ["u", "v"], ["a", "b", "disliked", "unknown"])
    F = Space("cosine", None).project(np.array([[1, 0.1], [1, 0], [1, 0.05], [1, 0.05]]))
    model = strategies.fit(catalog_of("hybrid"), evidence_of(behaviour, F)).model
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
    model = strategies.fit(catalog_of("hybrid"), evidence_of(behaviour, texts(3, 2))).model
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


def block_in_order(behaviour):
    return replace(block_of(behaviour.positives, behaviour.weights), recency=behaviour.recency)


def test_popularity_speaks_in_the_hybrid_for_users_known_by_little(evidence):
    plain, ruled = (
        strategies.fit(catalog_of("hybrid", hybrid_popularity_weight=weight), evidence)
        for weight in (0, 2)
    )
    likes = np.eye(8, dtype=np.float32)
    for n in (1, 3):
        block = block_of(sparse.csr_matrix(likes[:n].sum(axis=0, keepdims=True)))
        added = 2 * popularity(evidence.behaviour.positives)[None] / n**3
        np.testing.assert_allclose(ruled.score(block) - plain.score(block), added, atol=1e-5)
        parts = [m.contributions(block, np.array([0]), np.array([5])) for m in (plain, ruled)]
        np.testing.assert_array_equal(*parts)


def test_a_search_fits_as_if_each_trial_were_the_first(evidence):
    block = block_in_order(evidence.behaviour)
    for strategy, knobs in KNOBS.items():
        fits = strategies.Fits(evidence)
        start = catalog_of(strategy)
        tried = [catalog_of(strategy, **{knob: VALUES[knob][-1]}) for knob in knobs]
        for catalog in (start, *tried, start):
            again = strategies.fit(catalog, evidence)
            np.testing.assert_array_equal(fits.fit(catalog).score(block), again.score(block))


def test_settings_of_the_scores_alone_are_tried_without_learning_again(evidence, monkeypatch):
    learned = []
    learn = strategies.learn
    monkeypatch.setattr(
        strategies, "learn", lambda own, known: learned.append(own) or learn(own, known)
    )
    fits = strategies.Fits(evidence)
    block = block_in_order(evidence.behaviour)
    scores = [
        fits.fit(catalog_of("hybrid", **own)).score(block)
        for own in ({}, {"recency_power": 0.8}, {"hybrid_popularity_weight": 10})
    ]
    assert len(learned) == 1
    assert not any(np.array_equal(scores[0], other) for other in scores[1:])
    fits.fit(catalog_of("hybrid", hybrid_regularisation=20))
    fits.fit(catalog_of("ease", hybrid_regularisation=20))
    assert len(learned) == 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_learned_does_not_depend_on_settings_of_the_scores(evidence, strategy):
    others = dict.fromkeys(strategies.SCORING_SETTINGS, 0.9)
    one, other = (strategies.learn(catalog_of(strategy, **own), evidence) for own in ({}, others))
    block = block_in_order(evidence.behaviour)
    np.testing.assert_array_equal(one.score(block), other.score(block))
