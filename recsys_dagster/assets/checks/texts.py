"""Texts: one an item, mostly of its own, and in which script they are written."""

import dagster as dg
import pandas as pd

from recsys_dagster.assets.checks.common import (
    Checked,
    blocking,
    table_check,
    warning,
)
from recsys_dagster.assets.metadata import preview
from recsys_dagster.steps.lists.statistics import script_shares
from recsys_dagster.steps.prepare.shares import expected, percent

SAMPLE = 2_000
"""Texts whose script is looked at: a share is then known to about one part in a hundred."""
LOOKED_AT = 1_000
"""Characters of each of them."""


@table_check("item_texts")
def every_item_has_a_text(checked: Checked) -> dg.AssetCheckResult:
    """One text an item, none of them empty."""
    items, texts, empty, missing = checked.numbers(
        "select (select count(*) from items), (select count(*) from item_texts), "
        "(select count(*) from item_texts where text = ''), "
        "(select count(*) from items anti join item_texts using (item_id))"
    )
    return blocking(
        items == texts and not empty and not missing,
        f"{items:,} items, {texts:,} texts, {empty:,} empty, {missing:,} items without one; "
        "one text an item expected",
        {"items": items, "texts": texts, "empty_texts": empty, "items_without_text": missing},
    )


@table_check("item_texts")
def item_texts_own_share(checked: Checked) -> dg.AssetCheckResult:
    """Most items have a text of their own: where nothing is left of it the title or the id stands
    in, of which an encoder can make little.
    """
    min_share = checked.catalog.checks.text_share
    texts, own, median, long = checked.numbers(
        "select count(*), count(*) filter (not is_fallback), "
        "coalesce(median(length(text)), 0), coalesce(quantile_cont(length(text), 0.95), 0) "
        "from item_texts"
    )
    share = own / texts if texts else 0.0
    found = (
        f"{percent(share, min_share)} of {texts:,} items have a text of their own, at least "
        f"{expected(min_share)} expected; half of the texts are longer than {median:,.0f} "
        f"characters, 5 % longer than {long:,.0f}"
    )
    if share < min_share:
        found += "; name more columns under items: text in the YAML, or lower checks: text_share"
    return warning(
        share >= min_share,
        found,
        {
            "text_share": share,
            "expected_share": min_share,
            "median_length": float(median),
            "length_of_95_percent": float(long),
        },
    )


@table_check("item_texts")
def item_texts_scripts(checked: Checked) -> dg.AssetCheckResult:
    """For people: the scripts that texts are written in. An encoder that does not know one of them
    makes noise of it; a multilingual one is named under `encoder` in the YAML.
    """
    # Ordered by their hash, the first texts are a sample that chance drew, and the same every time.
    texts = checked.rows(
        "select left(text, $characters) from item_texts order by text_hash, item_id limit $texts",
        {"characters": LOOKED_AT, "texts": SAMPLE},
    )
    shares = script_shares(text for (text,) in texts)
    named = ", ".join(f"{script} {percent(share)}" for script, share in shares.items())
    return warning(
        True,
        f"of {len(texts):,} texts: {named or 'nothing'}",
        {
            "texts": len(texts),
            "scripts": preview(
                pd.DataFrame(
                    {
                        "script": list(shares),
                        "share of texts": [percent(share) for share in shares.values()],
                    }
                )
            ),
        },
    )
