"""Work that is handed out in blocks, small, and the same wherever it is done."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from unittest import mock

import numpy as np
import pandas as pd
from scipy import sparse

from recsys_dagster.compute.blocks import Compute
from recsys_dagster.steps.evaluation.ranked import rank_for_evaluation
from recsys_dagster.steps.lists import recommendations
from recsys_dagster.steps.lists.reranking import Reranking
from recsys_dagster.steps.models import STRATEGIES, gram, long_tail, memory
from recsys_dagster.steps.models.base import Evidence
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.models.popular import popularity
from recsys_dagster.steps.models.trainer import Trainer
from recsys_dagster.steps.similarity import nearest
from recsys_dagster.steps.similarity.nearest import top_k
from recsys_dagster.steps.similarity.space import Space
from recsys_dagster.steps.similarity.tables import item_neighbours, similarity_matrix
from tests.steps.models.making import evidence_of

USERS, ITEMS, DIMENSION, LENGTH = 300, 120, 12, 8
EXACT = 0.0
ROUNDED = 1e-6
Arrays = list[np.ndarray]


@cache
def world() -> tuple[Evidence, sparse.csr_matrix]:
    """Histories with a head and a tail, vectors, and the users' similarity matrix."""
    random = np.random.default_rng(0)
    liked = random.random((USERS, ITEMS)) < 0.5 / np.arange(1, ITEMS + 1) ** 0.7
    liked[:3] = False  # users without a history
    liked[5, :] = True
    liked[:, -4:] = False  # items that nobody touched
    X = sparse.csr_matrix(liked.astype(np.float32))
    recency = X.copy()
    recency.data = 1 / random.integers(1, 9, X.nnz).astype(np.float32)
    behaviour = replace(
        evidence_of(X).behaviour, recency=recency, recommendable=np.arange(ITEMS) % 17 > 0
    )
    vectors = random.standard_normal((ITEMS, DIMENSION)).astype(np.float32)
    space = Space.of(vectors, "cosine", centre=True)
    items = space.project(vectors)
    users = space.project(random.standard_normal((USERS, DIMENSION)))
    seen = np.diff(X.indptr)
    entries = similarity_matrix(users, items, seen, 20, "cosine")
    similar = sparse.csr_matrix(
        (entries.similarities, (entries.rows, entries.columns)), (USERS, ITEMS), dtype=np.float32
    )
    near = item_neighbours(items, 10, "cosine")
    neighbours = sparse.csr_matrix(
        (near.similarities, (near.rows, near.columns)), (ITEMS, ITEMS), dtype=np.float32
    )
    return Evidence(behaviour, vectors, space, lambda: neighbours), similar


@cache
def fitted(name: str) -> Fitted:
    evidence, _ = world()
    strategy = STRATEGIES[name]
    short = {"epochs": 3, "minutes": 0.1} if "epochs" in strategy.settings.model_fields else {}
    model = strategy.fit(evidence, strategy.settings.model_validate(short))
    return Fitted(strategy, model, popularity(evidence.behaviour.positives))


def lists(name: str, compute: Compute) -> Arrays:
    """Lists with their scores and reasons, some 20 blocks of them."""
    evidence, similar = world()
    with mock.patch.object(recommendations, "BLOCK_CELLS", 2_000):
        found = list(
            recommendations.recommend(
                fitted(name), evidence.behaviour, similar, LENGTH, compute=compute
            )
        )
    assert len(found) > 10
    return [
        np.concatenate([getattr(each, column) for each in found])
        for column in ("users", "items", "ranks", "filled", "scores")
    ] + [np.concatenate([each.because.shares for each in found])]


def lists_in_another_order(compute: Compute) -> Arrays:
    """Lists that rules put in order."""
    evidence, similar = world()
    settings = mock.Mock(
        diversity=0.4, freshness_boost=0.0, max_per_category=None, freshness_half_life_days=30.0
    )
    table = recommendations.popular_items(
        evidence.behaviour,
        popularity(evidence.behaviour.positives),
        pd.DataFrame(
            {
                "item_id": evidence.behaviour.item_ids,
                "title": "a title",
                "category": "a category",
                "created_at": pd.Series(pd.NaT, range(ITEMS), dtype="datetime64[us]"),
            }
        ),
    )
    reranking = Reranking.of(
        settings,
        evidence.behaviour.item_ids,
        table,
        evidence.item_vectors,
        evidence.behaviour.in_catalogue,
        True,
    )
    with mock.patch.object(recommendations, "BLOCK_CELLS", 2_000):
        found = list(
            recommendations.recommend(
                fitted("ease"),
                evidence.behaviour,
                similar,
                LENGTH,
                reranking=reranking,
                compute=compute,
            )
        )
    return [np.concatenate([each.items for each in found])]


