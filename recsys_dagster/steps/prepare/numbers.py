"""Numbers, plain or as people write them → floats, each value by itself."""

import re
from typing import Literal

import pandas as pd

DecimalSign = Literal[".", ","]

READABLE = 0.5
"""Of the values that are no plain numbers, that a sign must make readable to be proposed."""
SAMPLE = 500
TRUTHS = {"true": 1.0, "false": 0.0}
"""A column of true and false is text where it comes from a text file; elsewhere it is 1 and 0."""
SPACES = " \N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE}"
APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}"
MINUS = "\N{MINUS SIGN}"


def _written(decimal: DecimalSign) -> re.Pattern[str]:
    """A sign, digits in threes or none of it grouped, decimals, an exponent."""
    grouping = re.escape({",": ".", ".": ","}[decimal]) + SPACES + APOSTROPHES
    return re.compile(
        rf"(?P<sign>[+\-{MINUS}]?)"
        rf"(?P<whole>\d{{1,3}}(?P<group>[{grouping}])\d{{3}}(?:(?P=group)\d{{3}})*|\d+|(?=\D))"
        rf"(?:{re.escape(decimal)}(?P<part>\d+))?(?P<exponent>[eE][+-]?\d+)?"
    )


WRITTEN: dict[DecimalSign, re.Pattern[str]] = {",": _written(","), ".": _written(".")}


def parse_numbers(values: pd.Series, decimal: DecimalSign | None = None) -> pd.Series:
    """A column as float64, NaN where nothing is said or it cannot be read.

    Args:
        values: one column; what is a number already stays what it is.
        decimal: the sign before the decimals of texts written for people, where the other one, a
            space or an apostrophe may group thousands; plain numbers such as 1234.5 where None.
    """
    if pd.api.types.is_numeric_dtype(values):
        return values.astype("float64")
    is_text = values.map(lambda value: isinstance(value, str), na_action="ignore").eq(True)
    texts = values.where(is_text).astype("str")
    plain = values if decimal is None else values.mask(is_text)
    numbers = pd.to_numeric(plain, errors="coerce").astype("float64")
    if decimal is not None:
        # Columns have few different numbers, so each is read once.
        codes, different = pd.factorize(texts)
        read = pd.Series([_number(text, decimal) for text in different], dtype="float64")
        numbers = numbers.fillna(read.reindex(codes).set_axis(values.index))
    return numbers.fillna(texts.str.strip().str.lower().map(TRUTHS).astype("float64"))


def _number(text: str, decimal: DecimalSign) -> float:
    match = WRITTEN[decimal].fullmatch(text.strip())
    if match is None or not (match["whole"] or match["part"]):
        return float("nan")
    whole = match["whole"].replace(match["group"], "") if match["group"] else match["whole"]
    sign = match["sign"].replace(MINUS, "-")
    return float(f"{sign}{whole or 0}.{match['part'] or 0}{match['exponent'] or ''}")


def unread_numbers(values: pd.Series, numbers: pd.Series) -> pd.Series:
    """The values that say something and are no number: neither null nor blank."""
    unread = values[numbers.isna() & values.notna()]
    return unread[unread.astype("str").str.strip() != ""]


def decimal_hint(unread: pd.Series, decimal: DecimalSign | None) -> str:
    """The line for the YAML that most of the values would be read with; empty where none is.

    Args:
        unread: values that are there and are no numbers.
        decimal: what they were read with.
    """
    sample = unread.sample(min(SAMPLE, len(unread)), random_state=0).astype("str")
    shares = {
        sign: float(parse_numbers(sample, sign).notna().mean())
        for sign in WRITTEN
        if sign != decimal and len(sample)
    }
    most = max(shares.values(), default=0.0)
    if most <= READABLE:
        return ""
    lines = [f'decimal: "{sign}"' for sign, share in shares.items() if share == most]
    them = "them" if most == 1 else "most of them"
    if len(lines) == 1:
        return f"; {lines[0]} under interactions would read {them}"
    return (
        f"; either {' or '.join(lines)} under interactions would read {them}: only who wrote them "
        "knows which"
    )
