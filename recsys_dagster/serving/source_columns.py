"""Rows as a catalog's own source writes them: its names, its types, its way with times."""

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from recsys_dagster.errors import UserError, did_you_mean

WHOLE = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?")
DECIMAL = re.compile(r"DECIMAL\((\d+), ?(\d+)\)")
MOMENTS = re.compile(r"DATE|TIMESTAMP.*")
EXACT = {"DOUBLE": 2**53, "FLOAT": 2**24}
"""Kinds of fractions, and the number from which they do not tell whole ones apart."""
WHOLE_TEXT = re.compile(r"0|-?[1-9][0-9]*")
MOST_DIGITS = 20
TIME = "timestamp"


@dataclass(frozen=True)
class SourceColumns:
    """How the catalog's own source spells what we call user_id, item_id, weight and so on.

    Attributes:
        names: our name → the source's.
        types: every column of the source → its DuckDB type.
        timestamp_format: of texts, as in Python; None for ISO 8601.
        decimal: the sign before decimals of texts; None for a point.
    """

    names: Mapping[str, str]
    types: Mapping[str, str]
    timestamp_format: str | None
    decimal: str | None

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "SourceColumns":
        """Those of a snapshot."""
        interactions = manifest["settings"]["interactions"]
        return cls(
            manifest["interaction_columns"],
            manifest["source_columns"],
            interactions["timestamp_format"],
            interactions["decimal"],
        )

    @property
    def time(self) -> str:
        """What the source calls the time; our own name where it has none."""
        return self.names.get(TIME, TIME)

    def row(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """A row as the source would have it.

        Types matter, because files that disagree about one are read again at every refresh; and
        names, because a column that the source does not have changes what its other rows say.

        Args:
            told: by our names, timestamp a datetime with a zone; and columns of the source.

        Raises:
            UserError: the source has no such column, or no such value.
        """
        row: dict[str, Any] = {}
        for name, value in told.items():
            column = self._column(name)
            if column in row:
                raise UserError(f"{name}: it is told twice, as {column!r} of the source too.")
            if value is None:
                continue
            try:
                row[column] = self._written(self.types.get(column, ""), value)
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
        return row

    def _column(self, name: str) -> str:
        if name in self.names:
            return self.names[name]
        if name == TIME:
            return TIME  # rows that came before say nothing of their time, as ever
        if name not in self.types:
            raise UserError(
                f"{name}: the source of this catalog has no such column."
                f"{did_you_mean(name, list(self.types))}"
            )
        return name

    def _written(self, kind: str, value: Any) -> Any:
        if isinstance(value, datetime):
            return self._time(value, kind)
        return _text(value, self.decimal or ".") if kind == "VARCHAR" else _value(value, kind)

    def _time(self, time: datetime, kind: str) -> Any:
        try:
            utc = time.astimezone(UTC)
        except OverflowError:
            raise UserError(f"{time.isoformat()} is no time that can be counted.") from None
        is_whole = WHOLE.fullmatch(kind) is not None
        if self.timestamp_format:
            text = utc.strftime(self.timestamp_format)
            if (is_whole or kind in EXACT) and text.isdecimal():
                return int(text) if is_whole else float(text)
            return text
        if is_whole:
            return int(utc.timestamp())
        if kind in EXACT:
            return utc.timestamp()
        if kind == "DATE":
            return utc.date().isoformat()
        return utc.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")


def _value(value: Any, kind: str) -> Any:
    """A value as a column of a DuckDB type has it."""
    if WHOLE.fullmatch(kind):
        return _whole(value, 2**64 if kind.startswith("U") else 2**63)
    if kind in EXACT:
        return _fraction(value, kind)
    if decimal := DECIMAL.fullmatch(kind):
        return _decimal(value, *map(int, decimal.groups()))
    if kind == "BOOLEAN":
        return _truth(value)
    return _moment(value) if MOMENTS.fullmatch(kind) else _finite(value)


def _whole(value: Any, limit: int) -> int | float:
    """A value of a column of whole numbers; a fraction stays one, and is among them as such."""
    expected = "the source has whole numbers there"
    if isinstance(value, str):
        if not WHOLE_TEXT.fullmatch(value):
            raise UserError(f"{expected}, written like 7 and not like 007; found {value!r}.")
        number = int(value) if len(value) <= MOST_DIGITS else limit
    elif isinstance(value, bool):
        raise UserError(f"{expected}; found {_spelled(value)}.")
    elif isinstance(value, float) and not _finite(value).is_integer():
        return value
    else:
        number = int(value)
    # A sign or a size that no row had before only makes the column wider.
    if not -(2**63) <= number < limit:
        raise UserError(f"{expected}, of 64 bits at most; found {value!r}.")
    return number


def _fraction(value: Any, kind: str) -> float:
    """A value of a column of floats."""
    if isinstance(value, str):
        return _of_text(value, EXACT[kind])
    _require_number(value)
    try:
        number = float(_finite(value))
        if kind == "FLOAT":
            # The nearest that the column can have, so that the other files' type fits it.
            (number,) = struct.unpack("<f", struct.pack("<f", number))
    except OverflowError:
        raise UserError(f"no number of the source is as large; found {value!r}.") from None
    if isinstance(value, int) and number != value:
        raise UserError(f"the source has no digits for so long a number; found {value!r}.")
    return number


def _decimal(value: Any, digits: int, decimals: int) -> int | float:
    """A value of a column of decimals.

    Args:
        value: as it was told.
        digits: of the column's numbers, those behind the point included.
        decimals: those behind the point.
    """
    expected = f"the source has numbers of {digits} digits there, {decimals} of them decimals"
    if decimals == 0:
        number = _whole(value, 2**63)
    elif isinstance(value, str):
        number = _of_text(value, EXACT["DOUBLE"])
    else:
        _require_number(value)
        number = _finite(value)
    exact = Decimal(str(number))
    if exact != round(exact, decimals) or abs(exact) >= 10 ** (digits - decimals):
        raise UserError(f"{expected}; found {value!r}.")
    if decimals == 0:
        return int(number)
    if abs(number) >= EXACT["DOUBLE"]:
        raise UserError(f"numbers with decimals are below 2**53 here; found {value!r}.")
    return float(number)


def _of_text(text: str, limit: int) -> float:
    """The number that a text is, where the text can be had back from it: it may be an id."""
    if WHOLE_TEXT.fullmatch(text):
        if len(text) > MOST_DIGITS or abs(int(text)) >= limit:
            raise UserError(
                f"the source has floats there, which tell whole numbers below {limit} apart; "
                f"found {text!r}."
            )
        return float(text)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or str(number) != text:
        raise UserError(
            f"the source has numbers there, written like 7 or 2.5 and not like 007; found {text!r}."
        )
    return number


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"the source has true and false there; found {_spelled(value)}.")
    return value


def _moment(value: Any) -> str:
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise UserError(
            "the source has dates or times there, written like 2026-03-01 12:00:00; found "
            f"{_spelled(value)}."
        ) from None
    return value


def _text(value: Any, decimal: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return _spelled(value)
    return f"{_finite(value)}".replace(".", decimal)


def _require_number(value: Any) -> None:
    if isinstance(value, bool):
        raise UserError(f"the source has numbers there; found {_spelled(value)}.")


def _finite(value: Any) -> Any:
    """The value itself, where a line of JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"expected a finite number; found {value!r}.")
    return value


def _spelled(value: Any) -> str:
    """A value as JSON spells it."""
    return str(value).lower() if isinstance(value, bool) else repr(value)
