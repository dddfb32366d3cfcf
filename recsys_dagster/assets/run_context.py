"""Whose asset is running: the catalog is the first part of every asset key."""

import dagster as dg

from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.settings import Catalog


def catalog_of(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, catalogs: Catalogs
) -> Catalog:
    """The catalog that the running asset or check belongs to."""
    if isinstance(context, dg.AssetCheckExecutionContext):
        keys = {spec.asset_key for spec in context.check_specs}
    else:
        keys = set(context.selected_asset_keys)
    return catalogs[next(iter(keys)).path[0]]
