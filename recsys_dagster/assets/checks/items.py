"""Items: unique, mostly accepted, not far fewer than those last published, and interacted with."""

import dagster as dg

from recsys_dagster.assets.checks.common import (
    CatalogsParam,
    Checked,
    accepted_share,
    keys_unique,
    not_fallen,
    table_check,
)
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.resources.warehouse import Warehouse


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
    pairs, unknown, unknown_items = checked.numbers(
        "select count(*), count(*) filter (i.item_id is null), "
        "count(distinct x.item_id) filter (i.item_id is null) "
        "from interactions as x left join items as i using (item_id)"
    )
    share = 1 - unknown / pairs if pairs else 0.0
    none_known = pairs > 0 and unknown == pairs
    found = (
        f"{share:.1%} of {pairs:,} interactions are with items of the catalogue, at least "
        f"{least:.0%} expected; {unknown_items:,} items are only in interactions: never recommended"
    )
    if none_known:
        found += (
            "; the two sources write ids differently: see interactions: columns and items: columns "
            "in the YAML"
        )
    elif share < least:
        found += "; add them to the source of items, or lower checks: known_share in the YAML"
    return dg.AssetCheckResult(
        passed=not none_known and share >= least,
        severity=dg.AssetCheckSeverity.ERROR if none_known else dg.AssetCheckSeverity.WARN,
        description=found,
        metadata={
            "known_share": share,
            "expected_share": least,
            "unknown_interactions": unknown,
            "unknown_items": unknown_items,
        },
    )
