"""TfidfEncoder: vectors from words alone, of the declared dimension whatever the corpus."""

import numpy as np
import pytest

from recsys_dagster.steps.embed.tfidf import LARGE_CORPUS, TfidfEncoder

FILMS = [
    "Toy Story (1995). Adventure, Animation, Children",
    "Toy Story 2 (1999). Adventure, Animation, Children",
    "Heat (1995). Action, Crime, Thriller",
    "Casino (1995). Crime, Drama",
]
CHINESE = ["我喜欢看电影", "我也喜欢听音乐", "这部电影很棒", "这首音乐很动听"]


def lengths(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=1)


def test_vectors_are_float32_of_the_dimension_and_of_unit_length():
    vectors = TfidfEncoder.fit(FILMS, 3).encode(FILMS)
    assert vectors.shape == (4, 3)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(lengths(vectors), 1, atol=1e-6)


def test_texts_that_share_words_are_nearest():
    vectors = TfidfEncoder.fit(FILMS, 4).encode(FILMS)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    assert list(similarity.argmax(axis=1)) == [1, 0, 3, 2]


def test_chinese_without_spaces_is_compared_by_its_words():
    vectors = TfidfEncoder.fit(CHINESE, 8).encode(CHINESE)
    users, items = vectors[:2], vectors[2:]
    assert list((users @ items.T).argmax(axis=1)) == [0, 1]


@pytest.mark.parametrize("corpus", [["hello"], ["one text"], ["the same"] * 20, FILMS])
def test_a_dimension_above_the_corpus_is_filled_with_zeros(corpus):
    encoder = TfidfEncoder.fit(corpus, 64)
    vectors = encoder.encode(corpus)
    assert encoder.dimension == 64
    assert vectors.shape == (len(corpus), 64)
    assert not vectors[:, len(corpus) :].any()
    np.testing.assert_allclose(lengths(vectors), 1, atol=1e-6)


@pytest.mark.parametrize(
    "corpus",
    [[], [""], ["!!!", " … ", ""], [f"unique{n}" for n in range(LARGE_CORPUS)]],
    ids=["none", "empty", "no words", "no shared word"],
)
def test_a_corpus_without_terms_gives_zero_vectors(corpus):
    vectors = TfidfEncoder.fit(corpus, 5).encode([*corpus[:3], "anything"])
    assert vectors.shape == (len(corpus[:3]) + 1, 5)
    assert not vectors.any()


def test_a_text_without_known_words_is_a_zero_vector():
    vectors = TfidfEncoder.fit(FILMS, 3).encode(["", "zebra", FILMS[0]])
    assert list(vectors.any(axis=1)) == [False, False, True]


def test_no_texts_are_no_vectors():
    assert TfidfEncoder.fit(FILMS, 3).encode([]).shape == (0, 3)


def test_order_and_repeats_of_the_corpus_change_nothing():
    one = TfidfEncoder.fit(FILMS, 3)
    other = TfidfEncoder.fit([*reversed(FILMS), FILMS[2]], 3)
    assert one.fingerprint == other.fingerprint
    np.testing.assert_array_equal(one.encode(FILMS), other.encode(FILMS))


def test_the_fingerprint_tells_corpora_and_dimensions_apart():
    fingerprints = {
        TfidfEncoder.fit(FILMS, 3).fingerprint,
        TfidfEncoder.fit(FILMS, 2).fingerprint,
        TfidfEncoder.fit(FILMS[1:], 3).fingerprint,
        TfidfEncoder.fit([" ".join(FILMS)], 3).fingerprint,
    }
    assert len(fingerprints) == 4


def test_a_dimension_below_one_is_refused():
    with pytest.raises(ValueError, match="positive"):
        TfidfEncoder.fit(FILMS, 0)
