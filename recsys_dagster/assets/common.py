"""What the assets that are tables have in common.

A stage is a plain function: of the running context, a catalog, and what is named by its further
parameters (tables of the catalog, resources `recsys_…`, its `config`). `table_assets` makes of it
the assets of one catalog. Nothing is made of tables that did not pass their checks, and nothing is
made again that would be the same.
"""

import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any, get_args, get_type_hints

import dagster as dg
import pandas as pd
import pyarrow as pa

from recsys_dagster.assets.gate import require_passed
from recsys_dagster.assets.metadata import STAGE
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.resources.warehouse import (
    DATA_VERSION,
    STORED,
    StoredTable,
    Warehouse,
    comment_of,
    kept_open,
    let_go,
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
JUDGED_AGAIN = "judged_again_at"
"""Metadata of a stage that goes by the clock, kept with its table: from when, in Unix seconds, the
same inputs would give another one."""
MADE_BY = "made_by_run"
"""Of a table that a run left as it was: the run that made it."""
MAX_LOOKED_AT = 50
"""Materialisations that are looked through for what is shown of a table that was left as it was."""
PRIORITY = "dagster/priority"
POOL_PREFIX = "recsys_"
AS_ARROW = ("item_embeddings", "item_neighbours")
"""Tables that come as Arrow where a stage does not say how it takes them."""
RESOURCE_PREFIX = "recsys_"
DONE = ("rows_read", "texts_encoded", "texts_from_store", "encoding_seconds")
"""Metadata that count what a run did; all others say what the table is."""
COSTLY, LAST = -10, -20
"""Priority of a stage that everything cheap in the run, checks above all, goes before, and of one
that what is published need not wait for."""

AlsoMadeWith = Callable[[Mapping[str, Any]], str]


def table_assets(
    catalog: Catalog,
    function: FunctionType,
    *,
    stage: str,
    tables: Mapping[str, str] | None = None,
    inputs: Sequence[str] = (),
    also_made_with: AlsoMadeWith | None = None,
    kinds: set[str] = TABLE,
    group: str | None = None,
    guarded_by: tuple[str, ...] = (),
    priority: int = 0,
) -> dg.AssetsDefinition:
    """The assets of a catalog that a stage's function makes: keys [catalog, table].

    They are left alone while what they are made from is the same. What a table was made from
    (code, settings, the content of its inputs) is kept with it in the warehouse, in the transaction
    that writes it. Both hold for a table that a run was broken off before: it was never written,
    and nothing says that it was.

    Nothing is made of a table whose blocking checks have not passed, in whatever run that is.

    Args:
        catalog: whose.
        function: takes the context, the catalog, and by name: tables of the catalog, typed as
            pandas, as Arrow or as `StoredTable`, of which it reads what it needs; resources, whose
            names begin with `recsys_`; `config`. Where it takes `**tables`, embeddings and
            neighbours come as Arrow.
        stage: what the UI tags the assets with.
        tables: table → what the UI says of it, where the function yields several; the first one
            names the step. Else the table is named as the function, and described by it.
        inputs: tables that the function takes in this catalog beside those that it names without
            a default: by a parameter with one, or by `**tables`.
        also_made_with: what decides the tables beside code, settings and inputs, as text; of the
            resources and the config that the function is given.
        kinds: what the UI shows the assets to be.
        group: of the assets; the catalog's where it is left out.
        guarded_by: tables beside the inputs whose checks must not have failed.
        priority: of the step among those that could be next.
    """
    name = function.__name__
    described = tables or {name: inspect.getdoc(function) or ""}
    parameters = inspect.signature(function).parameters
    hints = get_type_hints(function)
    named = [each for each, parameter in parameters.items() if parameter.default is parameter.empty]
    given_tables = dict.fromkeys([*(each for each in named if each in TABLES), *inputs])
    resources = [each for each in parameters if each.startswith(RESOURCE_PREFIX)]
    config: type[dg.Config] | None = hints.get("config")

    def compute(context: dg.AssetExecutionContext, **given: Any) -> Iterator[Any]:
        warehouse: Warehouse = context.resources.recsys_warehouse
        with kept_open():
            require_passed(
                context.run, warehouse, catalog, next(iter(described)), given, guarded_by
            )
            comments = [warehouse.comment(catalog.name, table) for table in described]
        versions = {each: data_version(table) for each, table in sorted(given.items())}
        arguments = {each: getattr(context.resources, each) for each in resources}
        if config is not None:
            arguments["config"] = config(**context.op_execution_context.op_config)
        codes = {table: code_version(table, catalog) for table in sorted(described)}
        made_from = digest(
            *codes.values(),
            *(f"{each} {version}" for each, version in versions.items()),
            also_made_with(arguments) if also_made_with else "",
        )
        if all(
            comment.get(MADE_FROM) == made_from
            and utc_now().timestamp() < float(comment.get(JUDGED_AGAIN, "inf"))
            for comment in comments
        ):
            context.log.info("left as it is: nothing that it is made from has changed")
            for table, comment in zip(described, comments, strict=True):
                yield unchanged(context, dg.AssetKey([catalog.name, table]), comment[DATA_VERSION])
            return
        with kept_open():
            arguments |= {each: as_asked(table, hints.get(each)) for each, table in given.items()}
        with let_go():
            made = function(context, catalog, **arguments)
        if isinstance(made, dg.Output):
            made = [dg.Output(made.value, name, metadata=made.metadata)]
        outputs = iter(made)
        while (output := _next(outputs)) is not None:
            yield _remembering(context, output, made_from, versions, codes[output.output_name])

    return dg.multi_asset(
        name=f"{catalog.name}__{next(iter(described))}",
        outs={
            table: dg.AssetOut(
                key_prefix=catalog.name,
                group_name=group or catalog.name,
                description=description,
                owners=OWNERS,
                kinds=kinds,
                tags={STAGE: stage},
                metadata=spec_metadata(catalog, table, function),
                dagster_type=dg.Any,
                io_manager_key=IO_MANAGER,
            )
            for table, description in described.items()
        },
        ins={
            each: dg.AssetIn(dg.AssetKey([catalog.name, each]), dagster_type=STORED)
            for each in given_tables
        },
        required_resource_keys={"recsys_warehouse", *resources},
        config_schema=config.to_fields_dict() if config else None,
        op_tags={PRIORITY: str(priority)},
        pool=pool_of(catalog.name),
    )(compute)


def utc_now() -> pd.Timestamp:
    """The time, naive UTC as all tables have it."""
    return pd.Timestamp.now("UTC").tz_localize(None)


def _next(outputs: Iterator[dg.Output]) -> dg.Output | None:
    """What a stage made next; the warehouse is free while it works."""
    with let_go():
        return next(outputs, None)


def as_asked(table: StoredTable, hint: Any = None) -> Any:
    """A table as a parameter is typed; `X | None` asks for X.

    Args:
        table: unread.
        hint: a frame, Arrow or `StoredTable`; None is `AS_ARROW` for some tables, else a frame.
    """
    asked = (hint, *get_args(hint))
    if StoredTable in asked:
        return table
    is_arrow = table.name in AS_ARROW if hint is None else pa.Table in asked
    return table.arrow() if is_arrow else table.frame()


def readable_items(warehouse: Warehouse, catalog: str) -> pd.DataFrame:
    """Titles and categories by item_id, for what is shown: no input, because no table rests on
    them.
    """
    sql = "select item_id, title, category from items"
    rows = warehouse.query(catalog, sql) if warehouse.has(catalog, "items") else []
    return pd.DataFrame(rows, columns=["item_id", "title", "category"]).set_index("item_id")


def quality_group(catalog: str) -> str:
    """The group of what measures a catalog's strategies, apart from what is published."""
    return f"{catalog}_quality"


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


def unchanged(
    context: dg.AssetExecutionContext, key: dg.AssetKey, data_version: str
) -> dg.MaterializeResult:
    """Say that a table is as an earlier run left it.

    What the table is, is shown again, with the run that made it; what that run did is not: this
    one did nothing.
    """
    last = _made(context.instance, key, data_version)
    shown = dict(last.asset_materialization.metadata) if last is not None else {}
    done = {name: type(shown[name].value)(0) for name in DONE if name in shown}
    if last is not None and MADE_BY not in shown:
        shown[MADE_BY] = dg.MetadataValue.dagster_run(last.run_id)
    return dg.MaterializeResult(
        asset_key=key,
        metadata=shown | done | {"unchanged": True},
        data_version=dg.DataVersion(data_version),
    )


def _made(instance: dg.DagsterInstance, key: dg.AssetKey, data_version: str) -> Any:
    """The newest materialisation by a run of what a table is now; None where none is known.

    The newest of all may say nothing of it: people report materialisations by hand, and tables are
    made anew in runs of another home.
    """
    for limit in (1, MAX_LOOKED_AT):  # nearly always the first one is it, and each has pictures
        for found in instance.fetch_materializations(key, limit).records:
            tags = (found.asset_materialization and found.asset_materialization.tags) or {}
            if found.run_id and tags.get("dagster/data_version") == data_version:
                return found
    return None


def data_version(table: pd.DataFrame | pa.Table | StoredTable) -> str:
    """The version that a table was stored with, or a fingerprint of its content."""
    if isinstance(table, StoredTable):
        return table.version or content_digest(table.arrow(), table.name)
    if isinstance(table, pd.DataFrame):
        return table.attrs.get(DATA_VERSION) or content_digest(to_arrow(table))
    return comment_of(table).get(DATA_VERSION) or content_digest(table)


def _remembering(
    context: dg.AssetExecutionContext,
    output: dg.Output,
    made_from: str,
    versions: Mapping[str, str],
    code: str,
) -> dg.Output[pa.Table]:
    """The output with what it was made from, and its version told to Dagster."""
    value, name = output.value, output.output_name
    table = value if isinstance(value, pa.Table) else to_arrow(value)
    version = content_digest(table, name)
    again = output.metadata.get(JUDGED_AGAIN)
    context.set_data_version(context.asset_key_for_output(name), dg.DataVersion(version))
    return dg.Output(
        with_comment(
            table,
            {
                MADE_FROM: made_from,
                MADE_OF: json.dumps(versions),
                MADE_BY_CODE: code,
                DATA_VERSION: version,
                **({JUDGED_AGAIN: str(again.value)} if again is not None else {}),
            },
        ),
        name,
        metadata={**output.metadata, "unchanged": False},
    )
