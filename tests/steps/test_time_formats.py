"""Which format reads times that are in no standard form."""

import pandas as pd
import pytest

from recsys_dagster.steps.prepare.time_formats import format_hint


@pytest.mark.parametrize(
    ("texts", "hint"),
    [
        (["31/01/2024", "01/02/2024"], '; timestamp_format: "%d/%m/%Y" would read them'),
        (["01/31/2024 13:05"], '; timestamp_format: "%m/%d/%Y %H:%M" would read them'),
        (["May 5, 2024"], '; timestamp_format: "%b %d, %Y" would read them'),
        (["202401311305"], '; timestamp_format: "%Y%m%d%H%M" would read them'),
        ([20240131], '; timestamp_format: "%Y%m%d" would read them'),
        (["31/01/2024"] * 9 + ["x"], '; timestamp_format: "%d/%m/%Y" would read most of them'),
        (["31/01/2024", "x"], ""),
        (["yesterday"], ""),
        ([], ""),
    ],
    ids=str,
)
def test_the_line_to_write(texts, hint):
    assert format_hint(pd.Series(texts, dtype=object), None) == hint


def test_nobody_guesses_what_is_day_and_what_is_month():
    hint = format_hint(pd.Series(["01/02/2024", "03/04/2024"]), None)
    assert hint == (
        '; either timestamp_format: "%d/%m/%Y" or timestamp_format: "%m/%d/%Y" would read them: '
        "only who wrote them knows which"
    )


def test_the_same_day_in_both_orders_is_one_reading():
    hint = format_hint(pd.Series(["01/01/2024", "02/02/2024"]), None)
    assert hint == '; timestamp_format: "%d/%m/%Y" would read them'


def test_a_format_that_is_wrong():
    assert "%d.%m.%Y" in format_hint(pd.Series(["31.01.2024"]), "%d/%m/%Y")
    assert format_hint(pd.Series(["31/01/2024"]), "%d/%m/%Y") == ""
    standard = pd.Series(["2024-01-31"])
    assert format_hint(standard, "%d/%m/%Y") == "; without timestamp_format they would be read"
