"""What users did since the snapshot: told to the server, on the disk, counted at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.serving.landing import KEY
from recsys_dagster.serving.opened import OpenSnapshot

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

WHOLE = ("BIGINT", "INTEGER", "UBIGINT", "UINTEGER", "HUGEINT", "SMALLINT")
FRACTIONS = ("DOUBLE", "FLOAT")
OURS = ("user_id", "item_id", "weight", "timestamp", "event")


@dataclass(frozen=True)
class SourceColumns:
    """How the catalog's own source spells what we call user_id, item_id, weight and so on.

    Attributes:
        names: our name → the source's.
        types: our name → its DuckDB type there.
        timestamp_format: of texts, as in Python; None for ISO 8601.
        decimal: the sign before decimals of texts.
    """

    names: Mapping[str, str]
    types: Mapping[str, str]
    timestamp_format: str | None
    decimal: str | None

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "SourceColumns":
        """Those of a snapshot."""
        interactions = manifest["settings"]["interactions"]
        found = manifest["interaction_columns"]
        return cls(
            {ours: each["name"] for ours, each in found.items()},
            {ours: each["type"] for ours, each in found.items()},
            interactions["timestamp_format"],
            interactions["decimal"],
        )

    def row(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """A row as the source would have it: its names, and its types where JSON has them.

        Types matter, because files that disagree about one are read again at every refresh.

        Args:
            told: by our names, timestamp a datetime with a zone; whatever else is kept as it is.
        """
        own = {self.names.get(name, name): self._value(name, told[name]) for name in told}
        return {name: value for name, value in own.items() if value is not None}

    def _value(self, ours: str, value: Any) -> Any:
        kind = self.types.get(ours, "")
        if isinstance(value, datetime):
            utc = value.astimezone(UTC)
            if kind in (*WHOLE, *FRACTIONS):
                return int(utc.timestamp()) if kind in WHOLE else utc.timestamp()
            text = utc.replace(tzinfo=None)
            return text.strftime(self.timestamp_format) if self.timestamp_format else _iso(text)
        if kind in WHOLE and isinstance(value, str) and value.lstrip("-").isdigit():
            return int(value)
        if kind == "VARCHAR" and isinstance(value, int | float):
            return f"{value}".replace(".", self.decimal or ".")
        return value


def _iso(time: datetime) -> str:
    return time.isoformat(sep=" ", timespec="milliseconds")


class LiveHistories:
    """Rows of users that the snapshot may not have yet, by user; safe for threads.

    A row leaves when a snapshot's history of the user has its item with that time or a later one,
    so that a row that a refresh has read is not counted twice.
    """

    def __init__(self, catalog: Catalog, columns: SourceColumns) -> None:
        self._catalog, self._columns = catalog, columns
        self._rows: dict[str, list[Mapping[str, Any]]] = {}
        self._made: dict[str, tuple[str, int, pa.Table]] = {}
        self._lock = Lock()

    def typed(self, rows: Sequence[Mapping[str, Any]]) -> "tuple[pd.DataFrame, pd.DataFrame]":
        """Rows as a run would type them, and those that it would reject with the reasons.

        Args:
            rows: as they land.

        Raises:
            UserError: a column that the catalog needs is in none of them.
        """
        import pandas as pd

        from recsys_dagster.steps.prepare.interactions import type_interactions

        raw = pd.DataFrame([dict(row) for row in rows]).drop(columns=KEY, errors="ignore")
        for name in self._columns.names.values():
            if name not in raw:
                raw[name] = None  # a column of the source that no row says anything in
        raw.insert(0, "source_error", pd.Series(None, index=raw.index, dtype="str"))
        raw.insert(0, "source_row", np.arange(1, len(raw) + 1))
        raw.insert(0, "source_file", pd.Series(None, index=raw.index, dtype="str"))
        now = pd.Timestamp.now("UTC").tz_localize(None)
        found = type_interactions(raw, self._catalog.interactions, now)
        return found.kept, found.rejected

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Count rows from now on."""
        name = self._columns.names.get("user_id", "user_id")
        with self._lock:
            for row in rows:
                user = row.get(name)
                if user is not None:
                    self._rows.setdefault(str(user), []).append(row)

    def has(self, user_id: str) -> bool:
        """Whether anything was told of the user that may not be in the snapshot."""
        return user_id in self._rows

    def of(self, user_id: str, snapshot: OpenSnapshot) -> "pa.Table | None":
        """The user's history with what they did since; None where there is nothing since.

        Args:
            user_id: whose.
            snapshot: what is known of before.

        Returns:
            one row with the columns of `schemas.HISTORIES`.
        """
        rows = self._rows.get(user_id)
        if not rows:
            return None
        made = self._made.get(user_id)
        if made is not None and made[:2] == (snapshot.name, len(rows)):
            return made[2]
        history = self._continued(user_id, list(rows), snapshot)
        if history is not None:
            with self._lock:
                self._made[user_id] = (snapshot.name, len(rows), history)
        return history

    def forget_known(self, snapshot: OpenSnapshot) -> None:
        """Drop what a new snapshot has counted."""
        for user_id in list(self._rows):
            rows = list(self._rows[user_id])
            if self._since(user_id, rows, snapshot) is None:
                with self._lock:
                    # Rows that came in between are kept.
                    left = self._rows[user_id][len(rows) :]
                    self._rows.pop(user_id)
                    if left:
                        self._rows[user_id] = left
                    self._made.pop(user_id, None)

    def _continued(
        self, user_id: str, rows: Sequence[Mapping[str, Any]], snapshot: OpenSnapshot
    ) -> "pa.Table | None":
        from recsys_dagster.steps.prepare.continued import continued_history

        since = self._since(user_id, rows, snapshot)
        if since is None:
            return None
        known = snapshot.history_row(user_id)
        return continued_history(known, since, self._catalog.interactions, self._catalog.users)

    def _since(
        self, user_id: str, rows: Sequence[Mapping[str, Any]], snapshot: OpenSnapshot
    ) -> "pd.DataFrame | None":
        """Typed rows that the snapshot has not counted; None where it has all."""
        try:
            kept, _ = self.typed(rows)
        except UserError:
            return None  # rows of before the catalog's settings changed
        history = snapshot.history(user_id)
        kept = kept[kept["user_id"] == user_id]
        if history is not None:
            last = dict(zip(history.item_ids.tolist(), history.last_timestamps, strict=True))
            times = kept["timestamp"].to_numpy(dtype="datetime64[us]")
            counted = [
                item in last and (np.isnat(time) or last[item] >= time)
                for item, time in zip(kept["item_id"], times, strict=True)
            ]
            kept = kept[~np.array(counted, dtype=bool)]
        return kept if len(kept) else None
