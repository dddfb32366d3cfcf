"""Augmentation: histories that training changes by chance, so as not to learn them by heart.

All chance comes from the generator that is given, of the number of a batch: a batch that is made
again is the same.
"""

from typing import Annotated

import numpy as np
from pydantic import Field
from scipy import sparse

NEAREST = 5
"""Items by whose texts another one may be replaced."""
SHORTEST = 2
"""Items that a history keeps: with fewer nothing comes after anything."""

HiddenShare = Annotated[
    float, Field(ge=0, lt=1, description="share of a history that is hidden at each pass")
]
CroppedShare = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="share of the histories of which, at each pass, a part of random length is "
        "looked at alone",
    ),
]
ReplacedShare = Annotated[
    float,
    Field(
        ge=0,
        lt=1,
        description="share of the items of histories that are replaced, at each pass, by one of "
        "the five whose texts are nearest: rare items are learned of more",
    ),
]
Noise = Annotated[
    float,
    Field(
        ge=0,
        le=100,
        description="length of what is added by chance, in training, to the vectors of a history's "
        "items, as a share of theirs",
    ),
]


def nearest_by_text(similarities: sparse.csr_matrix) -> np.ndarray:
    """The five items whose texts are nearest to each one's, int64 (n × 5), the nearest first.

    Where there are fewer, the item itself stands for the rest.

    Args:
        similarities: csr (n × n), row j those of j's neighbours.
    """
    lengths = np.diff(similarities.indptr)
    own = np.arange(len(lengths))
    nearest = np.repeat(own[:, None], NEAREST, axis=1)
    rows = np.repeat(own, lengths)
    order = np.lexsort((-similarities.data, rows))
    place = np.arange(len(rows)) - similarities.indptr[:-1][rows]
    is_near = place < NEAREST
    nearest[rows[is_near], place[is_near]] = similarities.indices[order[is_near]]
    return nearest


def replaced(
    items: np.ndarray, nearest: np.ndarray, share: float, generator: np.random.Generator
) -> np.ndarray:
    """Items of which some by chance are replaced by neighbours, int64 (e,).

    Args:
        items: int64 (e,), positions.
        nearest: of `nearest_by_text`.
        share: how many, 0 to 1.
        generator: of the batch.
    """
    chosen = generator.random(len(items)) < share
    places = generator.integers(0, NEAREST, len(items))
    return np.where(chosen, nearest[items, places], items)


def cropped(
    sequences: list[np.ndarray], share: float, generator: np.random.Generator
) -> list[np.ndarray]:
    """Sequences of some of which only a part without gaps is left, of two or more items.

    Args:
        sequences: int64 (length,) each.
        share: of how many, 0 to 1.
        generator: of the batch.
    """
    lengths = np.array([len(each) for each in sequences], dtype=np.int64)
    chosen = generator.random(len(lengths)) < share
    sizes = generator.integers(np.minimum(SHORTEST, lengths), lengths + 1)
    sizes = np.where(chosen, sizes, lengths).astype(np.int64)
    starts = generator.integers(0, lengths - sizes + 1)
    return [
        each[start : start + size]
        for each, start, size in zip(sequences, starts, sizes, strict=True)
    ]


def thinned(
    sequences: list[np.ndarray], share: float, generator: np.random.Generator
) -> list[np.ndarray]:
    """Sequences without some items by chance; those are left whole that would lose too many.

    Args:
        sequences: int64 (length,) each.
        share: of the items that go, 0 to 1.
        generator: of the batch.
    """
    found = []
    for each in sequences:
        kept = generator.random(len(each)) >= share
        found.append(each[kept] if kept.sum() >= SHORTEST else each)
    return found
