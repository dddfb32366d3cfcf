"""Raw items → one row an item, and every rejected row with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recsys_dagster.schemas import ITEMS, SOURCE_NAMES
from recsys_dagster.steps.prepare.columns import (
    as_found,
    find_column,
    own_columns,
    require_column,
    without_taken,
)
from recsys_dagster.steps.prepare.ids import (
    INEXACT,
    are_inexact,
    are_missing_words,
    as_ids,
    refuse_no_ids,
)
from recsys_dagster.steps.prepare.numbers import WRITTEN, parse_numbers
from recsys_dagster.steps.prepare.texts import clean_text
from recsys_dagster.steps.prepare.times import parse_timestamps

YES = "true|t|yes|y|on|available|in stock|ja|wahr|oui|vrai|sí|si|sì|sim|tak|да|evet|はい|是"
YES += "|verfügbar|lieferbar|auf lager|disponible|en stock|disponibile|disponível"
YES += "|有货|有貨|在庫あり"
NO = "false|f|no|n|off|unavailable|not available|out of stock|sold out|nein|non|faux|não|nej"
NO += "|nee|nei|nie|нет|hayır|いいえ|否|nicht verfügbar|nicht auf lager|ausverkauft|indisponible"
NO += "|épuisé|rupture de stock|agotado|no disponible|non disponibile|esaurito|esgotado"
NO += "|indisponível|缺货|缺貨|在庫なし|falsch"
AVAILABLE_WORDS = dict.fromkeys(["", *YES.split("|")], True) | dict.fromkeys(NO.split("|"), False)
AVAILABLE_WORDS |= dict.fromkeys(["\\n", "null", "nan", "<na>"], True)
"""Words, folded. Nothing said means available; "none" and "n/a" may be said of a stock, too."""


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
        raw: the source's columns behind those of `schemas.SOURCE`.
        columns: explicit source names of item_id, title, category, available and created_at.

    Raises:
        UserError: no column is known as item_id, or its values cannot be ids.
    """
    names = own_columns(raw.columns)
    item_column = require_column("item_id", names, columns, "raw_items")
    title_column = find_column("title", names, columns, "raw_items")
    category_column = find_column("category", names, columns, "raw_items")
    available_column = find_column("available", names, columns, "raw_items")
    created_column = find_column("created_at", names, columns, "raw_items")
    missing = pd.Series(pd.NA, index=raw.index, dtype="str")
    refuse_no_ids(raw[item_column], "item_id", "raw_items")

    item_id = as_ids(raw[item_column])
    available = parse_available(raw[available_column] if available_column else missing)
    # A date that cannot be read costs an item its freshness, which is no reason to reject it.
    created = parse_timestamps(raw[created_column] if created_column else missing)
    reason = as_found(raw["source_error"])
    reason = reason.mask(
        reason.isna() & are_missing_words(raw[item_column]),
        "item_id is a word for a missing value, such as NULL",
    )
    reason = reason.mask(reason.isna() & item_id.isna(), "item_id is missing or blank")
    reason = reason.mask(reason.isna() & are_inexact(raw[item_column]), f"item_id {INEXACT}")
    reason = reason.mask(
        reason.isna() & available.isna(), "available is not yes, no or a stock count"
    )
    is_sound = reason.isna()

    rows = raw.drop(columns=[item_column, *SOURCE_NAMES]).assign(item_id=item_id)[is_sound]
    as_text = rows.astype("str")
    content = as_text.groupby(list(as_text.columns), sort=False, dropna=False).ngroup()
    last_content = content.groupby(rows["item_id"]).transform("last")
    is_last = ~rows["item_id"].duplicated(keep="last")
    differs = ~is_last & (content != last_content)
    reason.loc[rows.index[differs]] = "a later row has the same item_id and other values"

    accepted = rows[is_last]
    title = raw[title_column].reindex(accepted.index).map(clean_text) if title_column else ""
    category = (
        raw[category_column].reindex(accepted.index).map(clean_text) if category_column else ""
    )
    others = without_taken(names, [item_column, *ITEMS.column_names])
    accepted = accepted.assign(
        title=title,
        category=category,
        available=available[accepted.index],
        created_at=created[accepted.index],
    )
    is_bare = accepted["title"] == ""
    accepted = accepted.assign(
        title=accepted["title"].mask(is_bare, accepted["item_id"]).astype("str"),
        title_source=np.where(is_bare, "item_id", "title"),
        category=accepted["category"].mask(accepted["category"] == "").astype("str"),
        available=accepted["available"].astype(bool),
    )[[*ITEMS.column_names, *others]].sort_values("item_id")
    rejected = pd.DataFrame(
        {
            "source_file": as_found(raw["source_file"]),
            "source_row": raw["source_row"],
            "reason": reason,
            "by_setting": False,
            "item_id": as_found(raw[item_column]),
            "title": as_found(raw[title_column]) if title_column else missing,
        }
    )[reason.notna()]
    return ParsedItems(
        accepted.reset_index(drop=True),
        rejected.reset_index(drop=True),
        merged=len(raw) - len(accepted) - len(rejected),
    )


def parse_available(values: pd.Series) -> pd.Series:
    """Yes, no or a stock count as a nullable boolean; nothing said means available.

    What cannot be read is null.
    """
    words = values.map(clean_text).astype("str").str.casefold()
    stock = parse_numbers(words)
    # Whatever the sign before its decimals is, a count is above zero or it is not.
    for decimal in WRITTEN:
        stock = stock.fillna(parse_numbers(words, decimal))
    read = words.map(AVAILABLE_WORDS).astype("boolean")
    return read.fillna((stock > 0).astype("boolean").mask(stock.isna()))
