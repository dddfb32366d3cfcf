"""Splits: the past never learns from the future, and the order of rows says nothing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_dagster.errors import UserError
from recsys_dagster.steps.evaluation.splits import Cuts, as_known_at, kind_of, split, time_cuts

KINDS = ("time", "last", "random", "column")


def day(number):
    return pd.Timestamp("2024-01-01") + pd.Timedelta(days=number)


def days_of(interactions_of, days, users=None):
    """A positive pair a day, each of its own user where none are named."""
    users = users or [f"u{place}" for place in range(len(days))]
    return interactions_of(
        *(
            (user, f"i{place}", 1.0, True, day(number))
            for place, (user, number) in enumerate(zip(users, days, strict=True))
        )
    )


def parts_by_pair(interactions, parts):
    keys = zip(interactions["user_id"], interactions["item_id"], strict=True)
    return dict(zip(keys, parts, strict=True))


tables = st.lists(
    st.tuples(
        st.sampled_from(["u1", "u2", "u3"]),
        st.sampled_from([f"i{number}" for number in range(12)]),
        st.booleans(),
        st.integers(0, 9),
        st.sampled_from([np.nan, 1.0, 2.0]),
    ),
    min_size=12,
    max_size=30,
    unique_by=lambda row: row[:2],
)


def table_of(interactions_of, rows):
    return interactions_of(
        *((user, item, 1.0, positive, day(time)) for user, item, positive, time, _ in rows),
        position=[position for *_, position in rows],
    )


@given(tables, st.randoms(use_true_random=False), st.integers(0, 3))
def test_the_order_of_rows_says_nothing_and_only_positives_are_asked_for(
    interactions_of, rows, random, seed
):
    table = table_of(interactions_of, rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = table.iloc[order]
    labels = pd.Series([("train", "valid", "test", None)[row[3] % 4] for row in rows], dtype=object)
    for kind in KINDS:
        asked = {"test_share": 0.3, "valid_share": 0.3, "seed": seed}
        try:
            parts = split(table, kind, **asked, labels=labels)
        except UserError:
            with pytest.raises(UserError):
                split(shuffled, kind, **asked, labels=labels.iloc[order])
            continue
        again = split(shuffled, kind, **asked, labels=labels.iloc[order])
        pd.testing.assert_series_equal(parts.iloc[order], again)
        assert table.loc[parts.isin(["valid", "test"]), "positive"].all()
        if kind != "column":
            assert not parts[table["positive"]].isna().any()


@given(tables)
def test_nothing_in_train_began_after_anything_that_is_asked_for(interactions_of, rows):
    table = table_of(interactions_of, rows)
    try:
        parts = split(table, "time", 0.3, 0.3)
    except UserError:
        return
    times = [table.loc[parts == part, "first_timestamp"] for part in ("train", "valid", "test")]
    assert len(times[0])
    assert times[0].max() < times[1].min()
    assert times[1].max() < times[2].min()
    cuts = time_cuts(table, 0.3, 0.3)
    known = as_known_at(table, cuts.valid_from)
    pd.testing.assert_frame_equal(known, table[parts == "train"])


# time


def test_time_cuts_take_the_shares_asked_for(interactions_of):
    parts = split(days_of(interactions_of, range(20)), "time", test_share=0.1, valid_share=0.2)
    assert parts.tolist() == ["train"] * 14 + ["valid"] * 4 + ["test"] * 2


def test_pairs_of_one_moment_stay_together(interactions_of):
    table = days_of(interactions_of, [1, 1, 1, 2, 2, 3, 3, 3, 4, 4])
    assert time_cuts(table, 0.1, 0.2) == Cuts(day(3), day(4))
    assert time_cuts(table, 0.1, 0) == Cuts(day(4), day(4))
    assert time_cuts(table, 0.9, 0) == Cuts(day(2), day(2))


def test_of_two_cuts_as_near_the_smaller_test(interactions_of):
    assert time_cuts(days_of(interactions_of, [1, 2, 2, 3]), 0.5, 0).test_from == day(3)


def test_what_is_not_positive_and_came_later_has_no_part(interactions_of):
    table = interactions_of(
        ("u1", "a", 1.0, True, day(0)),
        ("u1", "b", 0.0, False, day(1)),
        ("u1", "c", 1.0, True, day(2)),
        ("u2", "d", 1.0, True, day(3)),
        ("u2", "e", 0.0, False, day(3)),
        ("u2", "f", 1.0, False, pd.NaT),
    )
    parts = split(table, "time", test_share=0.3, valid_share=0.3)
    assert parts.tolist() == ["train", "train", "valid", "test", None, "train"]


def test_a_pair_that_began_before_the_cut_was_seen_but_says_nothing_of_what_came_later(
    interactions_of,
):
    table = days_of(interactions_of, range(10))
    table.loc[0, "last_timestamp"] = day(9)
    assert split(table, "time", test_share=0.2, valid_share=0).iloc[0] == "train"
    known = as_known_at(table, day(8))
    assert known["item_id"].tolist() == [f"i{place}" for place in range(8)]
    assert known["positive"].tolist() == [False] + [True] * 7
    assert known["left_out"].tolist() == [True] + [False] * 7
    assert known["last_timestamp"].max() < day(8)
    assert table["positive"].all()
    assert table.loc[0, "last_timestamp"] == day(9)


def test_pairs_without_time_are_train_where_they_are_few(interactions_of):
    table = days_of(interactions_of, range(20))
    table.loc[[3, 19], "first_timestamp"] = pd.NaT
    parts = split(table, "time")
    assert parts.iloc[[3, 19]].tolist() == ["train", "train"]
    assert parts.iloc[18] == "test"


def test_many_pairs_without_time_are_refused_with_a_way_out(interactions_of):
    table = days_of(interactions_of, range(20))
    table.loc[[3, 4, 5], "first_timestamp"] = pd.NaT
    with pytest.raises(UserError, match=r"3 of 20 positive pairs have no timestamp.*split: last"):
        split(table, "time")


@pytest.mark.parametrize(("days", "valid_share"), [([1, 2, 2], 0.1), ([1, 1], 0)])
def test_times_that_hardly_differ_are_refused_with_a_way_out(interactions_of, days, valid_share):
    with pytest.raises(UserError, match=r"different timestamps.*split: random"):
        split(days_of(interactions_of, days), "time", valid_share=valid_share)


# last


def test_the_last_pairs_of_each_user_by_time_then_position_then_item(interactions_of):
    table = interactions_of(
        ("u1", "a", 1.0, True, day(3)),
        ("u1", "b", 1.0, True, day(5)),
        ("u1", "c", 1.0, True, day(5)),
        ("u1", "d", 0.0, False, day(9)),
        ("u2", "b", 1.0, True, day(1)),
        ("u2", "a", 1.0, True, day(1)),
        ("u2", "c", 1.0, True, day(1)),
        ("u3", "a", 1.0, True, day(1)),
        ("u3", "b", 1.0, True, day(2)),
        ("u4", "a", 1.0, True, day(1)),
        position=[0, 8, 7, 9, 1, 1, np.nan, 0, 0, 0],
    )
    assert parts_by_pair(table, split(table, "last")) == {
        ("u1", "a"): "train",
        ("u1", "b"): "test",
        ("u1", "c"): "valid",
        ("u1", "d"): "train",
        ("u2", "b"): "test",
        ("u2", "a"): "valid",
        ("u2", "c"): "train",
        ("u3", "a"): "train",
        ("u3", "b"): "test",
        ("u4", "a"): "train",
    }


def test_positions_alone_are_an_order(interactions_of):
    table = interactions_of(("u", "a"), ("u", "b"), ("u", "c"), position=[3, 1, 2])
    assert split(table, "last").tolist() == ["test", "train", "valid"]


def test_last_without_any_order_is_refused(interactions_of):
    with pytest.raises(UserError, match=r"2 of 2 .* no timestamp or position. Take split: random"):
        split(interactions_of(("u", "a"), ("u", "b")), "last")


# random


def test_random_takes_the_shares_of_the_positives_and_depends_on_the_seed(interactions_of):
    table = interactions_of(
        *((f"u{number % 7}", f"i{number}", 1.0, number % 4 > 0) for number in range(400))
    )
    parts = split(table, "random", seed=1)
    assert parts.value_counts().to_dict() == {"train": 340, "valid": 30, "test": 30}
    assert (parts != split(table, "random", seed=2)).any()


# column


def test_given_labels(interactions_of):
    table = interactions_of(
        ("u", "a"),
        ("u", "b"),
        ("u", "c"),
        ("u", "d"),
        ("u", "e", 0.0, False),
        ("u", "f", 0.0, False),
    )
    labels = pd.Series(["test", "valid", None, "train", "test", "train"], dtype="str")
    parts = split(table, "column", labels=labels)
    assert parts.tolist() == ["test", "valid", None, "train", None, "train"]


def test_unknown_labels_are_named(interactions_of):
    table = interactions_of(("u", "a"), ("u", "b"))
    with pytest.raises(UserError, match=r"holds 'dev' \(1 of 2 rows\); expected are 'train'"):
        split(table, "column", labels=pd.Series(["test", "dev"]))


def test_labels_must_fit(interactions_of):
    table = interactions_of(("u", "a"), ("u", "b"))
    for labels in (None, pd.Series(["test", "train"], index=[1, 0])):
        with pytest.raises(ValueError, match="needs labels"):
            split(table, "column", labels=labels)


# Nothing to test on


@pytest.mark.parametrize("kind", KINDS)
def test_no_positive_pair_is_refused(interactions_of, kind):
    table = interactions_of(("u", "a", 0.0, False))
    for nothing in (table, table.iloc[:0]):
        with pytest.raises(UserError, match=r"none of \d interactions is positive"):
            split(nothing, kind, labels=pd.Series(["test"]))


def test_a_split_without_test_is_refused(interactions_of):
    table = interactions_of(("u1", "a"), ("u2", "b"), position=[1, 2])
    for kind in ("last", "random", "column"):
        with pytest.raises(UserError, match=f"split: {kind} makes none of 2 positive pairs test"):
            split(table, kind, labels=pd.Series(["train", "valid"]))


@pytest.mark.parametrize("shares", [(0, 0.1), (0.5, 0.5), (0.1, -0.1)])
def test_impossible_shares(interactions_of, shares):
    with pytest.raises(ValueError, match="shares of"):
        split(interactions_of(("u", "a")), "random", *shares)


@pytest.mark.parametrize(
    ("days", "users", "positions", "kind"),
    [
        ([0, 1, 2], "abc", None, "time"),
        ([0, 0, 1], "aab", None, "last"),  # two moments are too few for two cuts
        ([0, 0, 0], "aab", [1.0, 2.0, 3.0], "last"),
        ([0, 0, 0], "abc", None, "random"),  # nobody has a last one beside others
        ([None] * 3, "aab", None, "random"),
    ],
)
def test_the_kind_is_the_strictest_that_can_be_made(interactions_of, days, users, positions, kind):
    table = interactions_of(
        *(
            (user, f"i{place}", 1.0, True, pd.NaT if number is None else day(number))
            for place, (user, number) in enumerate(zip(users, days, strict=True))
        ),
        **({} if positions is None else {"position": positions}),
    )
    assert kind_of(table) == kind
    assert (split(table, kind, 0.3, 0.3) == "test").any()
