"""Items: mostly accepted, to be had, not far fewer than those published, known of."""

import dagster as dg
import pandas as pd

from recsys_dagster.assets.checks.common import (
    Checked,
    accepted_share,
    not_fallen,
    said_by,
    table_check,
)
from recsys_dagster.steps.prepare.id_matching import explain_mismatch
from recsys_dagster.steps.prepare.soundness import known_share, some_available


@table_check("items")
def items_accepted_share(checked: Checked) -> dg.AssetCheckResult:
    """Most rows of the source are accepted: otherwise a column was misread."""
    return accepted_share(checked, "items")


@table_check("items")
def items_some_available(checked: Checked) -> dg.AssetCheckResult:
    """Some items are available: otherwise every list is empty."""
    items, available = checked.numbers("select count(*), count(*) filter (available) from items")
    return said_by(some_available(items, available))


@table_check("items")
def items_not_fallen(checked: Checked) -> dg.AssetCheckResult:
    """Items are not far fewer than those of the published snapshot: otherwise the source was read
    while it was being written, or a part of it is missing.
    """
    (items,) = checked.numbers("select count(*) from items")
    return not_fallen(checked, {"items": items})


@table_check("items")
def interactions_know_items(checked: Checked) -> dg.AssetCheckResult:
    """Interactions are with items of the catalogue: otherwise the two tables write ids differently.

    Items that the catalogue lacks are learned from and never recommended; a few are a warning.
    """
    min_share = checked.catalog.checks.known_share
    if not checked.has("interactions"):
        return dg.AssetCheckResult(passed=True, description="there are no interactions yet")
    (pairs,) = checked.numbers("select count(*) from interactions")
    rows = checked.rows(
        "select item_id, count(*) from interactions anti join items using (item_id) "
        "group by item_id order by item_id"
    )
    unknown = pd.Series(dict(rows), dtype="int64")
    explanation = None
    if pairs and 1 - unknown.sum() / pairs < min_share:
        known = [item_id for (item_id,) in checked.rows("select item_id from items")]
        explanation = explain_mismatch(
            unknown, pd.Series(known, dtype="str"), none_matches=bool(unknown.sum() == pairs)
        )
    return said_by(known_share(pairs, int(unknown.sum()), len(unknown), min_share, explanation))
