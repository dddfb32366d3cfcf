"""recent: what people liked lately, the same list for everybody."""

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.base import NOT_RANKED
from recsys_dagster.steps.models.popular import PopularModel, popularity


def fit_recent(
    positives: sparse.csr_matrix, ages: sparse.csr_matrix, recent_days: float
) -> PopularModel:
    """Popularity among the positive pairs of the last `recent_days`.

    Items that nobody liked in that time are not ranked: `popular` fills them in. Where there are
    no times, those are all.

    Args:
        positives: X, csr (users × items).
        ages: csr of the same pairs, days before the newest interaction; NaN where unknown.
        recent_days: how long is recent, > 0.
    """
    recent = positives.copy()
    recent.data *= ages.data <= recent_days
    recent.eliminate_zeros()
    shares = popularity(recent)
    return PopularModel(np.where(shares > 0, shares, NOT_RANKED), "recent")
