"""Texts → vectors without a language model: TF-IDF and a truncated SVD (latent semantic analysis).

For machines without a model, and the baseline that a model has to beat.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3040-\u30ff"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Scripts written without spaces between words."""

TOKEN = rf"[{UNSPACED}]|[^\W{UNSPACED}]+"
"""A word, or one character of an unspaced script. With pairs of neighbours this makes words of
spaced scripts and character bigrams of the others, which for Chinese retrieval do about as well as
a segmenter; and one rule holds for catalogs that mix languages."""

LARGE_CORPUS = 1_000
"""From so many texts on, a term must be in two of them: one text's own terms relate it to none."""
MAX_TERMS = 200_000
"""The most frequent ones are kept: bounds the memory of the SVD."""
MIN_LENGTH = 1e-6
"""What is left of a unit vector below this is rounding, not content."""
VERSION = "1"
"""Raise it when the code below starts to make other vectors from the same corpus."""


class TfidfEncoder:
    """Vectors from the words of a corpus: TF-IDF of words and pairs, reduced by a truncated SVD.

    Attributes:
        dimension: length d of a vector.
        fingerprint: sha256 (hex) of settings and corpus; the order of texts and repeats do not
            count, neither here nor in the fit.
    """

    def __init__(
        self, vectorizer: Any, components: np.ndarray, dimension: int, fingerprint: str
    ) -> None:
        """Use `fit`.

        Args:
            vectorizer: a fitted TfidfVectorizer, None where the corpus has no terms.
            components: float32 (k × terms), k ≤ dimension.
            dimension: length of a vector; those after the k-th number are 0.
            fingerprint: see above.
        """
        self.dimension = dimension
        self.fingerprint = fingerprint
        self._vectorizer = vectorizer
        self._components = components

    @classmethod
    def fit(cls, corpus: Sequence[str], dimension: int) -> "TfidfEncoder":
        """Learn terms, their rarity and the directions of most variation.

        Args:
            corpus: the texts, any number.
            dimension: length of a vector; a corpus with fewer texts or terms fills the rest with 0.

        Raises:
            ValueError: dimension is not positive.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.utils.extmath import randomized_svd

        if dimension < 1:
            raise ValueError(f"dimension must be positive, found {dimension}")
        # Sorted: the SVD's rounding and signs depend on the order of rows.
        texts = sorted(set(corpus))
        fingerprint = _fingerprint(texts, dimension)
        vectorizer = TfidfVectorizer(
            token_pattern=TOKEN,
            ngram_range=(1, 2),
            sublinear_tf=True,
            min_df=2 if len(texts) >= LARGE_CORPUS else 1,
            max_features=MAX_TERMS,
            dtype=np.float32,
        )
        try:
            matrix = vectorizer.fit_transform(texts)
        except ValueError:
            # How scikit-learn says that no term is left: no word at all, or none in two texts.
            return cls(None, np.zeros((0, 0), dtype=np.float32), dimension, fingerprint)
        # What TruncatedSVD computes, without its demand for two terms and a variance.
        size = min(dimension, *matrix.shape)
        _, _, components = randomized_svd(matrix, size, n_iter=5, random_state=0)
        return cls(vectorizer, components.astype(np.float32), dimension, fingerprint)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, float32 (n × dimension): of unit length, or zero for unknown terms."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        if self._vectorizer is None or not texts:
            return vectors
        projected = self._vectorizer.transform(texts) @ self._components.T
        lengths = np.linalg.norm(projected, axis=1, keepdims=True)
        known = lengths > MIN_LENGTH
        np.divide(projected, lengths, out=vectors[:, : projected.shape[1]], where=known)
        return vectors


def _fingerprint(texts: list[str], dimension: int) -> str:
    digest = hashlib.sha256(f"tfidf {VERSION} {dimension}\n".encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest()
