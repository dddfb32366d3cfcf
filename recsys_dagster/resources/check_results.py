"""What checks said of a catalog's tables, kept beside the tables.

A result holds for the versions of the tables that the check looked at, and for no others: it lies
in the warehouse and not in the history of runs, so that a run elsewhere, a history that was
cleaned or a table that was made again cannot make it say more than was looked at.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from recsys_dagster.resources.warehouse import DATA_VERSION, Warehouse
from recsys_dagster.sql import quoted

SCHEMA = "gate"
RESULTS = f"{quoted(SCHEMA)}.{quoted('results')}"


@dataclass(frozen=True)
class CheckResult:
    """The latest word of a check.

    Attributes:
        check: its name.
        passed: whether nothing that it found forbids to go on.
        description: its sentence, with figures.
        versions: table → data version of what it looked at.
        run_id: the Dagster run that it was made in.
    """

    check: str
    passed: bool
    description: str
    versions: Mapping[str, str]
    run_id: str


def record(warehouse: Warehouse, catalog: str, result: CheckResult) -> None:
    """Keep a result in the place of the check's last one."""
    with warehouse.connect(catalog) as connection:
        connection.execute(f"create schema if not exists {quoted(SCHEMA)}")
        connection.execute(
            f'create table if not exists {RESULTS} ("check" varchar primary key, passed boolean, '
            "description varchar, versions varchar, run_id varchar, checked_at timestamp)"
        )
        connection.execute(
            f"insert or replace into {RESULTS} values ($1, $2, $3, $4, $5, current_timestamp)",
            [
                result.check,
                result.passed,
                result.description,
                json.dumps(dict(result.versions)),
                result.run_id,
            ],
        )


def results(warehouse: Warehouse, catalog: str) -> dict[str, CheckResult]:
    """The latest result of every check that was ever run, by the check's name."""
    if not warehouse.path(catalog).exists():
        return {}
    with warehouse.connect(catalog) as connection:
        there = connection.execute(
            "select 1 from duckdb_tables() where schema_name = $1", [SCHEMA]
        ).fetchall()
        if not there:
            return {}
        rows = connection.execute(
            f'select "check", passed, description, versions, run_id from {RESULTS}'
        ).fetchall()
    return {
        check: CheckResult(check, passed, description, json.loads(versions), run_id)
        for check, passed, description, versions, run_id in rows
    }


def versions_of(warehouse: Warehouse, catalog: str, tables: tuple[str, ...]) -> dict[str, str]:
    """The data versions of tables as they are now; "" for one that is not there."""
    comments = warehouse.comments(catalog, tables)
    return {table: comment.get(DATA_VERSION, "") for table, comment in comments.items()}
