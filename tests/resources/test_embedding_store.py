"""The store of vectors: each text encoded once, ever, and batches that survive a crash."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from recsys_dagster.resources.embedding_store import (
    EmbeddingStore,
    encode_once,
    vectors_from_arrow,
    vectors_to_arrow,
)
from recsys_dagster.steps.prepare.texts import hash_text


class FakeEncoder:
    """A text's vector is its length and its fingerprint's; yields the last text first."""

    dimension = 2

    def __init__(self, fingerprint: str = "one", batch: int = 2, crash_after: int = 10**9):
        self.fingerprint = fingerprint
        self.batch = batch
        self.crash_after = crash_after
        self.asked: list[str] = []

    def vector(self, text: str) -> list[float]:
        return [len(text), len(self.fingerprint)]

    def encode(
        self, texts, *, progress=None, doing=None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = np.arange(len(texts))[::-1]
        for start in range(0, len(texts), self.batch):
            if start >= self.crash_after:
                raise MemoryError("the machine went away")
            positions = order[start : start + self.batch]
            batch = [texts[position] for position in positions]
            self.asked += batch
            yield positions, np.array([self.vector(text) for text in batch], dtype=np.float32)


def table(*texts: str) -> pd.DataFrame:
    return pd.DataFrame({"text": texts, "text_hash": [hash_text(text) for text in texts]})


def expected(encoder: FakeEncoder, texts: pd.DataFrame) -> np.ndarray:
    return np.array([encoder.vector(text) for text in texts["text"]], dtype=np.float32)


def test_each_text_is_encoded_once_ever(warehouse):
    encoder = FakeEncoder()
    texts = table("a", "bbb", "a", "cc", "bbb")
    first = encode_once(texts, encoder, warehouse, "films")
    assert sorted(encoder.asked) == ["a", "bbb", "cc"]
    assert (first.encoded, first.reused) == (3, 0)
    np.testing.assert_array_equal(first.vectors, expected(encoder, texts))

    again = table("dddd", "a", "cc")
    second = encode_once(again, encoder, warehouse, "films")
    assert sorted(encoder.asked) == ["a", "bbb", "cc", "dddd"]
    assert (second.encoded, second.reused) == (1, 2)
    np.testing.assert_array_equal(second.vectors, expected(encoder, again))


def test_how_much_is_encoded_and_how_much_is_there_is_said_first(warehouse):
    encode_once(table("a", "cc"), FakeEncoder(), warehouse, "films")
    said = []
    encode_once(table("a", "bbb", "cc"), FakeEncoder(), warehouse, "films", doing=said.append)
    assert said == ["texts to encode: 1, from the store: 2"]


def test_a_crash_loses_one_batch(warehouse):
    texts = table("a", "bb", "ccc", "dddd", "eeeee")
    crashing = FakeEncoder(crash_after=4)
    with pytest.raises(MemoryError):
        encode_once(texts, crashing, warehouse, "films")
    assert crashing.asked == ["eeeee", "dddd", "ccc", "bb"]
    after = FakeEncoder()
    encoded = encode_once(texts, after, warehouse, "films")
    assert after.asked == ["a"]
    assert (encoded.encoded, encoded.reused) == (1, 4)
    np.testing.assert_array_equal(encoded.vectors, expected(after, texts))


def test_another_fingerprint_never_shares_vectors(warehouse):
    texts = table("a", "bb")
    one, other = FakeEncoder("one"), FakeEncoder('an"other')
    encode_once(texts, one, warehouse, "films")
    encoded = encode_once(texts, other, warehouse, "films")
    assert sorted(other.asked) == ["a", "bb"]
    np.testing.assert_array_equal(encoded.vectors, expected(other, texts))
    np.testing.assert_array_equal(
        encode_once(texts, FakeEncoder("one"), warehouse, "films").vectors, expected(one, texts)
    )


def test_catalogs_have_stores_of_their_own(warehouse):
    encode_once(table("a"), FakeEncoder(), warehouse, "films")
    encoder = FakeEncoder()
    encode_once(table("a"), encoder, warehouse, "books")
    assert encoder.asked == ["a"]


def test_no_text_is_no_work(warehouse):
    encoded = encode_once(table().astype("str"), FakeEncoder(), warehouse, "films")
    assert encoded.vectors.shape == (0, 2)
    assert (encoded.encoded, encoded.reused) == (0, 0)


def test_what_is_stored_is_kept(warehouse):
    store = EmbeddingStore(warehouse, "films", "one", 2)
    store.create()
    store.create()
    store.add(["h"], np.ones((1, 2)))
    store.add(["h", "i"], np.zeros((2, 2)))
    hashes, vectors = store.get(["i", "h", "h", "unknown"])
    assert dict(zip(hashes, vectors.tolist(), strict=True)) == {"h": [1, 1], "i": [0, 0]}


def test_vectors_survive_arrow_bit_by_bit():
    vectors = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    import pyarrow as pa

    for slices in ([vectors_to_arrow(vectors)], [vectors_to_arrow(vectors).slice(0, 2)]):
        column = pa.chunked_array(slices)
        np.testing.assert_array_equal(vectors_from_arrow(column), vectors[: len(column)])
    column = pa.chunked_array([vectors_to_arrow(vectors).slice(2, 2)])
    np.testing.assert_array_equal(vectors_from_arrow(column), vectors[2:4])
