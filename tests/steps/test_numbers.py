"""Numbers, plain and as people write them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_dagster.steps.prepare.numbers import decimal_hint, parse_numbers, unread_numbers


def read(values, decimal=None):
    numbers = parse_numbers(pd.Series(values, dtype=object), decimal)
    return [None if np.isnan(number) else number for number in numbers]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.234,5", 1234.5),
        ("1 234,5", 1234.5),
        ("1\u00a0234,5", 1234.5),
        ("1\u202f234\u202f567,5", 1234567.5),
        ("1'234,5", 1234.5),
        ("1’234,5", 1234.5),
        ("1234,5", 1234.5),
        ("1.234", 1234),
        ("12", 12),
        (",5", 0.5),
        ("-5,5", -5.5),
        ("\u22125,5", -5.5),
        ("1,5e3", 1500),
        # Not in threes, or by two signs at once.
        ("1.23,4", None),
        ("12.34", None),
        ("1234.567", None),
        ("1.234 567", None),
        ("1.234.56", None),
        ("1,234,5", None),
        (".5", None),
        (",", None),
        ("", None),
        ("5 €", None),
    ],
)
def test_a_comma_before_the_decimals(text, number):
    assert read([text], ",") == [number]


@pytest.mark.parametrize(
    ("text", "number"),
    [("1,234.5", 1234.5), ("1 000", 1000), ("1,234", 1234), ("1,23", None), ("1.5", 1.5)],
)
def test_a_point_before_the_decimals(text, number):
    assert read([text], ".") == [number]


def test_plain_numbers_are_not_grouped():
    assert read(["1.5", " 3 ", "1e3", "1,5", "1 000", "x", None]) == [1.5, 3, 1000, *[None] * 4]


@pytest.mark.parametrize("decimal", [None, ",", "."])
def test_numbers_stay_numbers_and_truths_are_one_and_zero(decimal):
    assert read([1.5, 7, None], decimal) == [1.5, 7, None]
    assert read([True, False], decimal) == [1, 0]
    assert read(["true", " False "], decimal) == [1, 0]
    typed = (pd.Series([1.5, None]), pd.Series([1, None], dtype="Int64"), pd.Series([True, False]))
    assert [parse_numbers(column, decimal).iloc[0] for column in typed] == [1.5, 1, 1]


@given(st.lists(st.floats(-1e12, 1e12).map(lambda number: round(number, 3)), min_size=1))
def test_what_is_written_is_read(numbers):
    english = [f"{number:,.3f}" for number in numbers]
    german = [text.translate(str.maketrans(",.", ".,")) for text in english]
    assert read(english, ".") == read(german, ",") == [float(f"{n:.3f}") for n in numbers]


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        (["1,5", "2,5"], '; decimal: "," under interactions would read them'),
        (["1,5", "2,5", "x"], '; decimal: "," under interactions would read most of them'),
        (["1,234.5"], '; decimal: "." under interactions would read them'),
        (["x", "1,5"], ""),
        ([], ""),
    ],
)
def test_the_line_to_write(values, hint):
    assert decimal_hint(pd.Series(values, dtype=object), None) == hint


def test_nobody_guesses_whether_a_comma_groups():
    hint = decimal_hint(pd.Series(["1,500"]), None)
    assert hint.startswith('; either decimal: "," or decimal: "." under interactions')


def test_what_says_nothing_is_not_unread():
    values = pd.Series(["1", None, " ", "x"], dtype=object)
    assert unread_numbers(values, parse_numbers(values)).tolist() == ["x"]
