"""Accepted items, one row an item, and the rejected rows with reasons."""

from collections.abc import Iterator

import dagster as dg
import pandas as pd

from recsys_dagster.assets.common import IO_MANAGER, OWNERS, TABLE, unless_unchanged
from recsys_dagster.catalogs import Catalogs
from recsys_dagster.metadata import bars, preview
from recsys_dagster.resources.run_context import catalog_of
from recsys_dagster.steps.items import parse_items


@dg.multi_asset(
    outs={
        "items": dg.AssetOut(
            kinds=TABLE,
            owners=OWNERS,
            description="The catalogue: one row an item with its title and the source's columns. "
            "Of several rows with one id the last counts.",
            dagster_type=dg.Any,
            io_manager_key=IO_MANAGER,
        ),
        "rejected_items": dg.AssetOut(
            kinds=TABLE,
            owners=OWNERS,
            description="Rows of the source that were not accepted, each with its reason.",
            dagster_type=dg.Any,
            io_manager_key=IO_MANAGER,
        ),
    }
)
@unless_unchanged
def parse_raw_items(
    context: dg.AssetExecutionContext,
    catalogs: dg.ResourceParam[Catalogs],
    raw_items: pd.DataFrame,
) -> Iterator[dg.Output[pd.DataFrame]]:
    """Validate the raw items and keep one row each."""
    parsed = parse_items(raw_items, columns=catalog_of(context, catalogs).items.columns)
    filled = {
        str(name): float(parsed.accepted[name].notna().sum()) for name in parsed.accepted.columns
    }
    yield dg.Output(
        parsed.accepted,
        "items",
        metadata={
            "raw_rows": len(raw_items),
            "merged_rows": parsed.merged,
            "rejected_rows": len(parsed.rejected),
            "preview": preview(parsed.accepted),
            "plot": bars(filled, "What is known of items", "items with a value"),
        },
    )
    yield dg.Output(
        parsed.rejected,
        "rejected_items",
        metadata={
            "preview": preview(parsed.rejected),
            "plot": bars(
                parsed.rejected["reason"].value_counts().to_dict(),
                "Why rows were rejected",
                "rows",
            ),
        },
    )
