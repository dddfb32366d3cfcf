"""Augmentation: histories and texts that training changes by chance, so as not to learn by heart.

All chance comes from the generator that is given, of the number of a batch: a batch that is made
again is the same.
"""

from typing import Annotated

import numpy as np
from pydantic import Field
from scipy import sparse

from recsys_dagster.steps.models.behaviour import ones
from recsys_dagster.steps.models.validation import newest_of_each, stored_where

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
TextNoise = Annotated[
    float,
    Field(
        ge=0,
        le=100,
        description="length of what is added at each pass, by chance, to items' vectors, as a "
        "share of theirs",
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


def replaced_of_sets(
    histories: sparse.csr_matrix,
    nearest: np.ndarray,
    share: float,
    generator: np.random.Generator,
) -> sparse.csr_matrix:
    """Histories some of whose items are replaced, csr of ones (b × n); what comes twice is once."""
    items = replaced(histories.indices, nearest, share, generator)
    changed = sparse.csr_matrix(
        (np.ones(len(items), dtype=np.float32), items, histories.indptr), shape=histories.shape
    )
    changed.sum_duplicates()
    return ones(changed)


def cropped_sets(
    histories: sparse.csr_matrix, share: float, generator: np.random.Generator
) -> sparse.csr_matrix:
    """Histories of some of which a part by chance is left, csr (b × n), of two or more items.

    Args:
        histories: csr of ones (b × n).
        share: of how many, 0 to 1.
        generator: of the batch.
    """
    lengths = np.diff(histories.indptr)
    sizes = _sizes(lengths, share, generator)
    return stored_where(histories, newest_of_each(histories, sizes, generator))


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
    sizes = _sizes(lengths, share, generator)
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


def noisy_similarities(
    neighbours: sparse.csr_matrix,
    items: np.ndarray,
    vectors: np.ndarray,
    noise: float,
    generator: np.random.Generator,
) -> sparse.csr_matrix:
    """Similarities where noise has been added to the vectors of some items, csr (n × n).

    (v_j + ε_j)·v_i with ε_j of so much of v_j's length, at the places that are stored.

    Args:
        neighbours: S, csr (n × n), row j the similarities of j's neighbours.
        items: int64 (m,), ascending, those items.
        vectors: float32 (n × d), projected.
        noise: length of ε_j over that of v_j.
        generator: of the batch.
    """
    found = neighbours.copy()
    own = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
    wanted = np.flatnonzero(np.isin(own, items))
    lengths = np.linalg.norm(vectors[items], axis=1, keepdims=True)
    added = generator.standard_normal((len(items), vectors.shape[1]), dtype=np.float32)
    added *= noise / np.sqrt(vectors.shape[1]) * lengths
    rows = np.searchsorted(items, own[wanted])
    found.data[wanted] += np.einsum("ed,ed->e", added[rows], vectors[found.indices[wanted]])
    return found


def _sizes(lengths: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """How many items are left of histories, int64 (b,): of some by chance, 2 to all."""
    chosen = generator.random(len(lengths)) < share
    sizes = generator.integers(np.minimum(SHORTEST, lengths), lengths + 1)
    return np.where(chosen, sizes, lengths).astype(np.int64)
