"""Ids: nobody is called NULL, and what cannot be seen is no part of a name."""

import datetime as dt
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from recsys_dagster.errors import UserError
from recsys_dagster.steps.prepare.ids import (
    MISSING_WORDS,
    are_inexact,
    are_missing_words,
    as_ids,
    refuse_no_ids,
)


def ids(values, dtype=object):
    return [None if pd.isna(one) else one for one in as_ids(pd.Series(values, dtype=dtype))]


@pytest.mark.parametrize("dtype", [object, "str"])
def test_a_word_for_a_missing_value_is_no_id(dtype):
    words = [*MISSING_WORDS, r" \N "]
    assert ids(words, dtype) == [None] * len(words)
    assert are_missing_words(pd.Series(words, dtype=dtype)).all()
    names = ["Null", "none", "Nan", "nanna", "NULL1", "N"]
    assert ids(names, dtype) == names


@pytest.mark.parametrize("dtype", [object, "str"])
def test_white_space_and_what_nobody_sees_are_trimmed(dtype):
    dirty = ["\ufeffa", "a\u200b", "\u00a0a\u2003", " \u200b a", "\u2060", "a b", "a\u200db"]
    assert ids(dirty, dtype) == ["a", "a", "a", "a", None, "a b", "a\u200db"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, "7"),
        (7.0, "7"),
        (7.5, "7.5"),
        (Decimal("7.00"), "7"),
        (Decimal("12345678901234567890"), "12345678901234567890"),
        (Decimal("Infinity"), "Infinity"),
        (b"ab", "ab"),
        (b"\xff\x00", "ff00"),
        ("007", "007"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (dt.date(2024, 1, 1), "2024-01-01"),
        (None, None),
        (np.nan, None),
    ],
    ids=repr,
)
def test_an_id_is_the_same_whatever_is_beside_it(value, expected):
    assert ids([value]) == [expected]
    assert ids([value, "x", 1.5, None]) == [expected, "x", "1.5", None]


def test_integers_beyond_what_floats_hold():
    assert ids([2**60 + 1, None], "Int64") == ["1152921504606846977", None]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([2.0**53, -(2.0**60), 2.0**53 - 1, np.nan, np.inf], "float64", [1, 1, 0, 0, 0]),
        ([2.0**53, 2.0**53 - 1, None], "Float64", [1, 0, 0]),
        ([2.0**24, 2.0**24 - 1], "float32", [1, 0]),
        ([2.0**60, 2**60, "1e18", None, Decimal(2**60)], object, [1, 0, 0, 0, 0]),
        ([2**60], "int64", [0]),
        ([str(2**60)], "str", [0]),
    ],
)
def test_floats_that_stand_for_several_whole_numbers_are_inexact(values, dtype, expected):
    assert are_inexact(pd.Series(values, dtype=dtype)).tolist() == list(map(bool, expected))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            [{"name": "x", "id": 1}],
            r"structures with 'name', 'id'\. .*columns: \{user_id: user\.id\}",
        ),
        ([{"name": "x"}], r"columns: \{user_id: user\.name\}"),
        (
            [None, np.array([1, 2])],
            r"lists\. .*exclude \(user\), unnest\(user\) as user_id",
        ),
        ([None, True], "true and false"),
    ],
)
def test_values_that_can_be_no_ids_are_refused(values, told):
    column = pd.Series(values, dtype=object, name="user")
    with pytest.raises(UserError, match=rf"raw_interactions: the column 'user', .*{told}"):
        refuse_no_ids(column, "user_id", "raw_interactions")


@pytest.mark.parametrize("values", [["a"], [1], [None], [], [dt.datetime(2024, 1, 1)]])
def test_all_others_are_taken(values):
    refuse_no_ids(pd.Series(values, dtype=object, name="user"), "user_id", "raw_interactions")
