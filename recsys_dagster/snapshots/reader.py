"""Reading what is published: lists, histories, neighbours, items, straight from the files."""

import glob
import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys_dagster.errors import UnknownNameError, UserError, nearest
from recsys_dagster.snapshots.current import manifest_of, required_name
from recsys_dagster.snapshots.remote import Folder, here
from recsys_dagster.sql import in_memory

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import pyarrow as pa

    from recsys_dagster.snapshots.fold_in import FoldIn

TABLES = (
    "recommendations",
    "histories",
    "item_neighbours",
    "item_map",
    "popular_items",
    "items",
)
MODEL, ARRAYS = "model", "arrays.safetensors"
"""The folder in a snapshot that holds the model which made its lists, and the file in it."""


@dataclass(frozen=True)
class Reason:
    """A history item that contributed to a recommendation."""

    item_id: str
    title: str
    share: float


@dataclass(frozen=True)
class Row:
    """A recommended item, as people and programs read it."""

    item_id: str
    title: str
    score: float
    rank: int
    strategy: str
    because: list[Reason]


@dataclass(frozen=True)
class ItemColumns:
    """The catalogue, column by column.

    Attributes:
        item_ids: object (items,), str.
        titles: object (items,), str.
        categories: object (items,), str, empty where an item has none.
        age_days: float64 (items,), days before the newest interaction; NaN where unknown, and
            where an item cannot be recommended.
    """

    item_ids: "np.ndarray"
    titles: "np.ndarray"
    categories: "np.ndarray"
    age_days: "np.ndarray"


