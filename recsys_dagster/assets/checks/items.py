"""Items: unique, mostly accepted, to be had, not far fewer than those published, known of."""

import dagster as dg
import pandas as pd

from recsys_dagster.assets.checks.common import (
    CatalogsParam,
    Checked,
    accepted_share,
    keys_unique,
    not_fallen,
    said_by,
    table_check,
)
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.steps.prepare.id_matching import explain_mismatch
from recsys_dagster.steps.prepare.soundness import known_share, some_available


@table_check("items")
def items_keys_unique(
    context: dg.AssetCheckExecutionContext,
    recsys_catalogs: CatalogsParam,
    recsys_warehouse: Warehouse,
) -> dg.AssetCheckResult:
    """There are items, one row each."""
    return keys_unique(Checked.of(context, recsys_catalogs, recsys_warehouse), "items")


@table_check("items")
def items_accepted_share(
    context: dg.AssetCheckExecutionContext,
    recsys_catalogs: CatalogsParam,
    recsys_warehouse: Warehouse,
) -> dg.AssetCheckResult:
    """Most rows of the source are accepted: otherwise a column was misread."""
    return accepted_share(Checked.of(context, recsys_catalogs, recsys_warehouse), "items")


@table_check("items")
def items_some_available(
    context: dg.AssetCheckExecutionContext,
    recsys_catalogs: CatalogsParam,
    recsys_warehouse: Warehouse,
) -> dg.AssetCheckResult:
    """Some items are available: otherwise every list is empty."""
    checked = Checked.of(context, recsys_catalogs, recsys_warehouse)
    items, available = checked.numbers("select count(*), count(*) filter (available) from items")
    return said_by(some_available(items, available))


@table_check("items")
def items_not_fallen(
    context: dg.AssetCheckExecutionContext,
    recsys_catalogs: CatalogsParam,
    recsys_warehouse: Warehouse,
    recsys_snapshots: SnapshotStore,
) -> dg.AssetCheckResult:
    """Items are not far fewer than those of the published snapshot: otherwise the source was read
    while it was being written, or a part of it is missing.
    """
    checked = Checked.of(context, recsys_catalogs, recsys_warehouse)
    (items,) = checked.numbers("select count(*) from items")
    return not_fallen(checked, recsys_snapshots, {"items": items})


@table_check("items")
def interactions_know_items(
    context: dg.AssetCheckExecutionContext,
    recsys_catalogs: CatalogsParam,
    recsys_warehouse: Warehouse,
) -> dg.AssetCheckResult:
    """Interactions are with items of the catalogue: otherwise the two tables write ids differently.

    Items that the catalogue lacks are learned from and never recommended; a few are a warning.
    """
    checked = Checked.of(context, recsys_catalogs, recsys_warehouse)
    least = checked.catalog.checks.known_share
    if not checked.has("interactions"):
        return dg.AssetCheckResult(passed=True, description="there are no interactions yet")
    (pairs,) = checked.numbers("select count(*) from interactions")
    rows = checked.rows(
        "select item_id, count(*) from interactions anti join items using (item_id) "
        "group by item_id order by item_id"
    )
    unknown = pd.Series(dict(rows), dtype="int64")
    explanation = None
    if pairs and 1 - unknown.sum() / pairs < least:
        known = [item_id for (item_id,) in checked.rows("select item_id from items")]
        explanation = explain_mismatch(
            unknown, pd.Series(known, dtype="str"), none_matches=bool(unknown.sum() == pairs)
        )
    return said_by(known_share(pairs, int(unknown.sum()), len(unknown), least, explanation))
