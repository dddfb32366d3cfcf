"""Which interactions a model learns from, and which it is asked for."""

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import pandas as pd

from recsys_dagster.errors import UserError
from recsys_dagster.schemas import EVALUATION_SPLIT

Kind = Literal["time", "last", "random", "column"]

TRAIN, VALID, TEST = "train", "valid", "test"
MAX_UNORDERED_SHARE = 0.1
"""Largest share of the positive pairs that may lack what a split orders by."""
CUTS_NEED = 3
"""Different times: train, validation and test each begin with one."""


@dataclass(frozen=True)
class Cuts:
    """The two moments of a split in time.

    Attributes:
        valid_from: pairs first seen from here on are validation.
        test_from: pairs first seen from here on are test; the same moment where nothing is
            validation.
    """

    valid_from: pd.Timestamp
    test_from: pd.Timestamp


def kind_of(interactions: pd.DataFrame) -> Kind:
    """The strictest split that interactions allow.

    Time where nine in ten positive pairs have one and three of them differ, last where so many have
    a time or a position and somebody has two, random otherwise.

    Args:
        interactions: table `interactions`.
    """
    liked = interactions[interactions["positive"]]
    times = liked["first_timestamp"]
    if times.isna().sum() <= MAX_UNORDERED_SHARE * len(liked) and times.nunique() >= CUTS_NEED:
        return "time"
    unordered = liked["last_timestamp"].isna() & liked["last_position"].isna()
    is_ordered = unordered.sum() <= MAX_UNORDERED_SHARE * len(liked)
    return "last" if is_ordered and liked["user_id"].duplicated().any() else "random"


def split(
    interactions: pd.DataFrame,
    kind: Kind,
    test_share: float = 0.1,
    valid_share: float = 0.1,
    seed: int = 0,
    labels: pd.Series | None = None,
) -> pd.Series:
    """Give every pair its part. The order of the rows says nothing.

    Only positive pairs are ever validation or test. The others are train, where they count as
    seen, unless that would tell the past about the future: see `time` and `column`.

    - `time`: one cut for everybody, as `time_cuts` finds it, by the first time of a pair: one that
      began before the cut was seen by then, and lists never repeat what was seen. What began
      after the cut and is not positive has no part: it was not known, and nobody asks for it.
      Train still holds pairs that began before the cut and went on after it; `as_known_at` takes
      out what is from later. The only split without leaks from the future (Ji et al., A Critical
      Study on Data Leakage in Recommender System Offline Evaluation, TOIS 2023).
    - `last`: of each user's positive pairs the last is test and the one before it validation, by
      last time, then position, then item id. At least one stays train, so a user with two has no
      validation and a user with one only train. The shares say nothing here.
    - `random`: positive pairs drawn without regard to user or time.
    - `column`: as `labels` say. What is labelled validation or test without being positive, and
      what has no label, has no part.

    Args:
        interactions: table `interactions`.
        kind: how to split.
        test_share: share of the positive pairs that is test, > 0.
        valid_share: share of the positive pairs that is validation, ≥ 0; with test_share below 1.
        seed: of `random`.
        labels: of `column`: "train", "valid", "test" or null, with the index of `interactions`.

    Returns:
        object (rows,), "train", "valid", "test" or None, with the index of `interactions`.

    Raises:
        UserError: the interactions do not have what the split needs, or nothing would be test.
        ValueError: shares out of range, or labels that do not fit.
    """
    if test_share <= 0 or valid_share < 0 or test_share + valid_share >= 1:
        raise ValueError(f"shares of {test_share} for test and {valid_share} for validation")
    if not interactions["positive"].any():
        raise UserError(
            f"none of {len(interactions):,} interactions is positive, so there is nothing to test "
            "on. See interactions.positive and the minimums in the catalog's YAML."
        )
    match kind:
        case "time":
            parts = _by_time(interactions, time_cuts(interactions, test_share, valid_share))
        case "last":
            parts = _by_last(interactions)
        case "random":
            parts = _by_chance(interactions, test_share, valid_share, seed)
        case "column":
            parts = _by_label(interactions, labels)
        case _:
            assert_never(kind)
    if not (parts == TEST).any():
        raise UserError(
            f"split: {kind} makes none of {int(interactions['positive'].sum()):,} positive pairs "
            "test. Take split: random, or more interactions."
        )
    return pd.Series(parts, index=interactions.index, name="part", dtype=object)


def time_cuts(
    interactions: pd.DataFrame, test_share: float = 0.1, valid_share: float = 0.1
) -> Cuts:
    """The moments between pairs whose shares come nearest to those asked for.

    Pairs of one moment stay together, so coarse times (days, years) give other shares than asked.

    Args:
        interactions: table `interactions`; positive pairs with a first_timestamp are counted.
        test_share: > 0.
        valid_share: ≥ 0; with 0 both cuts are the same.

    Raises:
        UserError: times are missing, or too few of them differ.
    """
    times = interactions.loc[interactions["positive"], "first_timestamp"]
    _require_order(times.isna().to_numpy(), "time", "timestamp")
    counts = times.value_counts().sort_index()
    moments = counts.index
    from_here_on = np.cumsum(counts.to_numpy()[::-1])[::-1]
    total = counts.sum()
    needed = CUTS_NEED if valid_share else CUTS_NEED - 1
    if len(moments) < needed:
        raise UserError(
            f"split: time needs {needed} different timestamps of positive pairs, there are "
            f"{len(moments)}. Take split: last or split: random, or give a split column."
        )
    # Something always stays before each cut.
    test = _nearest(from_here_on[needed - 1 :], test_share * total) + needed - 1
    valid = test
    if valid_share:
        valid = _nearest(from_here_on[1:test], (test_share + valid_share) * total) + 1
    return Cuts(moments[valid], moments[test])


