"""What checks have in common: the tables they look at, and how they say what they found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from types import FunctionType
from typing import Any

import dagster as dg

from recsys_dagster.assets.common import PRIORITY, pool_of
from recsys_dagster.assets.gate import BLOCKING, forced_reason, looked_at
from recsys_dagster.assets.run_context import catalog_of
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.resources.check_results import CheckResult, record
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.schemas import TABLES
from recsys_dagster.snapshots.reader import Snapshot, last_passed
from recsys_dagster.sql import quoted
from recsys_dagster.steps.prepare import soundness
from recsys_dagster.steps.prepare.shares import expected

CHEAP = 10
"""Priority of checks: what they guard against is not to be paid for first."""
CatalogsParam = dg.ResourceParam[Catalogs]
Figures = Mapping[str, int | float | str | dg.MetadataValue]


@dataclass(frozen=True)
class Checked:
    """The tables and the settings of the catalog that a check looks at."""

    catalog: Catalog
    warehouse: Warehouse

    @classmethod
    def of(
        cls, context: dg.AssetCheckExecutionContext, catalogs: Catalogs, warehouse: Warehouse
    ) -> "Checked":
        """What the running check looks at."""
        return cls(catalog_of(context, catalogs), warehouse)

    def rows(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
    ) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self.warehouse.query(self.catalog.name, sql, parameters)

    def numbers(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
    ) -> tuple[Any, ...]:
        """The only row of a query."""
        (row,) = self.rows(sql, parameters)
        return row

    def has(self, table: str) -> bool:
        """Whether the table was made: a check may run before what is not upstream of its asset."""
        return self.warehouse.has(self.catalog.name, table)

    def published(self, snapshots: SnapshotStore) -> Snapshot | None:
        """What the catalog serves now; None where that is nothing, or cannot be read."""
        try:
            return Snapshot.current(Path(snapshots.folder), self.catalog.name)
        except UserError:
            return None


@dataclass(frozen=True)
class TableCheck:
    """What makes the same check for every catalog.

    Attributes:
        name: of the check.
        of: the check of a catalog, and when Dagster runs it by itself, where it does; else it runs
            with its table.
    """

    name: str
    of: Callable[[Catalog, dg.AutomationCondition | None], dg.AssetChecksDefinition]


def table_check(table: str, *, also: tuple[str, ...] = ()) -> Callable[[FunctionType], TableCheck]:
    """Make a check of a function of the same name; blocking where the gate says so.

    The result of a blocking check is kept with the versions of the tables that it looked at. In a
    forced run one that failed is a warning to Dagster, and a failure to the gate.

    Args:
        table: whose check it is.
        also: other tables that a warning looks at and must come after; of blocking checks the gate
            knows them.
    """

    def decorate(function: FunctionType) -> TableCheck:
        name = function.__name__
        others = BLOCKING.get(table, {}).get(name)

        @wraps(function)
        def compute(context: dg.AssetCheckExecutionContext, **given: Any) -> dg.AssetCheckResult:
            if others is None:
                return function(context, **given)
            catalog = catalog_of(context, given["recsys_catalogs"])
            warehouse: Warehouse = given["recsys_warehouse"]
            versions = looked_at(warehouse, catalog, (table, *others))
            result = function(context, **given)
            passed = result.passed or result.severity == dg.AssetCheckSeverity.WARN
            said = result.description or ""
            record(
                warehouse,
                catalog.name,
                CheckResult(name, passed, said, versions, context.run.run_id),
            )
            reason = forced_reason(context.run)
            if passed or reason is None:
                return result
            return result._replace(
                severity=dg.AssetCheckSeverity.WARN,
                description=f"{said} (this run goes on all the same: {reason})",
            )

        def of(
            catalog: Catalog, condition: dg.AutomationCondition | None = None
        ) -> dg.AssetChecksDefinition:
            return dg.asset_check(
                asset=dg.AssetKey([catalog.name, table]),
                additional_deps=[dg.AssetKey([catalog.name, name]) for name in others or also],
                blocking=others is not None,
                automation_condition=condition if others else None,
                op_tags={PRIORITY: str(CHEAP)},
                pool=pool_of(catalog.name),
            )(compute)

        return TableCheck(name, of)

    return decorate


def blocking(passed: bool, found: str, figures: Figures) -> dg.AssetCheckResult:
    """A result that, where it failed, stops the run before anything is published."""
    return dg.AssetCheckResult(
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=found,
        metadata=dict(figures),
    )


def warning(passed: bool, found: str, figures: Figures) -> dg.AssetCheckResult:
    """A result that a person should look at, and that stops nothing."""
    return dg.AssetCheckResult(
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=found,
        metadata=dict(figures),
    )


def said_by(finding: soundness.Finding) -> dg.AssetCheckResult:
    """A rule's finding as the result of a check."""
    result = blocking if finding.blocks else warning
    return result(finding.passed, finding.said, finding.figures)


def keys_unique(checked: Checked, table: str) -> dg.AssetCheckResult:
    """There are rows, one a key."""
    key = TABLES[table].key
    rows, repeated = checked.numbers(
        "select coalesce(sum(n), 0)::bigint, (count(*) filter (n > 1))::bigint from "
        f"(select count(*) as n from {quoted(table)} group by {', '.join(map(quoted, key))})"
    )
    return said_by(soundness.keys_unique(rows, repeated, key))


def accepted_share(checked: Checked, table: str) -> dg.AssetCheckResult:
    """Most rows of the source are accepted; what a setting leaves out is no fault of a row."""
    raw, faulty, by_setting = checked.numbers(
        f"select (select count(*) from {quoted('raw_' + table)}), "
        "count(*) filter (not by_setting), count(*) filter (by_setting) "
        f"from {quoted('rejected_' + table)}"
    )
    least = checked.catalog.checks.accepted_share
    return said_by(soundness.accepted_share(table, raw, faulty, by_setting, least))


def not_fallen(
    checked: Checked, snapshots: SnapshotStore, found_now: Mapping[str, int]
) -> dg.AssetCheckResult:
    """Counts are not much below those of the last snapshot that passed the gate.

    Args:
        checked: the catalog.
        snapshots: where it publishes.
        found_now: counts by the names that the manifest has them under.
    """
    most = checked.catalog.checks.row_fall
    snapshot = last_passed(Path(snapshots.folder), checked.catalog.name)
    before = snapshot.manifest.get("counts", {}) if snapshot else {}
    falls = {
        name: 1 - now / before[name] for name, now in found_now.items() if before.get(name, 0) > 0
    }
    fallen = [name for name, fall in falls.items() if fall > most]
    said = ", ".join(
        f"{now:,} {name}" + (f" ({before[name]:,} published)" if name in before else "")
        for name, now in found_now.items()
    )
    if not before:
        said += "; nothing is published that passed the gate and could be compared with"
    else:
        said += f"; a fall of at most {expected(most)} expected"
    if fallen:
        said += (
            f"; {' and '.join(fallen)} fell by more: look whether the source is whole; if it is "
            "meant so, raise checks: row_fall in the YAML for one run"
        )
    return blocking(
        not fallen,
        said,
        {**found_now}
        | {f"published_{name}": before[name] for name in found_now if name in before}
        | {f"fall_of_{name}": fall for name, fall in falls.items()}
        | {"allowed_fall": most},
    )
