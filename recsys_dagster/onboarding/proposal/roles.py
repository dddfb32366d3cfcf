"""Which table is which, and the keys that hold them together."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from recsys_dagster.errors import UserError
from recsys_dagster.onboarding.proposal.names import (
    EVENT_NAMES,
    POSITION_NAMES,
    WEIGHT_NAMES,
    Kind,
    is_about,
    is_key_name,
    is_of_an_order,
    key_rank,
    letters,
    place_in,
    words,
)
from recsys_dagster.onboarding.proposal.tables import Column, Table
from recsys_dagster.steps.prepare.shares import percent

NEARLY_UNIQUE = 0.98
REPEATED_KEY = 0.5
"""A table of items may have several rows an item, one a language for example; not many."""
MIN_SHARED = 0.1
"""Of the keys of interactions in a table whose column has the name of such a key."""
MOSTLY_SHARED = 0.8
"""The same where the name says nothing; half of it where the table's name does."""
MIN_USERS = 6
"""Fewer different values, in a column whose name says nothing, are ratings or categories."""


@dataclass(frozen=True)
class Parent:
    """The table that a key points to: one row, or few, for each of its values."""

    table: Table
    column: Column
    shared: float

    @property
    def why(self) -> str:
        """The reason to believe so."""
        return f"{percent(self.shared)} of its values are in {self.table.name}"


@dataclass(frozen=True)
class Roles:
    """What each table is.

    Attributes:
        interactions: the table of who did what with which item.
        user: its column of users.
        item: its column of items.
        user_why: what speaks for the column of users, where its name does not.
        item_why: the same for items.
        items: the table of items, where there is one.
        users: the table of users, where there is one.
        similar: names of other tables that have users and items.
    """

    interactions: Table
    user: Column
    item: Column
    user_why: str
    item_why: str
    items: Parent | None
    users: Parent | None
    similar: tuple[str, ...]


def find_roles(tables: Sequence[Table]) -> Roles:
    """Find interactions, items and users, by names first, then by values.

    Raises:
        UserError: no table says who did what with which item.
    """
    found = _by_names(tables) or _by_values(tables)
    if found is None:
        raise UserError(_nothing_fits(tables))
    table, user, item, user_why, item_why = found
    others = [other for other in tables if other is not table]
    items = _parent(item, others, "item_id")
    others = [other for other in others if items is None or other is not items.table]
    users = _parent(user, others, "user_id")
    if items is not None and key_rank(item.name, "item_id") is None:
        item_why = item_why or items.why
    taken = [table, *(parent.table for parent in (items, users) if parent is not None)]
    similar = [
        other.name
        for other in tables
        if other not in taken and named_keys(other, "user_id") and named_keys(other, "item_id")
    ]
    return Roles(table, user, item, user_why, item_why, items, users, tuple(similar))


Found = tuple[Table, Column, Column, str, str]


def _by_names(tables: Sequence[Table]) -> Found | None:
    found = [
        (table, user, item)
        for table in tables
        if (user := _best_named(table, "user_id", tables))
        and (item := _best_named(table, "item_id", tables, besides=user))
    ]
    if not found:
        return None
    # Where one of the keys is unique the table is about its users or its items. Pairs are counted
    # rather than rows: splits for evaluation have the same ones several times.
    table, user, item = max(
        found,
        key=lambda one: (
            max(one[1].uniqueness, one[2].uniqueness) < 1.0,
            _pairs(one[1], one[2]) if len(found) > 1 else 0,
            len(one[0].columns),
        ),
    )
    why = _others_named(table, user, "user_id"), _others_named(table, item, "item_id")
    return table, user, item, *why


def _pairs(user: Column, item: Column) -> int:
    ids = pd.DataFrame({"user": user.ids, "item": item.ids})
    return len(ids.dropna().drop_duplicates())


def named_keys(table: Table, kind: Kind) -> list[Column]:
    """The columns whose names and values are those of such a key, best name first."""
    ranked = [(key_rank(column.name, kind), column) for column in table.columns]
    named = [(rank, column) for rank, column in ranked if rank is not None and column.is_key_like]
    return [column for _, column in sorted(named, key=lambda one: one[0])]


def _best_named(
    table: Table, kind: Kind, tables: Sequence[Table], besides: Column | None = None
) -> Column | None:
    keys = [column for column in named_keys(table, kind) if column is not besides]
    if len(keys) > 1:
        others = [other for other in tables if other is not table]
        pointing = [column for column in keys if _parent(column, others, kind)]
        keys = pointing or keys
    return keys[0] if keys else None


def _others_named(table: Table, chosen: Column, kind: Kind) -> str:
    rank = key_rank(chosen.name, kind)
    others = [
        f"`{column.name}`"
        for column in named_keys(table, kind)
        if column is not chosen and (key_rank(column.name, kind) or (9,))[0] <= 3
    ]
    if rank is None or rank[0] <= 1 or not others:
        return ""
    return f"rather than {', '.join(others)}"


