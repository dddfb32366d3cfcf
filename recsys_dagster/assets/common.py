"""What the assets that are tables have in common.

Each is made for every catalog by the same function; nothing is made of tables that did not pass
their checks, and nothing is made again that would be the same.
"""

import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from types import FunctionType
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from recsys_dagster.assets.gate import require_passed
from recsys_dagster.assets.run_context import catalog_of
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.resources.warehouse import (
    DATA_VERSION,
    Warehouse,
    comment_of,
    to_arrow,
    with_comment,
)
from recsys_dagster.schemas import TABLES
from recsys_dagster.versions import code_version, content_digest, digest

OWNERS = ["team:recommendations"]
TABLE = {"duckdb", "table"}
"""Kinds of an asset that is a table in the warehouse."""
IO_MANAGER = "recsys_io_manager"
"""A name of its own: a project that this is merged into has an `io_manager` already."""
MADE_FROM, MADE_OF, MADE_BY_CODE = "made_from", "made_of", "code_version"
"""Kept with a table: a fingerprint of all that it was made from; the versions of its inputs; the
version of its code and settings."""
MADE_BY = "made_by_run"
"""Of a table that a run left as it was: the run that made it."""
PRIORITY = "dagster/priority"
POOL_PREFIX = "recsys_"
DONE = ("rows_read", "texts_encoded", "texts_from_store", "encoding_seconds")
"""Metadata that count what a run did; all others say what the table is."""
COSTLY, LAST = -10, -20
"""Priority of a stage that everything cheap in the run, checks above all, goes before, and of one
that what is published need not wait for."""

Outputs = Iterator[dg.Output | dg.MaterializeResult]
AlsoMadeWith = Callable[[Catalog, Mapping[str, Any]], str]


@dataclass(frozen=True)
class Stage:
    """What makes the same assets for every catalog.

    Attributes:
        function: what works out the tables, without anything around it.
        of: the assets of a catalog: keys [catalog, table], the step named by both.
    """

    function: Callable[..., Any]
    of: Callable[[Catalog], dg.AssetsDefinition]


def table_asset(
    *,
    also_made_with: AlsoMadeWith | None = None,
    kinds: set[str] = TABLE,
    tags: Mapping[str, str],
    guarded_by: tuple[str, ...] = (),
    priority: int = 0,
) -> Callable[[FunctionType], Stage]:
    """Make a stage of a function that returns one table, named as the table.

    Args:
        also_made_with: what decides the table beside its code, settings and inputs, as text.
        kinds: what the UI shows the asset to be.
        tags: of the asset.
        guarded_by: tables beside its inputs whose checks must not have failed.
        priority: of its step among those that could be next.
    """

    def decorate(function: FunctionType) -> Stage:
        name = function.__name__
        compute: Any = unless_unchanged(function, (name,), also_made_with, guarded_by)

        def of(catalog: Catalog) -> dg.AssetsDefinition:
            declare: Any = dg.asset
            define = declare(
                name=name,
                key_prefix=catalog.name,
                group_name=catalog.name,
                ins=_inputs(compute, catalog),
                owners=OWNERS,
                kinds=kinds,
                tags=tags,
                metadata=spec_metadata(catalog, name, function),
                op_tags={PRIORITY: str(priority)},
                pool=pool_of(catalog.name),
                dagster_type=dg.Any,
                io_manager_key=IO_MANAGER,
            )
            return define(compute)

        return Stage(function, of)

    return decorate


def table_assets(
    descriptions: Mapping[str, str], *, tags: Mapping[str, str]
) -> Callable[[FunctionType], Stage]:
    """Make a stage of a function that yields several tables.

    Args:
        descriptions: table → what the UI says of it; the first one names the step.
        tags: of the assets.
    """

    def decorate(function: FunctionType) -> Stage:
        compute: Any = unless_unchanged(function, tuple(descriptions))

        def of(catalog: Catalog) -> dg.AssetsDefinition:
            outs = {
                table: dg.AssetOut(
                    key_prefix=catalog.name,
                    group_name=catalog.name,
                    description=description,
                    owners=OWNERS,
                    kinds=TABLE,
                    tags=tags,
                    metadata=spec_metadata(catalog, table, function),
                    dagster_type=dg.Any,
                    io_manager_key=IO_MANAGER,
                )
                for table, description in descriptions.items()
            }
            return dg.multi_asset(
                name=f"{catalog.name}__{next(iter(descriptions))}",
                outs=outs,
                ins=_inputs(compute, catalog),
                pool=pool_of(catalog.name),
            )(compute)

        return Stage(function, of)

    return decorate


def _inputs(compute: Any, catalog: Catalog) -> dict[str, dg.AssetIn]:
    """The catalog's own tables, for the parameters named as tables."""
    return {
        name: dg.AssetIn(dg.AssetKey([catalog.name, name]))
        for name in compute.__signature__.parameters
        if name in TABLES
    }


