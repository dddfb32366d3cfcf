"""Accuracy where averages hide it: cold items, new users, popular and rare items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys_dagster.steps.evaluation.metrics import accuracy
from recsys_dagster.steps.models.behaviour import Behaviour

SHORT_HISTORY = 4
"""Most positive train pairs of a user with a short history; the least is one."""


@dataclass(frozen=True)
class Slice:
    """Which test pairs count.

    Attributes:
        users: bool (test users,).
        items: bool (items,).
    """

    users: np.ndarray
    items: np.ndarray


def slices(behaviour_train: Behaviour, users: np.ndarray) -> dict[str, Slice]:
    """The slices by name.

    - `all`.
    - `cold_items`: items that no train interaction says anything of.
    - `no_history`: users without a positive train pair.
    - `short_histories`: users with 1 to 4 positive train pairs.
    - `head_items`: the fewest items that make half of the positive train pairs, of two as popular
      the one in the lower position.
    - `tail_items`: what is neither head nor cold.

    Args:
        behaviour_train: the matrices that models were fitted on.
        users: int64 (users,), positions of the users to test.
    """
    everybody = np.ones(len(users), dtype=bool)
    positives = behaviour_train.positives
    lengths = np.diff(positives.indptr)[users]
    cold = behaviour_train.cold
    head = head_items(np.bincount(positives.indices, minlength=positives.shape[1]))
    return {
        "all": Slice(everybody, np.ones(len(cold), dtype=bool)),
        "cold_items": Slice(everybody, cold),
        "no_history": Slice(lengths == 0, np.ones(len(cold), dtype=bool)),
        "short_histories": Slice(
            (lengths > 0) & (lengths <= SHORT_HISTORY), np.ones(len(cold), dtype=bool)
        ),
        "head_items": Slice(everybody, head),
        "tail_items": Slice(everybody, ~head & ~cold),
    }


def head_items(train_counts: np.ndarray) -> np.ndarray:
    """The fewest items that make at least half of the train pairs, bool (items,).

    Args:
        train_counts: int64 (items,), positive train pairs.
    """
    order = np.argsort(-train_counts, kind="stable")
    before = np.cumsum(train_counts[order]) - train_counts[order]
    head = np.zeros(len(train_counts), dtype=bool)
    head[order[2 * before < train_counts.sum()]] = True
    return head


def accuracy_by_slice(
    ranked: np.ndarray,
    test: sparse.csr_matrix,
    ks: Sequence[int],
    of: Mapping[str, Slice],
) -> dict[tuple[str, str], np.ndarray]:
    """Accuracy of the same lists, counting only the test pairs of each slice.

    Lists stay as they are: a cold item has to stand among all items.

    Args:
        ranked: int64 (users × K), lists with K ≥ every k.
        test: csr (users × items) of ones.
        ks: numbers of places.
        of: slices by name.

    Returns:
        float64 (users,) by slice and metric; NaN for users without a test item in the slice.
    """
    rows, columns = test.nonzero()
    figures = {}
    for name, part in of.items():
        kept = part.users[rows] & part.items[columns]
        ones = np.ones(np.count_nonzero(kept), dtype=np.float32)
        own = sparse.csr_matrix((ones, (rows[kept], columns[kept])), shape=test.shape)
        for metric, values in accuracy(ranked, own, ks).items():
            figures[name, metric] = values
    return figures
