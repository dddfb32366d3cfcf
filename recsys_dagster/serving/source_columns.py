"""Rows as a catalog's own source writes them: its names, its types, its way with times."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from recsys_dagster.errors import UserError, did_you_mean

WHOLE = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?")
FRACTIONS = ("DOUBLE", "FLOAT")
DIGITS = re.compile(r"-?[0-9]+")
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
            written = self._written(name, column, value)
            if written is not None:
                row[column] = written
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

    def _written(self, name: str, column: str, value: Any) -> Any:
        kind = self.types.get(column, "")
        is_whole = WHOLE.fullmatch(kind) is not None
        if isinstance(value, datetime):
            return self._time(value, kind, is_whole)
        if is_whole and isinstance(value, str):
            if not DIGITS.fullmatch(value):
                raise UserError(f"{name}: the source has whole numbers there; found {value!r}.")
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        if is_whole and float(value).is_integer():
            return int(value)
        if kind in FRACTIONS:
            return float(value)
        return f"{value}".replace(".", self.decimal or ".") if kind == "VARCHAR" else value

    def _time(self, time: datetime, kind: str, is_whole: bool) -> Any:
        try:
            utc = time.astimezone(UTC)
        except OverflowError:
            raise UserError(f"{TIME}: {time.isoformat()} is no time that can be counted.") from None
        if is_whole:
            return int(utc.timestamp())
        if kind in FRACTIONS:
            return utc.timestamp()
        if self.timestamp_format:
            return utc.strftime(self.timestamp_format)
        return utc.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")