def pool_of(catalog: str) -> str:
    """The pool of everything that a catalog's runs do: one run of a catalog at a time."""
    return f"{POOL_PREFIX}{catalog}"


def spec_metadata(catalog: Catalog, table: str, function: Callable[..., Any]) -> dict[str, Any]:
    """What is known of an asset before its first run: table, columns, code.

    Args:
        catalog: whose.
        table: its name.
        function: what makes it.
    """
    code = inspect.unwrap(function).__code__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        place = dg.LocalFileCodeReference(
            file_path=code.co_filename, line_number=code.co_firstlineno
        )
        known: dict[str, Any] = {
            "dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[place])
        }
    if table in TABLES:
        known["dagster/table_name"] = f"{catalog.name}.main.{table}"
        known["dagster/column_schema"] = dg.TableSchema(
            [
                dg.TableColumn(column.name, column.type, column.description)
                for column in TABLES[table].columns
            ]
        )
    return known


def unless_unchanged(
    function: Callable[..., Any],
    tables: tuple[str, ...],
    also_made_with: AlsoMadeWith | None = None,
    guarded_by: tuple[str, ...] = (),
) -> Callable[..., Outputs]:
    """An asset's function that leaves its tables alone while what they are made from is the same.

    What a table was made from (code, settings, the content of its inputs) is kept with it in the
    warehouse, in the transaction that writes it. Both hold for a table that a run was broken off
    before: it was never written, and nothing says that it was.

    Nothing is made of a table whose blocking checks have not passed, in whatever run that is.
    """
    signature = inspect.signature(function)
    inputs = tuple(name for name in signature.parameters if name in TABLES)

    @wraps(function)
    def compute(context: dg.AssetExecutionContext, **arguments: Any) -> Outputs:
        recsys_warehouse: Warehouse = arguments["recsys_warehouse"]
        catalog = catalog_of(context, arguments["recsys_catalogs"])
        require_passed(context.run, recsys_warehouse, catalog, tables[0], inputs, guarded_by)
        given = {
            name: data_version(value)
            for name, value in sorted(arguments.items())
            if isinstance(value, pd.DataFrame | pa.Table)
        }
        codes = {table: code_version(table, catalog) for table in sorted(tables)}
        made_from = digest(
            *codes.values(),
            *(f"{name} {version}" for name, version in given.items()),
            also_made_with(catalog, arguments) if also_made_with else "",
        )
        memories = [recsys_warehouse.comment(catalog.name, table) for table in tables]
        if all(memory.get(MADE_FROM) == made_from for memory in memories):
            context.log.info("left as it is: nothing that it is made from has changed")
            for table, memory in zip(tables, memories, strict=True):
                yield unchanged(context, dg.AssetKey([catalog.name, table]), memory[DATA_VERSION])
            return
        if "recsys_warehouse" not in signature.parameters:
            del arguments["recsys_warehouse"]
        made = function(context, **arguments)
        for output in [made] if isinstance(made, dg.Output) else made:
            yield _remembering(context, output, made_from, given, codes)

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
    """Say that a table is as an earlier run left it.

    What the table is, is shown again, with the run that made it; what that run did is not: this
    one did nothing.
    """
    last = context.instance.get_latest_materialization_event(key)
    materialization = last.asset_materialization if last is not None else None
    shown = dict(materialization.metadata) if materialization is not None else {}
    done = {name: type(shown[name].value)(0) for name in DONE if name in shown}
    if last is not None and MADE_BY not in shown:
        shown[MADE_BY] = dg.MetadataValue.dagster_run(last.run_id)
    return dg.MaterializeResult(
        asset_key=key,
        metadata=shown | done | {"unchanged": True},
        data_version=dg.DataVersion(data_version),
    )


def data_version(table: pd.DataFrame | pa.Table) -> str:
    """The version that a table was stored with, or a fingerprint of its content."""
    if isinstance(table, pd.DataFrame):
        return table.attrs.get(DATA_VERSION) or content_digest(to_arrow(table))
    return comment_of(table).get(DATA_VERSION) or content_digest(table)


def _remembering(
    context: dg.AssetExecutionContext,
    output: dg.Output,
    made_from: str,
    given: Mapping[str, str],
    codes: Mapping[str, str],
) -> dg.Output[pa.Table]:
    value = output.value
    table = value if isinstance(value, pa.Table) else to_arrow(value)
    version = content_digest(table)
    context.set_data_version(
        context.asset_key_for_output(output.output_name), dg.DataVersion(version)
    )
    return dg.Output(
        with_comment(
            table,
            {
                MADE_FROM: made_from,
                MADE_OF: json.dumps(given),
                MADE_BY_CODE: codes[context.asset_key_for_output(output.output_name).path[-1]],
                DATA_VERSION: version,
            },
        ),
        output.output_name,
        metadata={**output.metadata, "unchanged": False},
    )
