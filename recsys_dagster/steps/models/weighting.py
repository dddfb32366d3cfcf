"""How much users and items count in a fit of a linear autoencoder."""

import numpy as np
from scipy import sparse


def weighted(
    positives: sparse.csr_matrix, user_weighting: float, item_weighting: float
) -> sparse.csr_matrix:
    """X with row u times n_u^(−a/2) and column j times n_j^(−b), rescaled to keep ‖X‖².

    Args:
        positives: X, csr (users × items) of ones; n_u and n_j count its rows and columns.
        user_weighting: a; above 0 active users count less, below 0 more, for each of their pairs.
        item_weighting: b ≥ 0; the larger, the less popular items count for.

    Returns:
        float32 csr, of the same pairs in the same order.
    """
    of_user = np.diff(positives.indptr)
    of_item = np.bincount(positives.indices, minlength=positives.shape[1])
    scaled = positives.astype(np.float32)
    data = np.repeat(of_user, of_user) ** (-user_weighting / 2)
    data *= of_item[positives.indices] ** -float(item_weighting)
    if len(data):
        data *= np.sqrt(len(data) / (data @ data))
    scaled.data = data.astype(np.float32)
    return scaled