def ranked(compute: Compute) -> Arrays:
    """Lists that are measured, 20 users a block."""
    evidence, similar = world()
    behaviour, users = evidence.behaviour, np.arange(0, USERS, 2)
    model = fitted("ease")
    return [
        rank_for_evaluation(
            model, behaviour, similar, users, behaviour.seen, LENGTH, 20, compute=compute
        )
    ]


def neighbours(compute: Compute, similarity: str = "cosine", index: bool = False) -> Arrays:
    """Nearest items in groups, 256 queries a block, some of them equal."""
    random = np.random.default_rng(1)
    groups = 4 * random.standard_normal((40, DIMENSION))
    vectors = groups[np.arange(2_400) % 40] + random.standard_normal((2_400, DIMENSION))
    vectors[::41] = vectors[0]
    items = Space.of(vectors, similarity, centre=False).project(vectors)
    found = None
    if index:
        found = nearest.index_for(items, items, 5, similarity, 0)
        assert found is not None
    with mock.patch.object(nearest, "_QUERY_BLOCK", 256):
        near = top_k(
            items,
            items,
            5,
            similarity,
            exclude=np.arange(len(items)),
            index=found,
            compute=compute,
        )
    return [near.positions, near.similarities]


def long_tail_weights(name: str, compute: Compute) -> Arrays:
    """What is learned of 120 items, 30 of them densely, 16 items a block."""
    evidence, _ = world()
    strategy = STRATEGIES[name]
    with (
        mock.patch.object(memory, "MAX_DENSE", 30),
        mock.patch.object(memory, "MAX_HEAD", 30),
        mock.patch.object(long_tail, "BLOCK", 16),
    ):
        own = replace(evidence, trainer=Trainer(compute=compute))
        learned = strategy.learn(own, strategy.settings())
    assert long_tail.HEAD in learned
    return [learned[each] for each in sorted(learned)]


def dense_weights(name: str, compute: Compute) -> Arrays:
    """What is learned of all items densely, 16 rows of XᵀX a block."""
    evidence, _ = world()
    strategy = STRATEGIES[name]
    with mock.patch.object(gram, "GRAM_ROWS", 16):
        own = replace(evidence, trainer=Trainer(compute=compute))
        learned = strategy.learn(own, strategy.settings())
    return [learned[each] for each in sorted(learned)]


WORK: dict[str, tuple[Callable[[Compute], Arrays], float]] = {
    **{
        f"lists of {name}": (lambda compute, name=name: lists(name, compute), EXACT)
        for name in ("popular", "content", "similar_items", "item_knn", "markov", "ease", "gfcf")
    },
    "lists of hybrid": (lambda compute: lists("hybrid", compute), EXACT),
    "lists of als": (lambda compute: lists("als", compute), ROUNDED),
    "lists in another order": (lists_in_another_order, EXACT),
    "evaluation": (ranked, EXACT),
    "nearest by cosine": (neighbours, ROUNDED),
    "nearest by distance": (lambda compute: neighbours(compute, "euclidean"), ROUNDED),
    "nearest by an index": (lambda compute: neighbours(compute, index=True), ROUNDED),
    **{
        f"long tail of {name}": (
            lambda compute, name=name: long_tail_weights(name, compute),
            ROUNDED,
        )
        for name in ("ease", "l3ae", "gfcf", "hybrid")
    },
    **{
        f"weights of {name}": (lambda compute, name=name: dense_weights(name, compute), ROUNDED)
        for name in ("ease", "l3ae", "gfcf", "hybrid")
    },
}
"""What is done, and how far its numbers may be from those of one process."""


LIGHT = [
    "lists of ease",
    "lists in another order",
    "evaluation",
    "nearest by cosine",
    "nearest by an index",
    "long tail of l3ae",
    "weights of l3ae",
]
"""Of each kind, what takes least."""


def assert_same(found: Arrays, expected: Arrays, tolerance: float) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        if tolerance and one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(one, other)
