"""Ids of users, items and events: text without what nobody sees, null where nobody is meant."""

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from recsys_dagster.errors import UserError

MISSING_WORDS = frozenset(
    ["\\N", "NULL", "null", "None", "nan", "NaN", "NaT", "<NA>", "NA", "N/A", "#N/A", "undefined"]
)
"""How programs write that there is no value. Taken for an id, each would be one user or item to
whom everything of everybody unknown belongs."""
UNSEEN = "\0\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
"""Soft hyphens, joiners, marks of direction and byte order: dirt where they are around an id."""
TRIMMED = UNSEEN + "".join(filter(str.isspace, map(chr, range(0x3001))))


INEXACT = "is a number too large to be exact: keep ids as text or as whole numbers"


def as_ids(values: pd.Series) -> pd.Series:
    r"""Ids as text without surrounding white space; missing and blank ones become null.

    Whole numbers lose a trailing ".0": a column of integers with one null arrives as floats, and
    one of decimals as `7.00`. A word for a missing value, such as NULL or \N, is none.
    """
    text = _trimmed(values)
    return text.where(~text.isin(["", *MISSING_WORDS])).astype("str")


def are_missing_words(values: pd.Series) -> pd.Series:
    """Whether each id is a word that programs write where there is no value."""
    return _trimmed(values).isin(MISSING_WORDS)


def are_inexact(values: pd.Series) -> pd.Series:
    """Whether each id is a float so large that several whole numbers are the same one."""
    if pd.api.types.is_float_dtype(values):
        bits = {2: 11, 4: 24}.get(np.dtype(str(values.dtype).lower()).itemsize, 53)
        known = values.to_numpy("float64", na_value=np.nan)
        return pd.Series(np.isfinite(known) & (np.abs(known) >= 2**bits), index=values.index)
    if pd.api.types.is_object_dtype(values):
        return values.map(
            lambda value: isinstance(value, float) and 2**53 <= abs(value) < np.inf
        ).astype(bool)
    return pd.Series(False, index=values.index)


def refuse_no_ids(values: pd.Series, ours: str, table: str) -> None:
    """Stop at a column whose values cannot be ids: lists, structures, yes and no.

    Args:
        values: the source's column.
        ours: user_id or item_id.
        table: raw_interactions, raw_items or raw_users.

    Raises:
        UserError: they cannot.
    """
    first = next(iter(values.dropna().head(1)), None)
    here = f"{table}: the column {str(values.name)!r}, taken as {ours}, holds"
    if isinstance(first, dict):
        names = list(first)
        field = next((name for name in (ours, "id", "key") if name in first), names[0])
        raise UserError(
            f"{here} structures with {', '.join(map(repr, names))}. Name the field that is the id "
            f"under columns: {{{ours}: {values.name}.{field}}}."
        )
    if isinstance(first, list | tuple | set | np.ndarray):
        raise UserError(
            f"{here} lists. Make a row of each of their parts with a query: source: {{sql: "
            f'"select * exclude ({values.name}), unnest({values.name}) as {ours} from …"}}.'
        )
    if isinstance(first, bool | np.bool_):
        raise UserError(
            f"{here} true and false, which tell nobody from anybody. Name another column under "
            f"columns: {{{ours}: …}}."
        )


def _trimmed(values: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(values):
        whole = (values % 1 == 0) & (values.abs() < 2**63)
        text = values.astype("str").where(~whole, values.where(whole).astype("Int64").astype("str"))
    elif pd.api.types.is_object_dtype(values):
        text = values.map(_text, na_action="ignore").astype("str")
    else:
        text = values.astype("str")
    return text.where(values.notna()).astype("str").str.strip(TRIMMED)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return str(int(value))
    if isinstance(value, float) and abs(value) < 2**63 and value.is_integer():
        return str(int(value))
    return str(value)
