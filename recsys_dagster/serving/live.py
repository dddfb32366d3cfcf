"""What users did since the snapshot: told to the server, on the disk, counted at once."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.serving.landing import KEY
from recsys_dagster.serving.opened import OpenSnapshot
from recsys_dagster.serving.source_columns import SourceColumns

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def typed(
    rows: Sequence[Mapping[str, Any]], columns: SourceColumns, catalog: Catalog
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Rows as a run would type them, and those that it would reject with the reasons.

    Args:
        rows: as they land.
        columns: of the source.
        catalog: what they mean.

    Returns:
        `TypedInteractions.kept`, its index the places in `rows`; and `rejected`, `source_row` the
        place from 1.
    """
    import pandas as pd

    from recsys_dagster.steps.prepare.interactions import type_interactions

    raw = pd.DataFrame([dict(row) for row in rows]).drop(columns=KEY, errors="ignore")
    for name in columns.names.values():
        if name not in raw:
            raw[name] = None  # a column of the source that no row says anything in
    nothing = pd.Series(None, index=raw.index, dtype="str")
    raw.insert(0, "source_error", nothing)
    raw.insert(0, "source_row", np.arange(1, len(raw) + 1))
    raw.insert(0, "source_file", nothing)
    now = pd.Timestamp.now("UTC").tz_localize(None)
    found = type_interactions(raw, catalog.interactions, now)
    return found.kept, found.rejected


@dataclass(frozen=True)
class Since:
    """A user's history with what they did since the snapshot.

    Attributes:
        history: one row with the columns of `schemas.HISTORIES`.
        interactions: how many the snapshot did not have.
    """

    history: "pa.Table"
    interactions: int


class LiveHistories:
    """Typed rows that the snapshot does not have, by user; safe for threads.

    Rows count beside a snapshot that does not say that it has their file, so that none is counted
    twice and none is forgotten between a run's reading and its publishing.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._rows: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self._made: dict[str, tuple[str, int, Since]] = {}
        self._lock = Lock()

    def add(self, files: Iterable[str], kept: "pd.DataFrame") -> None:
        """Count rows from now on.

        Args:
            files: that holds each.
            kept: typed rows, as of `typed`.
        """
        with self._lock:
            for file, row in zip(files, kept.to_dict("records"), strict=True):
                named = {str(name): value for name, value in row.items()}
                self._rows.setdefault(named["user_id"], []).append((file, named))

    def has(self, user_id: str) -> bool:
        """Whether anything was told of the user that is not in the snapshot."""
        return user_id in self._rows

    def of(self, user_id: str, snapshot: OpenSnapshot) -> Since | None:
        """The user's history with what they did since; None where there is nothing since.

        Args:
            user_id: whose.
            snapshot: what is known of before.
        """
        with self._lock:
            told = self._rows.get(user_id, ())
            rows = [row for file, row in told if file not in snapshot.live_files]
        if not rows:
            return None
        made = self._made.get(user_id)
        if made is not None and made[:2] == (snapshot.name, len(rows)):
            return made[2]
        found = Since(self._continued(rows, snapshot.history_row(user_id)), len(rows))
        with self._lock:
            self._made[user_id] = (snapshot.name, len(rows), found)
        return found

    def forget(self, files: Collection[str]) -> None:
        """Drop the rows of files, which a snapshot has now."""
        gone = set(files)
        with self._lock:
            for user_id, rows in list(self._rows.items()):
                left = [(file, row) for file, row in rows if file not in gone]
                if len(left) < len(rows):
                    self._made.pop(user_id, None)
                if left:
                    self._rows[user_id] = left
                else:
                    del self._rows[user_id]

    def _continued(self, rows: Sequence[Mapping[str, Any]], known: "pa.Table") -> "pa.Table":
        import pandas as pd

        from recsys_dagster.steps.prepare.continued import continued_history

        since = pd.DataFrame(rows).astype(
            {
                "user_id": "str",
                "item_id": "str",
                "timestamp": "datetime64[us]",
                "event": "str",
                "weight": "float64",
                "positive": "bool",
            }
        )
        return continued_history(known, since, self._catalog.interactions, self._catalog.users)