def _parent(
    key: Column, tables: Sequence[Table], kind: Kind, named_too: bool = True
) -> Parent | None:
    """The table that a key points to, the one with texts and most of its values first."""
    found: list[tuple[tuple[bool, bool, float, bool, float], Parent]] = []
    for table in tables:
        for column in table.columns:
            named = named_too and (
                key_rank(column.name, kind) is not None or letters(column.name) == letters(key.name)
            )
            if not _may_be_parent(table, column, kind, named):
                continue
            if not named and named_too and not _may_be_nameless(table, column, key, kind):
                continue
            shared, used = key.share_in(column), column.share_in(key)
            if not _shares_enough(table, kind, named, shared, used):
                continue
            has_text = table.has_text_beside(column)
            about = is_about(table.name, kind)
            found.append(
                ((has_text, named, round(shared, 1), about, used), Parent(table, column, shared))
            )
    return max(found, key=lambda one: one[0])[1] if found else None


def _other(kind: Kind) -> Kind:
    return "user_id" if kind == "item_id" else "item_id"


def _may_be_parent(table: Table, column: Column, kind: Kind, named: bool) -> bool:
    if not column.is_key_like or (not named and key_rank(column.name, _other(kind)) is not None):
        return False
    # With keys of both kinds in it, a table says who did what, unless it is one row a key.
    is_about_both = bool(named_keys(table, _other(kind)))
    return column.uniqueness >= (REPEATED_KEY if named and not is_about_both else NEARLY_UNIQUE)


def _may_be_nameless(table: Table, column: Column, key: Column, kind: Kind) -> bool:
    """Whether a column without such a name may be what a key of that kind points to.

    Running numbers are alike in all tables: `tag_id` has the values of `user_id`, too.
    """
    if key_rank(key.name, kind) is None or is_about(table.name, kind):
        return True
    return kind == "item_id" and (len(words(column.name)) == 1 or not is_key_name(column.name))


def _shares_enough(table: Table, kind: Kind, named: bool, shared: float, used: float) -> bool:
    if named:
        return shared >= MIN_SHARED
    if is_about(table.name, kind):
        return shared >= MOSTLY_SHARED / 2
    if is_about(table.name, _other(kind)):
        return False
    # Small numbers, such as ratings, are in every column of row numbers.
    return shared >= MOSTLY_SHARED and used >= MIN_SHARED


@dataclass(frozen=True)
class _Link:
    column: Column
    parent: Parent

    @property
    def strength(self) -> float:
        return self.parent.shared * self.parent.column.share_in(self.column)


def _by_values(tables: Sequence[Table]) -> Found | None:
    """Keys of which at least one is told by the values it shares with another table."""
    found = [pair for table in tables if (pair := _linked_pair(table, tables))]
    return max(found, key=lambda one: one[0].rows, default=None)


def _linked_pair(table: Table, tables: Sequence[Table]) -> Found | None:
    others = [other for other in tables if other is not table]
    links = _links(table, others)
    users = named_keys(table, "user_id")
    items = named_keys(table, "item_id")
    if users:
        links = [link for link in links if link.column is not users[0]]
        item = max(links, key=lambda link: link.strength, default=None)
        return None if item is None else (table, users[0], item.column, "", item.parent.why)
    # A link to a table with users of its own, such as orders, leads to users, and is none.
    links = [link for link in links if not named_keys(link.parent.table, "user_id")]
    if items:
        links = [link for link in links if link.column is not items[0]]
        user = max(links, key=lambda link: link.strength, default=None)
        return None if user is None else (table, user.column, items[0], user.parent.why, "")
    if not links:
        return None
    item = max(
        links,
        key=lambda link: (link.parent.table.has_text_beside(link.parent.column), link.strength),
    )
    rest = [link for link in links if link.parent.table is not item.parent.table]
    if rest:
        user = max(rest, key=lambda link: link.strength)
        return table, user.column, item.column, user.parent.why, item.parent.why
    left = _left_over(table, item.column)
    if left is None:
        return None
    why = "of the other columns it has the most different values that come back"
    return table, left, item.column, why, item.parent.why


def _links(table: Table, others: Sequence[Table]) -> list[_Link]:
    """The strongest link to each table that a column of this one points to."""
    strongest: dict[int, _Link] = {}
    for column in table.columns:
        if not _may_point(column):
            continue
        for other in others:
            parent = _parent(column, [other], "item_id", named_too=False)
            if parent is None:
                continue
            link = _Link(column, parent)
            known = strongest.get(id(other))
            if known is None or link.strength > known.strength:
                strongest[id(other)] = link
    return list(strongest.values())


def _may_point(column: Column) -> bool:
    says_something_else = any(
        place_in(column.name, names) is not None
        for names in (WEIGHT_NAMES, POSITION_NAMES, EVENT_NAMES)
    )
    return (
        column.is_key_like
        and column.uniqueness < 1.0
        and not says_something_else
        and not is_of_an_order(column.name)
    )


def _left_over(table: Table, item: Column) -> Column | None:
    columns = [
        column
        for column in table.columns
        if column is not item and _may_point(column) and column.distinct >= MIN_USERS
    ]
    return max(columns, key=lambda column: column.distinct, default=None)


def _nothing_fits(tables: Sequence[Table]) -> str:
    lines = ["No table says who did what with which item. Found:"]
    lines += [f"  {table.name}: {', '.join(table.names) or 'no column'}" for table in tables]
    lines.append(
        "Needed: one table with a column of users (user_id, CustomerID, reviewer, …) and a column "
        "of items (item_id, StockCode, movieId, …), and one with the items and their texts. "
        "Rename columns, or write the YAML file by hand (see Use your own tables in the README)."
    )
    return "\n".join(lines)