def as_known_at(interactions: pd.DataFrame, moment: pd.Timestamp) -> pd.DataFrame:
    """The table `interactions` without what happened from a moment on.

    A pair that had begun and went on later stays seen, but is neither positive nor learned from:
    its weight, and whether it is positive, rest on what came later. Pairs without times stay.

    Args:
        interactions: table `interactions`.
        moment: naive UTC, such as a cut.
    """
    known = interactions[~(interactions["first_timestamp"] >= moment)].copy()
    went_on = known["last_timestamp"] >= moment
    known["positive"] &= ~went_on
    known["left_out"] |= went_on
    # A user's history is aged from the last time in it.
    known["last_timestamp"] = known["last_timestamp"].where(~went_on, known["first_timestamp"])
    return known


def parted(interactions: pd.DataFrame, parts: pd.Series, kind: Kind) -> pd.DataFrame:
    """The table `evaluation_split`: what models that are measured may learn from, and the rest.

    In a split by time, train is what was known when validation began.

    Args:
        interactions: table `interactions`.
        parts: what `split` gave each row.
        kind: the split.
    """
    table = interactions.assign(split=kind, part=parts.astype("str").where(parts.notna()))
    if kind == "time":
        began = interactions.loc[parts.isin([VALID, TEST]), "first_timestamp"].min()
        known = as_known_at(interactions, began)
        changed = ["positive", "left_out", "last_timestamp"]
        table.loc[known.index, changed] = known[changed]
    table = table[EVALUATION_SPLIT.column_names]
    table.attrs.clear()  # interactions are known by another version
    return table


def _by_time(interactions: pd.DataFrame, cuts: Cuts) -> np.ndarray:
    first = interactions["first_timestamp"]
    positive = interactions["positive"].to_numpy(dtype=bool)
    later = (first >= cuts.valid_from).to_numpy()
    parts = _all_train(interactions)
    parts[later] = None
    parts[later & positive] = VALID
    parts[(first >= cuts.test_from).to_numpy() & positive] = TEST
    return parts


def _by_last(interactions: pd.DataFrame) -> np.ndarray:
    positive, users, items = _positive_pairs(interactions)
    pairs = interactions.iloc[positive]
    missing = pairs["last_timestamp"].isna() & pairs["last_position"].isna()
    _require_order(missing.to_numpy(), "last", "timestamp or position")
    # What has no time or no position comes before what has one: NaT is the smallest int64.
    times = pairs["last_timestamp"].to_numpy(dtype="datetime64[us]").astype(np.int64)
    places = pairs["last_position"].fillna(-np.inf).to_numpy()
    order = np.lexsort((items, places, times, users))
    lengths = np.bincount(users)
    from_end = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(order)) - 1
    length = np.repeat(lengths, lengths)
    parts = _all_train(interactions)
    parts[positive[order[(from_end == 0) & (length > 1)]]] = TEST
    parts[positive[order[(from_end == 1) & (length > 2)]]] = VALID
    return parts


def _by_chance(
    interactions: pd.DataFrame, test_share: float, valid_share: float, seed: int
) -> np.ndarray:
    positive, users, items = _positive_pairs(interactions)
    drawn = positive[np.lexsort((items, users))]
    drawn = drawn[np.random.default_rng(seed).permutation(len(drawn))]
    test = round(test_share * len(drawn))
    parts = _all_train(interactions)
    parts[drawn[:test]] = TEST
    parts[drawn[test : test + round(valid_share * len(drawn))]] = VALID
    return parts


def _by_label(interactions: pd.DataFrame, labels: pd.Series | None) -> np.ndarray:
    if labels is None or not labels.index.equals(interactions.index):
        raise ValueError("split: column needs labels with the index of the interactions")
    unknown = labels[labels.notna() & ~labels.isin([TRAIN, VALID, TEST])]
    if len(unknown):
        found = ", ".join(repr(label) for label in sorted(map(str, unknown.unique()))[:5])
        raise UserError(
            f"the split column holds {found} ({len(unknown):,} of {len(labels):,} rows); expected "
            f"are {TRAIN!r}, {VALID!r}, {TEST!r} or nothing. Rename the labels in the source."
        )
    parts = labels.astype(object).to_numpy(copy=True)
    positive = interactions["positive"].to_numpy(dtype=bool)
    parts[labels.isna().to_numpy() | (~positive & (parts != TRAIN))] = None
    return parts


def _all_train(interactions: pd.DataFrame) -> np.ndarray:
    return np.full(len(interactions), TRAIN, dtype=object)


def _positive_pairs(interactions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the positive pairs, and their users and items as numbers in the order of the ids."""
    rows = np.flatnonzero(interactions["positive"])
    users, _ = pd.factorize(interactions["user_id"].iloc[rows], sort=True)
    items, _ = pd.factorize(interactions["item_id"].iloc[rows], sort=True)
    return rows, users, items


def _nearest(counts: np.ndarray, wanted: float) -> int:
    """Where descending counts come nearest to what is wanted, the smaller of two as near."""
    return int(len(counts) - 1 - np.argmin(np.abs(counts - wanted)[::-1]))


def _require_order(missing: np.ndarray, kind: str, what: str) -> None:
    """Refuse to order pairs of which many have no place in the order."""
    if missing.mean() > MAX_UNORDERED_SHARE:
        ways = "split: random" if kind == "last" else "split: last (by position) or split: random"
        raise UserError(
            f"split: {kind} needs the order of the interactions, and {int(missing.sum()):,} of "
            f"{len(missing):,} positive pairs have no {what}. Take {ways}, give a split column, or "
            "name the column of the times in the catalog's YAML."
        )
