"""A table and its columns with what can be measured of them, each measured once."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Any

import pandas as pd

from recsys_dagster.onboarding.proposal.names import (
    LANGUAGE_WORDS,
    MEASURE_WORDS,
    TIME_NAMES,
    TIME_OF_OTHER_THINGS,
    TIME_WORDS,
    has_word,
    is_key_name,
)
from recsys_dagster.steps.prepare.ids import as_ids
from recsys_dagster.steps.prepare.items import AVAILABLE_WORDS
from recsys_dagster.steps.prepare.numbers import DecimalSign, parse_numbers
from recsys_dagster.steps.prepare.texts import clean_text
from recsys_dagster.steps.prepare.times import parse_timestamps, says_time

CURRENCY = re.compile(
    r"^\s*(?:[$€£¥₽₹₩]|EUR|USD|GBP|CHF)\s?\d|\d\s?(?:[$€£¥₽₹₩]|EUR|USD|GBP|CHF|zł|руб\.?|円|元)\s*$"
)
MAX_RATINGS = 21
"""Different values of a rating: 0 to 10 in halves."""
TITLE_LENGTH = 80
"""Characters of a title on average, at most."""
SAMPLE = 500
"""Values of a column that are looked at one by one."""
MAX_KEY_LENGTH, MAX_HASH_LENGTH = 60, 128
URL = re.compile(
    r"^(?:https?://|www\.|/|\S+\.(?:jpe?g|png|gif|webp|svg)$|\S+@\S+\.\S+$)", re.IGNORECASE
)


@dataclass(frozen=True)
class Candidate:
    """A table that may have a part in the catalog.

    Attributes:
        source: as it is written in the YAML.
        frame: its own columns.
        relation: what stands for it behind `from` in a query, where one can be asked.
        context: what a query over it needs beside `sql`: `tables` of files, or a `database`.
        dialect: sqlite, or duckdb.
        is_headerless: whether its columns have no names but those given to them.
        guesses: what was supposed to make it, a sentence each.
        name: what people call it; made from the source where left out.
        split: the column that says train or test, where it was made of such tables.
        parts: names of the tables that it was joined of.
        rows: how many there are where the frame has some of them only; else 0.
        distinct: by key, how many different values are in all of these rows.
    """

    source: str | dict[str, Any]
    frame: pd.DataFrame
    relation: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    dialect: str = "duckdb"
    is_headerless: bool = False
    guesses: tuple[str, ...] = ()
    name: str = ""
    split: str = ""
    parts: tuple[str, ...] = ()
    rows: int = 0
    distinct: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", _called(self.source))

    @property
    def made_of(self) -> tuple[str, ...]:
        """Names of the tables that it stands for, its own among them."""
        return (self.name, *self.parts)

    @property
    def most_frequent(self) -> str:
        """The aggregate function that takes the most frequent value, or one of them."""
        return "max" if self.dialect == "sqlite" else "mode"  # SQLite knows no mode

    def query(self, sql: str, *others: "Candidate") -> dict[str, Any] | None:
        """The source that a query over this and other tables is, or None where none can be."""
        databases = {one.context.get("database") for one in (self, *others)}
        if len(databases) > 1 or any(one.relation is None for one in (self, *others)):
            return None
        database = databases.pop()
        if database is not None:
            return {"database": database, "sql": sql}
        tables = {
            name: source
            for one in (self, *others)
            for name, source in one.context.get("tables", {}).items()
        }
        return {"sql": sql} | ({"tables": tables} if tables else {})


def _called(source: str | dict[str, Any]) -> str:
    if isinstance(source, str):
        return PurePath(source).name
    return source.get("table") or PurePath(source.get("path", "")).name


class Column:
    """One column of a table."""

    def __init__(self, name: str, values: pd.Series) -> None:
        self.name = name
        self.values = values

    @cached_property
    def present(self) -> pd.Series:
        """The values that are there: neither null nor blank."""
        present = self.values.dropna()
        if pd.api.types.is_string_dtype(present):
            present = present[present.astype("str").str.strip() != ""]
        return present

    @cached_property
    def ids(self) -> pd.Series:
        """The values as ids."""
        return as_ids(self.values)

    @cached_property
    def counts(self) -> pd.Series:
        """How often each value is there, the most frequent first."""
        return self.ids.value_counts()

    @property
    def distinct(self) -> int:
        """The number of different values."""
        return len(self.counts)

    @property
    def filled(self) -> float:
        """The share of rows with a value."""
        return len(self.present) / max(len(self.values), 1)

    @property
    def uniqueness(self) -> float:
        """The number of different values over that of values."""
        return self.distinct / max(len(self.present), 1)

    @cached_property
    def sample(self) -> pd.Series:
        """Some of the values, always the same."""
        return self.present.sample(min(SAMPLE, len(self.present)), random_state=0)

    @cached_property
    def texts(self) -> pd.Series:
        """The sample as clean texts."""
        return self.sample.map(clean_text).astype("str")

    @cached_property
    def numbers(self) -> pd.Series:
        """The values as numbers; empty where fewer than 99 % of them are."""
        if not self._may_be_numbers:
            return pd.Series(dtype="float64")
        numbers = parse_numbers(self.present, self.decimal).dropna()
        return numbers if len(numbers) >= 0.99 * len(self.present) else numbers.iloc[:0]

    @cached_property
    def decimal(self) -> DecimalSign | None:
        """The sign before decimals where numbers are written for people; None for plain ones."""
        texts = self.sample.astype("str")
        if pd.api.types.is_numeric_dtype(self.values) or _are_few(parse_numbers(texts).isna()):
            return None
        signs: tuple[DecimalSign, ...] = (",", ".")
        return next((sign for sign in signs if _are_few(parse_numbers(texts, sign).isna())), None)

    @property
    def _may_be_numbers(self) -> bool:
        kinds = pd.api.types
        return not (
            self.present.empty
            or kinds.is_bool_dtype(self.values)
            or kinds.is_datetime64_any_dtype(self.values)
            or not _are_few(parse_numbers(self.sample.astype("str"), self.decimal).isna())
        )

    @cached_property
    def is_time(self) -> bool:
        """Whether the values are points in time that need no format to be read."""
        if self.present.empty:
            return False
        if pd.api.types.is_datetime64_any_dtype(self.values):
            return True
        if not self.numbers.empty and not self.is_named_like_a_time:
            return False
        dated = self.sample[says_time(self.sample)]
        return len(dated) > 0 and bool(parse_timestamps(dated).notna().mean() >= 0.9)

    @property
    def is_named_like_a_time(self) -> bool:
        """Whether the name says that it is one."""
        return has_word(self.name, TIME_WORDS) or has_word(self.name, TIME_NAMES)

    @cached_property
    def is_key_like(self) -> bool:
        """Whether the values may be ids: short, neither points in time nor fractions."""
        if self.present.empty or self.is_time or pd.api.types.is_bool_dtype(self.values):
            return False
        if self.is_measure or self._is_written_date:
            return False
        if not self.numbers.empty and not self._is_written_key:
            return bool((self.numbers % 1 == 0).all()) and self.distinct > 1
        # Hashes are long; what is long and has spaces is text.
        longest = MAX_KEY_LENGTH if self.texts.str.contains(r"\s").any() else MAX_HASH_LENGTH
        return bool(self.texts.str.len().mean() <= longest) and self.distinct > 1

    @property
    def _is_written_date(self) -> bool:
        """Whether numbers are dates such as 20230110."""
        days = self.texts.str.fullmatch(r"(?:19|20)\d{6}").fillna(False)
        read = parse_timestamps(self.texts[days.astype(bool)], "%Y%m%d").notna().sum()
        return bool(len(self.texts) > 0 and read >= 0.9 * len(self.texts))

    @property
    def _is_written_key(self) -> bool:
        """Whether texts such as 12.77 are ids, since their name says so."""
        return is_key_name(self.name) and pd.api.types.is_string_dtype(self.values)

    @property
    def is_measure(self) -> bool:
        """Whether it says how much, such as a price: by its name, or by signs of currencies."""
        by_name = has_word(self.name, MEASURE_WORDS) and not is_key_name(self.name)
        return by_name or bool(self.texts.str.contains(CURRENCY).mean() > 0.5)

    @cached_property
    def is_text(self) -> bool:
        """Whether it says something about its row in words."""
        if self.present.empty or self.is_time or has_word(self.name, LANGUAGE_WORDS):
            return False
        if isinstance(self.sample.iloc[0], dict) or self._may_be_numbers or self.distinct < 2:
            return False
        texts = self.texts
        faults = (
            ~texts.str.contains(r"[^\W\d_]", regex=True),
            texts.str.contains(URL),
            texts.str.casefold().isin(list(AVAILABLE_WORDS)),
        )
        if any(fault.mean() > 0.4 for fault in faults) or texts.str.len().max() <= 3:
            return False
        return not (self._is_date or self._is_code)

    @property
    def _is_date(self) -> bool:
        is_named = self.is_named_like_a_time or has_word(self.name, TIME_OF_OTHER_THINGS)
        return is_named and bool(self.texts.str.contains(r"\d").mean() > 0.5)

    @property
    def _is_code(self) -> bool:
        one_word = ~self.texts.str.contains(r"\s", regex=True)
        with_digits = self.texts.str.contains(r"\d", regex=True)
        is_ascii = self.texts.map(str.isascii)
        looks = bool((one_word & with_digits & is_ascii).mean() > 0.5)
        return looks or (is_key_name(self.name) and bool(one_word.mean() > 0.5))

    @cached_property
    def text_length(self) -> float:
        """The mean length of its texts."""
        return float(self.texts.str.len().mean())

    def share_in(self, other: "Column") -> float:
        """The share of its different values that another column has."""
        return float(self.counts.index.isin(other.counts.index).mean()) if self.distinct else 0.0


class Table:
    """A candidate with its columns."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.name = candidate.name
        self.columns = [
            Column(str(name), values) for name, values in candidate.frame.items() if str(name)
        ]
        self.rows = len(candidate.frame)

    @property
    def size(self) -> str:
        """How many rows it has, in words."""
        if self.candidate.rows:
            return f"{self.candidate.rows:,} rows, of which {self.rows:,} were looked at"
        return f"{self.rows:,} rows"

    def distinct(self, column: "Column") -> int:
        """How many different values a key has, in rows that were not looked at too."""
        return max(column.distinct, self.candidate.distinct.get(column.name, 0))

    @property
    def names(self) -> list[str]:
        """The names of its columns."""
        return [column.name for column in self.columns]

    def column(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)

    @cached_property
    def text_columns(self) -> list[Column]:
        """The columns with words in them."""
        return [column for column in self.columns if column.is_text]

    def has_text_beside(self, key: Column) -> bool:
        """Whether a column other than the key has words in it."""
        return any(column is not key for column in self.text_columns)


def _are_few(faults: pd.Series) -> bool:
    return bool(faults.mean() <= 0.05)


def listed(names: Iterable[Any]) -> str:
    """Names in backticks, for comments."""
    return ", ".join(f"`{name}`" for name in names)
