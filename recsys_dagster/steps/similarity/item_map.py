"""Vectors of items → a place for each on a plane, so that people can look at a catalogue."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

AXES = 2
VANISHING = 1e-6
"""Of the longest vector: what float32 may leave of differences between vectors that are alike."""
ROWS_AT_ONCE = 8_192


@dataclass(frozen=True, eq=False)
class ItemMap:
    """Items on a plane.

    Attributes:
        places: float64 (items, 2), x and y of each, from -1 to 1; the middle is the mean vector.
        share: of the variance of the vectors that the plane shows, from 0 to 1.
    """

    places: np.ndarray
    share: float


def item_map(vectors: np.ndarray) -> ItemMap:
    """Vectors on their two principal axes (PCA), the first from left to right.

    Vectors are centred and not normalised. Both axes are scaled alike, so that the farthest
    coordinate is 1. An axis points to where its largest loading is positive, so the same vectors
    give the same map. An axis along which nothing differs is 0.

    Args:
        vectors: float32 (items × d), finite.
    """
    places = np.zeros((len(vectors), AXES))
    mean = vectors.sum(axis=0, dtype=np.float64) / max(1, len(vectors))
    blocks = [slice(start, start + ROWS_AT_ONCE) for start in range(0, len(vectors), ROWS_AT_ONCE)]
    scatter = np.zeros((len(mean), len(mean)))
    for rows in blocks:
        centred = vectors[rows] - mean
        scatter += centred.T @ centred
    first = max(0, len(mean) - AXES)
    variances, axes = eigh(scatter, subset_by_index=[first, len(mean) - 1])
    axes = axes[:, ::-1]  # they come from the least variance to the most
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    for rows in blocks:
        places[rows, : axes.shape[1]] = (vectors[rows] - mean) @ axes
    reach = np.abs(places).max(axis=0, initial=0)
    places[:, reach <= VANISHING * _longest(vectors)] = 0
    differ = places.any()
    return ItemMap(
        places / reach.max() if differ else places,
        float(np.clip(variances.sum() / np.trace(scatter), 0, 1)) if differ else 1.0,
    )


def _longest(vectors: np.ndarray) -> float:
    return float(np.linalg.norm(vectors, axis=1).max(initial=0))
