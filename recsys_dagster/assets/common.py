"""What the assets that are tables have in common: nothing is made again that would be the same."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from recsys_dagster.catalog import Catalog
from recsys_dagster.resources.run_context import catalog_of
from recsys_dagster.resources.warehouse import (
    DATA_VERSION,
    Warehouse,
    memory_of,
    to_arrow,
    with_memory,
)
from recsys_dagster.versions import code_version, content_digest, digest

OWNERS = ["team:recommendations"]
TABLE = {"duckdb", "table"}
"""Kinds of an asset that is a table in the warehouse."""
IO_MANAGER = "recsys_io_manager"
"""A name of its own: a project that this is merged into has an `io_manager` already."""
MADE_FROM = "made_from"

Outputs = Iterator[dg.Output | dg.MaterializeResult]
AlsoMadeWith = Callable[[Catalog, Mapping[str, Any]], str]


def table_asset(
    *, also_made_with: AlsoMadeWith | None = None, kinds: set[str] = TABLE, **options: Any
) -> Callable[[Callable[..., dg.Output]], dg.AssetsDefinition]:
    """Make an asset of a function that returns one table.

    Args:
        also_made_with: what decides the table beside its code, settings and inputs, as text.
        kinds: what the UI shows the asset to be.
        options: as for `dagster.asset`.
    """
    define: Any = dg.asset(
        owners=OWNERS, kinds=kinds, dagster_type=dg.Any, io_manager_key=IO_MANAGER, **options
    )
    return lambda function: define(unless_unchanged(function, also_made_with))


def unless_unchanged(
    function: Callable[..., Any], also_made_with: AlsoMadeWith | None = None
) -> Callable[..., Outputs]:
    """An asset's function that leaves its tables alone while what they are made from is the same.

    What a table was made from (code, settings, the content of its inputs) is kept with it in the
    warehouse, in the transaction that writes it. Both hold for a table that a run was broken off
    before: it was never written, and nothing says that it was.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def compute(context: dg.AssetExecutionContext, **arguments: Any) -> Outputs:
        recsys_warehouse: Warehouse = arguments["recsys_warehouse"]
        catalog = catalog_of(context, arguments["recsys_catalogs"])
        tables = [key.path[-1] for key in sorted(context.assets_def.keys)]
        inputs = [
            f"{name} {data_version(value)}"
            for name, value in arguments.items()
            if isinstance(value, pd.DataFrame | pa.Table)
        ]
        made_from = digest(
            *(code_version(table, catalog) for table in tables),
            *sorted(inputs),
            also_made_with(catalog, arguments) if also_made_with else "",
        )
        memories = [recsys_warehouse.remembered(catalog.name, table) for table in tables]
        if all(memory.get(MADE_FROM) == made_from for memory in memories):
            context.log.info("left as it is: nothing that it is made from has changed")
            for table, memory in zip(tables, memories, strict=True):
                yield unchanged(context, dg.AssetKey([catalog.name, table]), memory[DATA_VERSION])
            return
        if "recsys_warehouse" not in signature.parameters:
            del arguments["recsys_warehouse"]
        made = function(context, **arguments)
        for output in [made] if isinstance(made, dg.Output) else made:
            yield _remembering(context, output, made_from)

    _take_warehouse_too(compute, signature)
    return compute


def _take_warehouse_too(compute: Any, signature: inspect.Signature) -> None:
    """Tell Dagster what to hand over: what the function asks for, and the warehouse."""
    parameters = dict(signature.parameters)
    parameters["recsys_warehouse"] = inspect.Parameter(
        "recsys_warehouse", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Warehouse
    )
    compute.__signature__ = inspect.Signature(list(parameters.values()))
    compute.__annotations__ = {
        name: hint for name, hint in compute.__annotations__.items() if name != "return"
    } | {"recsys_warehouse": Warehouse}


def unchanged(
    context: dg.AssetExecutionContext, key: dg.AssetKey, data_version: str
) -> dg.MaterializeResult:
    """Say that a table is as the last run left it, and show again what was shown of it then."""
    last = context.instance.get_latest_materialization_event(key)
    materialization = last.asset_materialization if last is not None else None
    shown = dict(materialization.metadata) if materialization is not None else {}
    return dg.MaterializeResult(
        asset_key=key,
        metadata=shown | {"unchanged": True},
        data_version=dg.DataVersion(data_version),
    )


def data_version(table: pd.DataFrame | pa.Table) -> str:
    """The version that a table was stored with, or a fingerprint of its content."""
    if isinstance(table, pd.DataFrame):
        return table.attrs.get(DATA_VERSION) or content_digest(to_arrow(table))
    return memory_of(table).get(DATA_VERSION) or content_digest(table)


def _remembering(
    context: dg.AssetExecutionContext, output: dg.Output, made_from: str
) -> dg.Output[pa.Table]:
    value = output.value
    table = value if isinstance(value, pa.Table) else to_arrow(value)
    version = content_digest(table)
    context.set_data_version(
        context.asset_key_for_output(output.output_name), dg.DataVersion(version)
    )
    return dg.Output(
        with_memory(table, {MADE_FROM: made_from, DATA_VERSION: version}),
        output.output_name,
        metadata={**output.metadata, "unchanged": False},
    )
