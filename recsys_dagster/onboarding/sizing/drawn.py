"""A catalog of nobody's, drawn at any size, to measure on.

Popularity falls with rank as 1 / rank^0.8, who likes an item of a topic likes more of it, lengths
of histories are log-normal, and texts are words of topics, encoded by `encoder: tfidf`.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NAME = "scale"
ITEMS_OF_TOPIC = 500
OWN_SHARE = 0.7
"""Of a history: with items of the user's own topics; the rest by popularity alone."""
TOPICS_OF_USER = 3
FALL = 0.8
SPREAD = 1.0
WORDS, WORDS_OF_TOPIC, WORDS_OF_TEXT = 20_000, 40, 8
DAY = 86_400
BEGAN, DAYS = 1_700_000_000, 730
CATALOG = """\
name: scale
interactions: {source: interactions.parquet}
items: {source: items.parquet, text: title}
encoder: {model: tfidf, dimension: 256}
evaluation: {on_refresh: false}
"""


def draw(folder: Path, users: int, items: int, interactions: int) -> None:
    """Write a catalog and its two tables.

    Args:
        folder: where to.
        users: how many.
        items: how many.
        interactions: how many, about.
    """
    random = np.random.default_rng(0)
    topics = max(1, items // ITEMS_OF_TOPIC)
    topic_of = random.integers(0, topics, items)
    rank = random.permutation(items) + 1
    by_topic = np.lexsort((rank, topic_of))
    starts = np.searchsorted(topic_of[by_topic], np.arange(topics + 1))
    weights = 1 / rank[by_topic] ** FALL
    sums = np.concatenate([[0.0], np.cumsum(weights)])

    lengths = np.exp(random.normal(0, SPREAD, users))
    lengths = np.maximum(1, np.rint(lengths * interactions / lengths.sum())).astype(np.int64)
    user_of = np.repeat(np.arange(users), np.minimum(lengths, items // 4))
    own = random.integers(0, topics, (users, TOPICS_OF_USER))
    topic = own[user_of, random.integers(0, TOPICS_OF_USER, len(user_of))]
    everywhere = random.random(len(user_of)) > OWN_SHARE
    low = np.where(everywhere, 0.0, sums[starts[topic]])
    high = np.where(everywhere, sums[-1], sums[starts[topic + 1]])
    place = np.searchsorted(sums, low + random.random(len(user_of)) * (high - low), side="right")
    item_of = by_topic[np.clip(place - 1, 0, items - 1)]
    seconds = BEGAN + random.integers(0, DAYS * DAY, len(user_of))
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table({"user_id": user_of, "item_id": item_of, "timestamp": seconds}),
        folder / "interactions.parquet",
    )
    words = np.array([f"w{number:05}" for number in range(WORDS)])
    of_topic = random.integers(0, WORDS, (topics, WORDS_OF_TOPIC))
    chosen = of_topic[topic_of[:, None], random.integers(0, WORDS_OF_TOPIC, (items, WORDS_OF_TEXT))]
    titles = [" ".join(text) for text in words[chosen]]
    pq.write_table(
        pa.table({"item_id": np.arange(items), "title": titles}), folder / "items.parquet"
    )
    (folder / "scale.yaml").write_text(CATALOG, encoding="utf-8")
