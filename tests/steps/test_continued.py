"""What somebody did since is merged into their history as the next run would merge it."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recsys_dagster.catalog.settings import InteractionsSettings, UsersSettings
from recsys_dagster.steps.prepare.continued import continued_history
from recsys_dagster.steps.prepare.histories import histories_table
from recsys_dagster.steps.prepare.interactions import merge_interactions

START = pd.Timestamp("2026-01-01")
USERS = UsersSettings(half_life_days=20)
ME = pd.Series(["me"], dtype="str")


def typed(rows, timed=True):
    """Typed rows of (item, weight, positive, day)."""
    table = pd.DataFrame(rows, columns=["item_id", "weight", "positive", "day"])
    times = START + pd.to_timedelta(table["day"].to_numpy(dtype=float), unit="D")
    return pd.DataFrame(
        {
            "user_id": pd.Series(["me"] * len(table), dtype="str"),
            "item_id": table["item_id"].astype("str"),
            "timestamp": pd.Series(times if timed else pd.NaT, index=table.index).astype(
                "datetime64[us]"
            ),
            "position": np.nan if timed else table["day"].astype(float),
            "event": pd.Series([pd.NA] * len(table), dtype="str"),
            "weight": table["weight"].astype(float),
            "positive": table["positive"].astype(bool),
        }
    )


def run(rows, settings, users=USERS):
    """The row of `histories` that a run makes of typed rows of one user."""
    merged = merge_interactions(rows, settings)
    return histories_table(merged, ME, users.half_life_days, users.half_life_positions)


def by_item(histories):
    return {
        item: values
        for item, *values in zip(
            *(
                histories[name].combine_chunks().flatten().to_pylist()
                for name in (
                    "item_ids",
                    "positives",
                    "left_out",
                    "last_timestamps",
                    "weights",
                    "recencies",
                )
            ),
            strict=True,
        )
    }


def assert_same(found: pa.Table, expected: pa.Table):
    found, expected = by_item(found), by_item(expected)
    assert found.keys() == expected.keys()
    for item, (*exact, weight, recency) in expected.items():
        assert found[item][:3] == exact, item
        assert found[item][3] == pytest.approx(weight, rel=1e-5), item
        assert found[item][4] == (None if recency is None else pytest.approx(recency)), item


some_rows = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.sampled_from([0.0, 0.5, 1.0, 7.0]),
        st.booleans(),
        st.integers(0, 90),
    ),
    max_size=9,
)


def comes_between(before, told):
    """Whether a row lies between a pair's last positive row, whose time a history lacks, and its
    last one, whose time it has."""
    item, _, _, day = told
    rows = [row for row in before if row[0] == item]
    positive = [row[3] for row in rows if row[2]]
    return bool(positive) and max(positive) < day < max(row[3] for row in rows)


@given(
    before=some_rows,
    since=some_rows,
    repeats=st.sampled_from(["sum", "last", "max"]),
    scale=st.sampled_from(["linear", "log"]),
    minimum=st.integers(1, 3),
)
def test_a_continued_history_is_that_of_a_run_over_all_rows(before, since, repeats, scale, minimum):
    assume(since)
    # Rows of one pair at one time have no order but the file's, which a merged pair has lost.
    assume(repeats != "last" or len({row[3] for row in before + since}) == len(before + since))
    assume(repeats != "last" or not any(comes_between(before, row) for row in since))
    settings = InteractionsSettings(
        source="i.csv", repeats=repeats, weight_scale=scale, minimum_per_user=minimum
    )
    known = run(typed(before), settings) if before else run(typed([]), settings).slice(0, 0)
    found = continued_history(known, typed(since), settings, USERS)
    assert_same(found, run(typed(before + since), settings))


def test_positions_keep_their_order_and_what_comes_now_is_merged_beside_them():
    settings = InteractionsSettings(source="i.csv")
    before = typed([("a", 1, True, 1), ("b", 1, True, 2), ("c", 1, True, 3)], timed=False)
    since = typed([("d", 1, True, 0), ("a", 2, True, 1)])
    found = by_item(continued_history(run(before, settings), since, settings, USERS))
    assert list(found) == ["b", "c", "d", "a"]
    assert found["b"][4] < found["c"][4]


def test_a_pair_that_is_taken_back_is_seen_and_not_positive():
    settings = InteractionsSettings(source="i.csv", returns=True)
    known = run(typed([("a", 2, True, 1), ("b", 1, True, 2)]), settings)
    found = by_item(continued_history(known, typed([("a", -2, True, 3)]), settings, USERS))
    assert found["a"][0] is False
    assert found["b"][0] is True
