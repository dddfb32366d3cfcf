"""popular: the share of users who like an item, the same list for everybody."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys_dagster.catalog.base import Settings
from recsys_dagster.steps.models.base import POSITIVES, Arrays, Evidence, Strategy, UserBlock


def popularity(positives: sparse.csr_matrix) -> np.ndarray:
    """Share of the users with a positive pair who have one with each item, float32 (items,)."""
    users = max(1, int((np.diff(positives.indptr) > 0).sum()))
    return (np.asarray(positives.sum(axis=0)).ravel() / users).astype(np.float32)


class PopularSettings(Settings):
    """There is nothing to set."""


@dataclass(frozen=True)
class PopularModel:
    """Scores that do not depend on the user.

    Attributes:
        popularity: float32 (items,).
    """

    popularity: np.ndarray

    def score(self, block: UserBlock) -> np.ndarray:
        """The same row for every user."""
        return np.tile(self.popularity, (len(block.lengths), 1))

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Zeros: popularity does not rest on the user's history."""
        return np.zeros(block.lengths[rows].sum(), dtype=np.float32)


def learn(evidence: Evidence, _: PopularSettings) -> Arrays:
    """Count."""
    return {"popularity": popularity(evidence.behaviour.positives)}


def load(arrays: Arrays, _: Settings) -> PopularModel:
    """The model of counts."""
    return PopularModel(arrays["popularity"])


STRATEGY = Strategy(
    name="popular",
    settings=PopularSettings,
    formula="the share of users with a positive: `r_ui = p_i`",
    columns=POSITIVES,
    learn=learn,
    load=load,
    needs_history=False,
)
