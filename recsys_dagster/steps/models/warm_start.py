"""Warm start: a training that begins from the catalog's last model.

What it had learned of must not be asked for when the new one is validated. So who is asked goes by
user ids, the same users in every fit. What is hidden of them are their newest positives, of those
that came together by ids too, and as histories grow, the newest of now were hidden from the last
model too, or were not there.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from pydantic import Field
from scipy import sparse

from recsys_dagster.steps.models.base import Arrays, LastModel

if TYPE_CHECKING:
    import pandas as pd

ITEMS = "items"
"""The parameters that have a row for each item."""

WarmStart = Annotated[
    bool,
    Field(
        description="whether a refresh begins from the last model: it then depends on all those "
        "before, not on the tables alone",
    ),
]


def begun_from(first: Arrays, item_ids: "pd.Index", last: LastModel | None) -> Arrays:
    """The parameters that training begins with: those of the last model, where there is one.

    Args:
        first: float32, those of a cold start; new items keep their rows of `items`.
        item_ids: of these rows.
        last: of the same strategy and settings.
    """
    if last is None:
        return first
    # Late: who loads a model to score with it needs no pandas.
    import pandas as pd

    rows = last.learned[ITEMS]
    ids = pd.Index(last.item_ids)[last.learned["columns"][: len(rows)]]
    places = ids.get_indexer(item_ids)
    known = places >= 0
    items = first[ITEMS].copy()
    items[known] = rows[places[known]]
    return {name: np.array(last.learned[name]) for name in first} | {ITEMS: items}


@dataclass(frozen=True)
class Places:
    """Where users and items are, by their ids alone, so that every fit hides the same of them.

    Attributes:
        users: float64 (users,), from 0 to 1.
        items: float64 (items,), likewise.
    """

    users: np.ndarray
    items: np.ndarray

    @classmethod
    def of(cls, user_ids: "pd.Index", item_ids: "pd.Index", seed: int) -> Self:
        """Of users and items with such ids."""
        return cls(places_of(user_ids, seed), places_of(item_ids, seed))

    def ties(self, pairs: sparse.csr_matrix) -> np.ndarray:
        """Which of a user's pairs that came together is the newer, float64 (nnz,)."""
        return (np.repeat(self.users, np.diff(pairs.indptr)) + self.items[pairs.indices]) % 1


def places_of(ids: "pd.Index", seed: int) -> np.ndarray:
    """A number of each id's, from 0 to 1, that is the same in every fit, float64 (ids,)."""
    from pandas.util import hash_array

    hashes = hash_array(ids.to_numpy(dtype=object), hash_key=f"{seed:016d}")  # ty: ignore[not-callable]
    return hashes / 2.0**64
