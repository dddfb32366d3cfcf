"""The examples of ARCHITECTURE.md that need an encoder."""

from pathlib import Path

import numpy as np
import pytest

from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.steps.similarity.every_pair import pairwise
from recsys_dagster.steps.similarity.space import Space

USERS = ["我喜欢看电影", "我也喜欢听音乐"]
ITEMS = ["这部电影很棒", "这首音乐很动听"]


def encode(model: str, texts: list[str], prompt: str) -> np.ndarray:
    encoder = TextEncoder().load(model, Path(), prompt=prompt)
    vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
    for positions, chunk in encoder.encode(texts):
        vectors[positions] = chunk
    return vectors


@pytest.mark.multilingual
def test_chinese_users_get_what_they_speak_of(multilingual_model):
    users = encode(multilingual_model, USERS, "query")
    items = encode(multilingual_model, ITEMS, "document")
    space = Space.of(items, "cosine", False)
    similarity = pairwise(space.project(users), space.project(items), "cosine")
    assert similarity.argmax(axis=1).tolist() == [0, 1]
    norms = np.linalg.norm(users, axis=1)[:, None] * np.linalg.norm(items, axis=1)
    np.testing.assert_allclose(similarity, users @ items.T / norms, atol=1e-5)
