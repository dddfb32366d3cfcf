"""The exact best N of every row of scores, ties to the lower position.

`numpy.argpartition` over whole rows is what makes ranking slow. Here a cheap lower bound of each
row's N-th score comes first (the N-th largest of group maxima), only the few scores that reach it
are sorted, and because everything that reaches it is kept, ties at the boundary stay exact.
"""

import numpy as np

# A row with more than this many candidates per place has mass ties; it is settled on its own.
_CROWDED = 4
_GROUPS_PER_PLACE = 8
# Columns of a row that are folded into one first: NumPy is slow at maxima of narrow groups.
_FOLD = 8
# Scores handled at a time: keeps the comparison mask and the candidates small.
_BLOCK_CELLS = 1 << 22


def top_n(scores: np.ndarray, n_top: int) -> tuple[np.ndarray, np.ndarray]:
    """Rank every row and keep its best scores.

    Args:
        scores: (b, n) float32. −inf is allowed and ranks last; masking it out is the caller's.
        n_top: how many places to fill, at least 1.

    Returns:
        Positions (b, k) int64 and scores (b, k) float32 with k = min(n_top, n), best first; equal
        scores are in position order.

    Raises:
        ValueError: scores are not a matrix, n_top is below 1, or there are NaN.
    """
    scores = np.asarray(scores, dtype=np.float32)
    if scores.ndim != 2:
        raise ValueError(f"scores must be a matrix, got shape {scores.shape}")
    if n_top < 1:
        raise ValueError(f"n_top must be at least 1, got {n_top}")
    rows, n = scores.shape
    k = min(n_top, n)
    positions = np.empty((rows, k), dtype=np.int64)
    step = max(1, _BLOCK_CELLS // max(n, 1))
    for start in range(0, rows, step):
        block = scores[start : start + step]
        positions[start : start + step] = _rank(block, k)
    return positions, np.take_along_axis(scores, positions, axis=1)


def _rank(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions (b, k) of the best scores of a block (b, n)."""
    rows, n = scores.shape
    groups = _GROUPS_PER_PLACE * k
    if n < 2 * max(groups, 1):  # groups of one tell nothing: sort the short rows whole
        _refuse_nan(scores)
        return np.argsort(-scores, axis=1, kind="stable")[:, :k]

    # k different groups reach the k-th largest maximum, so at least k scores do. The columns left
    # over after the last whole fold can only add candidates.
    width = groups * max(1, n // (groups * _FOLD))
    whole = n // width * width
    folded = scores[:, :whole].reshape(rows, -1, width).max(axis=1)
    maxima = folded.reshape(rows, -1, groups).max(axis=1)
    if np.isnan(maxima).any() or np.isnan(scores[:, whole:]).any():
        _refuse_nan(scores)
    bound = np.partition(maxima, groups - k, axis=1)[:, groups - k]
    reached = np.flatnonzero(scores >= bound[:, None])
    counts = np.diff(np.searchsorted(reached, n * np.arange(rows + 1)))
    row_of, columns = np.divmod(reached, n)

    positions = np.empty((rows, k), dtype=np.int64)
    crowded = counts > _CROWDED * k
    for row in np.flatnonzero(crowded):
        positions[row] = _rank_crowded(scores[row], k)
    if not crowded.all():
        calm = ~crowded[row_of]
        row_of, columns = row_of[calm], columns[calm]
        own = scores[row_of, columns]
        positions[~crowded] = _rank_candidates(own, columns, counts[~crowded], k)
    return positions


def _rank_candidates(
    scores: np.ndarray, columns: np.ndarray, counts: np.ndarray, k: int
) -> np.ndarray:
    """Sort only the candidates, side by side in one padded table; at least k a row.

    Args:
        scores: float32 (c,), of the candidates, row by row.
        columns: int64 (c,), where they are.
        counts: int64 (b,), how many each row has.
        k: places.
    """
    rows = np.repeat(np.arange(len(counts)), counts)
    places = np.arange(rows.size) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (len(counts), int(counts.max()))
    # Padding comes after the candidates and never beats one: the sort is stable.
    negated = np.full(shape, np.inf, dtype=np.float32)
    negated[rows, places] = -scores
    candidates = np.zeros(shape, dtype=np.int64)
    candidates[rows, places] = columns
    order = np.argsort(negated, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(candidates, order, axis=1)


def _rank_crowded(scores: np.ndarray, k: int) -> np.ndarray:
    """One row with mass ties: all above the k-th score, then the first of those equal to it."""
    boundary = np.partition(scores, scores.size - k)[scores.size - k]
    above = np.flatnonzero(scores > boundary)
    level = np.flatnonzero(scores == boundary)[: k - above.size]
    return np.concatenate([above[np.argsort(-scores[above], kind="stable")], level])


def _refuse_nan(scores: np.ndarray) -> None:
    missing = int(np.count_nonzero(np.isnan(scores)))
    if missing:
        raise ValueError(f"{missing} scores are NaN")
