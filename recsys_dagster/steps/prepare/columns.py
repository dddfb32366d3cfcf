"""Which column of a source is which: explicit mapping first, then the names others use."""

from collections.abc import Iterable, Mapping

import pandas as pd

from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.schemas import SOURCE_NAMES

KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "user_id": ("userid", "user"),
    "item_id": ("itemid", "item", "movieid"),
    "weight": ("weight", "value", "rating"),
    "timestamp": ("timestamp", "datetime"),
    "position": ("position",),
    "event": ("event", "eventtype"),
    "title": ("title", "name"),
    "category": ("category",),
    "available": ("available", "isavailable", "instock"),
    "created_at": (
        "createdat",
        "creationtimestamp",
        "addedat",
        "released",
        "releasedate",
        "publishedat",
    ),
}
"""Names of RecTools, RePlay, RecBole, Amazon Personalize and MovieLens, letters only."""


def own_columns(names: Iterable[str]) -> list[str]:
    """The columns that are the source's own, not those that say where a row was read."""
    return [name for name in names if name not in SOURCE_NAMES]


def without_taken(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """The names that are none of those taken, whatever their case.

    The warehouse tells no names apart that only case does, so `Title` cannot stand beside `title`.
    """
    folded = {name.casefold() for name in taken}
    return [name for name in names if name.casefold() not in folded]


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def find_column(
    wanted: str, available: Iterable[str], mapping: Mapping[str, str], table: str
) -> str | None:
    """The source's column for `wanted`, or None where there is none.

    A column of exactly that name wins, then the known names in their order.

    Raises:
        UserError: the mapping names a column that the source lacks, or two columns of the source
            spell the same known name.
    """
    available = list(available)
    if wanted in mapping:
        column = mapping[wanted]
        if column not in available:
            raise UserError(
                f"{table}: the column {column!r}, given as {wanted}, is not in the source."
                f"{did_you_mean(column, available)}"
            )
        return column
    if wanted in available:
        return wanted
    for known in KNOWN_NAMES[wanted]:
        spelled = [column for column in available if _letters(column) == known]
        if len(spelled) > 1:
            raise UserError(
                f"{table}: {wanted} could be {' or '.join(map(repr, spelled))}; say which under "
                f"columns: {{{wanted}: …}}."
            )
        if spelled:
            return spelled[0]
    return None


def require_column(
    wanted: str, available: Iterable[str], mapping: Mapping[str, str], table: str
) -> str:
    """As `find_column`, for a column that must be there.

    Raises:
        UserError: no column of the source is known to be `wanted`.
    """
    available = list(available)
    column = find_column(wanted, available, mapping, table)
    if column is None:
        raise UserError(
            f"{table}: no column is known as {wanted}. Found: {', '.join(map(repr, available))}. "
            f"Name it under columns: {{{wanted}: …}}."
        )
    return column


def as_found(values: pd.Series) -> pd.Series:
    """Values as text for a table of rejects, null staying null."""
    return values.astype("str").where(values.notna()).astype("str")
