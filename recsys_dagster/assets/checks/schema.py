"""Every table as it is declared: one row a key, all columns, nulls only where they may be."""

import re

import dagster as dg

from recsys_dagster.assets.checks.common import Checked, TableChecks, blocking, warning
from recsys_dagster.assets.gate import BLOCKING, SCHEMA_CHECKED, schema_checks
from recsys_dagster.schemas import EMBEDDING, Column, Table
from recsys_dagster.sql import quoted
from recsys_dagster.steps.prepare.soundness import Finding, columns_sound, keys_unique

KEYS_LOOKED_AT = {
    "interactions": "There are interactions, one row a (user, item).",
    "items": "There are items, one row each.",
}
"""What the UI says of the tables whose rows people bring."""


def held_against_schema(checked: Checked, table: Table) -> tuple[Finding, Finding]:
    """What is found of a table's keys, and of its columns, in one query.

    Only the key's values are read: for nulls DuckDB looks at what it keeps beside the others.
    """
    types: dict[str, str] = dict(
        checked.rows(
            "select column_name, data_type from duckdb_columns() "
            "where schema_name = 'main' and table_name = $table",
            {"table": table.name},
        )
    )
    there = [column for column in table.columns if column.name in types]
    full = [column.name for column in there if not column.nullable]
    rows, repeated, nulls = _counts(checked, table, full) if types else (0, 0, {})
    return (
        keys_unique(rows, repeated, table.key, may_be_empty=table.may_be_empty),
        columns_sound(
            table.name,
            len(table.columns),
            [name for name in table.column_names if name not in types],
            {
                column.name: (types[column.name], column.type)
                for column in there
                if not _is_of_type(types[column.name], column)
            },
            nulls,
        ),
    )


def _counts(checked: Checked, table: Table, full: list[str]) -> tuple[int, int, dict[str, int]]:
    """Rows, repeated keys, and nulls of those columns that have some and should be full."""
    name, key = quoted(table.name), ", ".join(map(quoted, table.key))
    repeated = f"(select count(*) from (select 1 from {name} group by {key} having count(*) > 1))"
    if not set(table.key) <= set(full):
        repeated = "count(*)"  # a column of the key is missing: no row has a key of its own
    nulls = [f"count(*) - count({quoted(column)})" for column in full]
    rows, keys, *found = checked.numbers(
        f"select {', '.join(['count(*)', repeated, *nulls])} from {name}"
    )
    return rows, keys, {column: n for column, n in zip(full, found, strict=True) if n}


def _is_of_type(found: str, column: Column) -> bool:
    if column.type == EMBEDDING:
        return re.fullmatch(r"FLOAT\[\d+\]", found) is not None
    return found == column.type


def checks_of_schema(table: Table) -> TableChecks:
    """The checks TABLE_keys_unique and TABLE_columns_sound, in one step.

    Args:
        table: whose; blocking where something published rests on it.
    """
    names = schema_checks(table.name)
    result = blocking if table.name in BLOCKING else warning

    def look(checked: Checked) -> dict[str, dg.AssetCheckResult]:
        findings = held_against_schema(checked, table)
        return {
            name: result(finding.passed, finding.said, finding.figures)
            for name, finding in zip(names, findings, strict=True)
        }

    full = [column.name for column in table.columns if not column.nullable]
    keys_said = KEYS_LOOKED_AT.get(table.name, _keys_said(table))
    columns_said = (
        f"The {len(table.columns)} declared columns are there, with the declared types, and none "
        f"of these is ever null: {', '.join(full)}."
    )
    return TableChecks(
        table.name,
        "schema",
        dict(zip(names, (keys_said, columns_said), strict=True)),
        look,
    )


def _keys_said(table: Table) -> str:
    key = table.key[0] if len(table.key) == 1 else f"({', '.join(table.key)})"
    return f"One row for each {key}" + ("." if table.may_be_empty else ", and at least one.")


SCHEMA_CHECKS = tuple(checks_of_schema(table) for table in SCHEMA_CHECKED)
"""The checks that are made of what is declared of tables."""
