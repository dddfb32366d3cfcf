"""A catalog of nobody's, published: histories as people have them, vectors as texts give them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import sparse

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.snapshots.model_files import write_model
from recsys_dagster.snapshots.reader import Snapshot
from recsys_dagster.snapshots.writer import publish
from recsys_dagster.steps.lists.recommendations import (
    popular_items,
    recommend,
    recommendations_table,
)
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.base import Evidence
from recsys_dagster.steps.models.behaviour import Behaviour
from recsys_dagster.steps.models.fitting import settings_of
from recsys_dagster.steps.models.kept import KeptModel
from recsys_dagster.steps.prepare.histories import histories_table
from recsys_dagster.steps.similarity.space import Space

NAME = "synthetic"
DIMENSION = 384
TOPICS = 40
MEDIAN_LENGTH, SPREAD, MAX_LENGTH = 30, 1.0, 500
"""Of histories: their logarithm is normal, as in tables of ratings."""
HALF_LIFE_DAYS, HALF_LIFE_POSITIONS = 365.0, 50.0
LISTED_USERS = 500
"""Who gets a list; the model learns from all."""
RUN_ID, MADE_AT = "00000000", pd.Timestamp.fromtimestamp(1_767_225_600)


def lengths(random: np.random.Generator, users: int) -> np.ndarray:
    """How many items each user likes, int64 (users,)."""
    drawn = np.exp(random.normal(np.log(MEDIAN_LENGTH), SPREAD, users))
    return np.clip(drawn, 1, MAX_LENGTH).astype(np.int64)


def publish_synthetic(home: Path, items: int, users: int) -> Snapshot:
    """Fit the default strategy on drawn interactions and publish it.

    Popularity falls with the rank of an item as 1 / rank^0.8; who likes an item of a topic likes
    more of it; vectors of a topic are near each other and share a common direction, as those of
    texts do.

    Args:
        home: an empty folder for models and snapshots.
        items: how many there are.
        users: how many the model learns from.
    """
    random = np.random.default_rng(0)
    topic_of = random.integers(0, TOPICS, items)
    vectors = _vectors(random, topic_of)
    histories = _histories(random, topic_of, users)
    behaviour = Behaviour.of(histories, [f"{item:06}" for item in range(items)])
    catalog = Catalog.model_validate(
        {
            "name": NAME,
            "interactions": {"source": "drawn.csv"},
            "items": {"source": "drawn.csv", "text": "title"},
        }
    )
    strategy, settings = STRATEGIES[catalog.strategy], settings_of(catalog, catalog.strategy)
    evidence = Evidence(
        behaviour,
        vectors,
        Space.of(vectors, catalog.similarity, catalog.centre),
        lambda: sparse.csr_matrix((items, items), dtype=np.float32),
    )
    kept = KeptModel.of(strategy, settings, strategy.learn(evidence, settings), evidence)
    dumped = settings.model_dump(mode="json")
    model = write_model(
        home / "models", NAME, kept.save(), {"strategy": strategy.name, "settings": dumped}
    )
    listed = _first_users(behaviour, LISTED_USERS)
    lists = recommend(
        kept.fitted,
        listed,
        sparse.csr_matrix(listed.seen.shape, dtype=np.float32),
        catalog.list_length,
    )
    nobody, no_place = pa.array([], pa.string()), pa.array([], pa.float64())
    popular = pa.Table.from_pandas(
        popular_items(behaviour, kept.popularity, _items(behaviour)), preserve_index=False
    )
    tables = {
        "recommendations": recommendations_table(lists, listed, strategy, RUN_ID, MADE_AT),
        "popular_items": popular,
        "items": _with_texts(popular.select(["item_id", "title", "category"])),
        "histories": histories.drop_columns("first_timestamps"),
        "item_map": pa.table({"item_id": nobody, "x": no_place, "y": no_place}),
        "item_neighbours": pa.table(
            {
                "item_id": nobody,
                "neighbour_item_id": nobody,
                "similarity": pa.array([], pa.float32()),
                "rank": pa.array([], pa.int32()),
            }
        ),
    }
    about = {
        "live_files": [],
        "encoder": {"model": "drawn", "fingerprint": "drawn"},
        "settings": catalog.model_dump(mode="json"),
    }
    snapshots = home / "snapshots"
    publish(snapshots, NAME, RUN_ID, MADE_AT, tables, about, model, dumped)
    return Snapshot.current(snapshots, NAME)


def _vectors(random: np.random.Generator, topic_of: np.ndarray) -> np.ndarray:
    common = random.normal(size=DIMENSION)
    topics = random.normal(size=(TOPICS, DIMENSION))
    own = random.normal(size=(len(topic_of), DIMENSION))
    vectors = (common + topics[topic_of] + own).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _with_texts(items: pa.Table) -> pa.Table:
    """Titles are all that there is to read."""
    return items.append_column("text", items["title"]).sort_by("item_id")


def _histories(random: np.random.Generator, topic_of: np.ndarray, users: int) -> pa.Table:
    items = len(topic_of)
    popularity = random.permutation(1 / np.arange(1, items + 1) ** 0.8)
    of_topic = [np.flatnonzero(topic_of == topic) for topic in range(TOPICS)]
    pairs = []
    for user, length in enumerate(lengths(random, users).tolist()):
        chances = popularity.copy()
        for topic in random.integers(0, TOPICS, 3):
            chances[of_topic[topic]] *= 20
        liked = random.choice(items, min(length, items // 2), False, chances / chances.sum())
        pairs.append(np.column_stack([np.full(len(liked), user), liked]))
    rows, columns = np.concatenate(pairs).T
    seconds = random.integers(1, 3 * 365 * 86_400, len(rows))
    times = MADE_AT - pd.to_timedelta(seconds, unit="s")
    interactions = pd.DataFrame(
        {
            "user_id": [f"{user:06}" for user in rows],
            "item_id": [f"{item:06}" for item in columns],
            "weight": 1.0,
            "positive": True,
            "left_out": False,
            "first_timestamp": times,
            "last_timestamp": times,
            "last_position": np.nan,
        }
    )
    return histories_table(
        interactions,
        interactions["user_id"].drop_duplicates(),
        HALF_LIFE_DAYS,
        HALF_LIFE_POSITIONS,
    )


def _items(behaviour: Behaviour) -> pd.DataFrame:
    """What lists need of the table `items`."""
    return pd.DataFrame(
        {
            "item_id": behaviour.item_ids,
            "title": [f"Item {item_id}" for item_id in behaviour.item_ids],
            "category": None,
            "created_at": pd.Series(pd.NaT, range(len(behaviour.item_ids)), "datetime64[us]"),
        }
    )


def _first_users(behaviour: Behaviour, users: int) -> Behaviour:
    first = slice(0, users)
    return replace(
        behaviour,
        user_ids=behaviour.user_ids[first],
        seen=behaviour.seen[first],
        weights=behaviour.weights[first],
        recency=behaviour.recency[first],
        ages=behaviour.ages[first],
    )
