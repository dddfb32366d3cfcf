"""Raw items → one row an item, and every rejected row with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from recsys_dagster.steps.columns import as_found, as_ids, find_column, require_column
from recsys_dagster.steps.texts import clean_text


@dataclass(frozen=True)
class ParsedItems:
    """Accepted items and rejected rows: raw = accepted + merged + rejected.

    Attributes:
        accepted: table `items` with the source's other columns, sorted by item_id.
        rejected: table `rejected_items`.
        merged: rows that said the same as an accepted one.
    """

    accepted: pd.DataFrame
    rejected: pd.DataFrame
    merged: int


def parse_items(raw: pd.DataFrame, *, columns: Mapping[str, str]) -> ParsedItems:
    """Validate raw items and keep one row an item_id: the last one of the source.

    Args:
        raw: the source's columns and `source_row`.
        columns: explicit source names of item_id and title.

    Raises:
        UserError: no column is known as item_id.
    """
    names = [name for name in raw.columns if name != "source_row"]
    item_column = require_column("item_id", names, columns, "raw_items")
    title_column = find_column("title", names, columns, "raw_items")

    item_id = as_ids(raw[item_column])
    rows = raw.drop(columns=[item_column, "source_row"]).assign(item_id=item_id)
    as_text = rows.astype("str")
    content = as_text.groupby(list(as_text.columns), sort=False, dropna=False).ngroup()
    last_content = content.groupby(item_id).transform("last")
    is_last = ~item_id.duplicated(keep="last")

    reason = pd.Series(pd.NA, index=raw.index, dtype="str")
    reason = reason.mask(item_id.isna(), "item_id is missing or blank")
    differs = item_id.notna() & ~is_last & (content != last_content)
    reason = reason.mask(differs, "a later row has the same item_id and other values")
    is_accepted = item_id.notna() & is_last
    accepted = rows[is_accepted]
    title = (
        raw[title_column][is_accepted].map(clean_text)
        if title_column
        else pd.Series("", index=accepted.index)
    )
    others = [name for name in names if name not in (item_column, "item_id", "title")]
    accepted = (
        accepted.assign(title=title.where(title.ne(""), accepted["item_id"]).astype("str"))[
            ["item_id", "title", *others]
        ]
        .sort_values("item_id")
        .reset_index(drop=True)
    )
    rejected = pd.DataFrame(
        {
            "source_row": raw["source_row"],
            "reason": reason,
            "item_id": as_found(raw[item_column]),
            "title": as_found(raw[title_column])
            if title_column
            else pd.Series(pd.NA, index=raw.index, dtype="str"),
        }
    )[reason.notna()].reset_index(drop=True)
    return ParsedItems(accepted, rejected, merged=len(raw) - len(accepted) - len(rejected))