@dataclass(frozen=True)
class History:
    """What is known of a user, item by item, the oldest first.

    Attributes:
        item_ids: object (items,), str; those that the catalogue lacks are here too.
        positives: bool (items,), whether each is positive.
        left_out: bool (items,), seen, but not learned from, by a minimum.
        weights: float32 (items,), decayed by age.
        recencies: float32 (items,), 1 / (1 + later positives); NaN where an item is not positive.
        last_timestamps: datetime64[us] (items,), UTC; NaT where unknown.
    """

    item_ids: "np.ndarray"
    positives: "np.ndarray"
    left_out: "np.ndarray"
    weights: "np.ndarray"
    recencies: "np.ndarray"
    last_timestamps: "np.ndarray"

    @classmethod
    def of(cls, row: "pa.Table") -> "History":
        """That of a row of the table `histories`."""
        item_ids, *numbers = (
            row[each.name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            for each in fields(cls)
        )
        types = ("bool", "bool", "float32", "float32", "datetime64[us]")
        typed = (values.astype(type_) for values, type_ in zip(numbers, types, strict=True))
        return cls(item_ids, *typed)


@dataclass(frozen=True)
class MapColumns:
    """Items on a plane, column by column: what is near has a similar vector.

    Attributes:
        item_ids: object (items,), str; items without a vector have no place.
        x: float64 (items,), from -1 to 1.
        y: float64 (items,), in the same scale.
    """

    item_ids: "np.ndarray"
    x: "np.ndarray"
    y: "np.ndarray"


@dataclass(frozen=True)
class Snapshot:
    """A published snapshot, read through DuckDB from its Parquet files.

    Attributes:
        path: its folder.
        manifest: run, counts, checksums and settings.
    """

    path: Path
    manifest: Mapping[str, Any]

    @classmethod
    def current(cls, folder: Folder, catalog: str) -> "Snapshot":
        """The snapshot that a catalog serves now; fetched where it lies elsewhere.

        Raises:
            UserError: the catalog has published nothing yet, or what it published is gone or
                of another format, or cannot be fetched.
        """
        return cls.named(folder, catalog, required_name(folder, catalog))

    @classmethod
    def named(cls, folder: Folder, catalog: str, name: str) -> "Snapshot":
        """A snapshot of a catalog by its own name; fetched where it lies elsewhere.

        Raises:
            UserError: there is no such snapshot, it is of another format, or cannot be fetched.
        """
        manifest = manifest_of(folder, catalog, name)
        path = here(folder) / catalog / name
        if not isinstance(folder, Path):
            folder.bring(f"{catalog}/{name}", lambda copy: cls(copy, manifest).verify())
        return cls(path, manifest)

    def verify(self) -> None:
        """Compare every file with the manifest.

        Raises:
            UserError: a file is missing or is not what was published.
        """
        files = {f"{table}.parquet": each for table, each in self.manifest["files"].items()}
        files[f"{MODEL}/{ARRAYS}"] = self.manifest["model"]
        for name, expected in files.items():
            path = self.path / name
            if not path.is_file():
                raise UserError(f"{path}: the file is missing from the snapshot.")
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != expected["sha256"]:
                raise UserError(
                    f"{path}: the file is not what was published: SHA-256 {found}, expected "
                    f"{expected['sha256']}."
                )

    def recommend(self, user_id: str, n: int) -> list[Row]:
        """A user's first n rows; an unknown user gets the popular items."""
        rows = self._query(
            """
            select r.item_id, i.title, r.score, r.rank, r.strategy, r.because
            from read_parquet($recommendations) as r join read_parquet($items) as i using (item_id)
            where r.user_id = $user_id and r.rank <= $n order by r.rank
            """,
            user_id=user_id,
            n=n,
        )
        return self._rows(rows) if rows else self.popular(n)

    def fold_in(
        self,
        history: Sequence[str],
        weights: Sequence[float] | None = None,
        times: Sequence[datetime] | None = None,
        text: str | None = None,
        n: int = 20,
    ) -> list[Row]:
        """The list of somebody whom no run has seen: the rows that a run would give them.

        The model is loaded at the first call. A text alone gives what it is similar to, and
        neither gives what is popular. What they saw and did not like cannot be told: a run leaves
        it out, and here it may be in the list. What is in the history never is.

        Args:
            history: what they like, item_ids or else titles. The weights of an item that is
                repeated add up, and its newest time counts.
            weights: how much each counts, as in the table interactions; all alike where left out.
            times: when each was, UTC where there is no zone. The order is not known where left out;
                strategies that go by nothing else take it as given, from the oldest on.
            text: who they are or what they look for, in words; it is encoded as profiles are.
            n: rows, at least 1; fewer are given where nothing is left.

        Returns:
            best first; a row says which strategy ranked it: the model's own, `content` for a text,
            or `popular` for what was filled in, and up to three items of the history as reasons.

        Raises:
            UserError: an item that is not known, numbers that do not fit, a snapshot without its
                model, or a text that its encoder cannot be asked for.
        """
        return self._fold_in.rows(history, weights, times, text, n)

    @cached_property
    def _fold_in(self) -> "FoldIn":
        from recsys_dagster.snapshots.fold_in import FoldIn

        return FoldIn(self)

    @property
    def model_folder(self) -> Path:
        """Where the model lies that made the lists."""
        return self.path / MODEL

    def items(self) -> ItemColumns:
        """The catalogue."""
        found = self._columns(
            "select item_id, i.title, coalesce(i.category, '') as category, "
            "coalesce(age_days, 'nan'::double) as age_days from read_parquet($items) as i "
            "left join read_parquet($popular_items) as p using (item_id)"
        )
        return ItemColumns(*(found[name] for name in ("item_id", "title", "category", "age_days")))

    def text_of(self, item_id: str) -> str | None:
        """The text of an item that was encoded; None where there is no such item."""
        found = self._query(
            "select text from read_parquet($items) where item_id = $item_id", item_id=item_id
        )
        return found[0][0] if found else None

    def item_map(self) -> MapColumns:
        """Where items lie on a plane."""
        found = self._columns("select item_id, x, y from read_parquet($item_map)")
        return MapColumns(*(found[name] for name in ("item_id", "x", "y")))

    def history(self, user_id: str) -> History | None:
        """What a user had when the snapshot was made, empty where they only have a profile.

        None where the user is not known.
        """
        row = self._table(
            "select item_ids, positives, left_out, weights, recencies, last_timestamps "
            "from read_parquet($histories) where user_id = $user_id",
            user_id=user_id,
        )
        return History.of(row) if row.num_rows else None

    def recommendable(self) -> list[str]:
        """The items that lists may hold, the most popular first."""
        rows = self._query("select item_id from read_parquet($popular_items) order by rank")
        return [item_id for (item_id,) in rows]

    def knows(self, user_id: str) -> bool:
        """Whether the user has a list of their own."""
        return bool(
            self._query(
                "select 1 from read_parquet($recommendations) where user_id = $user_id limit 1",
                user_id=user_id,
            )
        )

    def some_users(self, n: int) -> list[str]:
        """A few users who have a list, the same ones every time."""
        rows = self._query(
            "select user_id from read_parquet($recommendations) where rank = 1 "
            "order by hash(user_id), user_id limit $n",
            n=n,
        )
        return [user_id for (user_id,) in rows]

    def popular(self, n: int) -> list[Row]:
        """The n most popular items."""
        rows = self._query(
            """
            select p.item_id, i.title, p.score, p.rank, 'popular', []
            from read_parquet($popular_items) as p join read_parquet($items) as i using (item_id)
            where p.rank <= $n order by p.rank
            """,
            n=n,
        )
        return self._rows(rows)

    def similar(self, item: str, n: int) -> list[Row]:
        """An item's n nearest neighbours.

        Args:
            item: an item_id, or else a title.
            n: rows.

        Raises:
            UnknownNameError: there is no such item.
            UserError: several have that title.
        """
        item_id, title = self.find_item(item)
        rows = self._query(
            """
            select s.neighbour_item_id, i.title, s.similarity, s.rank, 'similar_items', []
            from read_parquet($item_neighbours) as s
            join read_parquet($items) as i on i.item_id = s.neighbour_item_id
            where s.item_id = $item_id and s.rank <= $n order by s.rank
            """,
            item_id=item_id,
            n=n,
        )
        reason = Reason(item_id, title, 1.0)
        return [Row(*row[:5], because=[reason]) for row in rows]

    def find_item(self, item: str) -> tuple[str, str]:
        """The item_id and title of an item given by its id or, in any case, its title.

        Raises:
            UnknownNameError: there is no such item.
            UserError: several have that title.
        """
        found = self._query(
            "select item_id, title from read_parquet($items) "
            "where item_id = $item or lower(title) = lower($item) "
            "order by item_id = $item desc, item_id limit 5",
            item=item,
        )
        if found and (len(found) == 1 or found[0][0] == item):
            return found[0]
        if found:
            raise several_items(item, [item_id for item_id, _ in found])
        names = self._query("select item_id, title from read_parquet($items)")
        raise unknown_item(item, names, self.manifest["catalog"])

    def _rows(self, rows: Sequence[tuple[Any, ...]]) -> list[Row]:
        wanted = list({reason["item_id"] for row in rows for reason in row[5]})
        titles = dict(
            self._query(
                "select item_id, title from read_parquet($items) "
                "where list_contains($wanted, item_id)",
                wanted=wanted,
            )
            if wanted
            else []
        )
        return [
            Row(
                *row[:5],
                because=[
                    Reason(
                        reason["item_id"],
                        titles.get(reason["item_id"], reason["item_id"]),
                        reason["share"],
                    )
                    for reason in row[5]
                ],
            )
            for row in rows
        ]

    def _query(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        with self._connected() as connection:
            return connection.execute(sql, parameters | self._paths(sql)).fetchall()

    def _table(self, sql: str, **parameters: Any) -> "pa.Table":
        with self._connected() as connection:
            return connection.sql(sql, params=parameters | self._paths(sql)).to_arrow_table()

    def _columns(self, sql: str) -> dict[str, Any]:
        with self._connected() as connection:
            return connection.execute(sql, self._paths(sql)).fetchnumpy()

    @contextmanager
    def _connected(self) -> "Generator[duckdb.DuckDBPyConnection]":
        """A connection; where it fails, files that are not what was published are named.

        Raises:
            UserError: the snapshot is damaged.
        """
        import duckdb

        try:
            with in_memory() as connection:
                yield connection
        except duckdb.Error:
            try:
                self.verify()
            except UserError as damage:
                again = f"recsys run {self.manifest['catalog']}"
                raise UserError(f"{damage} Publish again, with: {again}") from None
            raise

    def _paths(self, sql: str) -> dict[str, str]:
        # Escaped, because DuckDB reads paths as patterns.
        return {
            table: glob.escape(str(self.path / f"{table}.parquet"))
            for table in TABLES
            if f"${table})" in sql
        }


def unknown_item(item: str, names: Sequence[tuple[str, str]], catalog: str) -> UnknownNameError:
    """The error of somebody who asks for an item that there is not.

    Args:
        item: what they wrote.
        names: item_id and title of every item.
        catalog: whose items they are.
    """
    title_of = {title: item_id for item_id, title in names}
    near = [f"{title_of[title]} ({title})" for title in nearest(item, title_of)]
    near += [item_id for item_id in nearest(item, dict(names)) if not near]
    return UnknownNameError(
        f"There is no item {item!r} in {catalog!r}."
        + (f" Nearest: {'; '.join(near)}." if near else " No name is near it.")
    )


def several_items(title: str, item_ids: Sequence[str]) -> UserError:
    """The error of somebody who names an item by a title that several have."""
    return UserError(
        f"Several items are titled {title!r}; give one of the ids {', '.join(item_ids)}."
    )
