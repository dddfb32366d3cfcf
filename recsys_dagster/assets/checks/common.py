"""What checks have in common: the tables they look at, and how they say what they found."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import dagster as dg

from recsys_dagster.assets.common import PRIORITY, pool_of
from recsys_dagster.assets.gate import BLOCKING, forced_reason, looked_at
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.resources.check_results import CheckResult, record
from recsys_dagster.resources.snapshot_store import SnapshotStore
from recsys_dagster.resources.warehouse import Warehouse, kept_open
from recsys_dagster.snapshots.current import last_passed
from recsys_dagster.snapshots.reader import Snapshot
from recsys_dagster.sql import quoted
from recsys_dagster.steps.prepare import soundness
from recsys_dagster.steps.prepare.shares import expected

CHEAP = 10
"""Priority of checks: what they guard against is not to be paid for first."""
Figures = Mapping[str, int | float | str | dg.MetadataValue]


@dataclass(frozen=True)
class Checked:
    """What a check looks at: a catalog's settings, its tables, and what it has published."""

    catalog: Catalog
    warehouse: Warehouse
    snapshots: SnapshotStore

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

    def published(self) -> Snapshot | None:
        """What the catalog serves now; None where that is nothing, or cannot be read."""
        try:
            return Snapshot.current(self.snapshots.place, self.catalog.name)
        except UserError:
            return None

    def last_passed(self) -> Mapping[str, Any] | None:
        """The manifest of the newest snapshot that passed the gate; None where there is none."""
        return last_passed(self.snapshots.place, self.catalog.name)


@dataclass(frozen=True)
class TableChecks:
    """Checks of a table that are made in one step, the same for every catalog.

    Attributes:
        table: whose checks they are.
        step: what the step is named by, beside the catalog and the table.
        descriptions: name of each check → what the UI says that it looks at.
        look: what each of them found, by its name.
        also: other tables that a warning looks at and must come after; of blocking checks the gate
            knows them.
    """

    table: str
    step: str
    descriptions: Mapping[str, str]
    look: Callable[[Checked], Mapping[str, dg.AssetCheckResult]]
    also: tuple[str, ...] = ()

    def of(
        self, catalog: Catalog, condition: dg.AutomationCondition | None = None
    ) -> dg.AssetChecksDefinition:
        """The checks of a catalog; blocking where the gate says so.

        The result of a blocking check is kept with the versions of the tables that it looked at.
        In a forced run one that failed is a warning to Dagster, and a failure to the gate.

        Args:
            catalog: whose.
            condition: when Dagster runs a check of several tables by itself, where it does; the
                others run with their table.
        """
        key = dg.AssetKey([catalog.name, self.table])
        gate = BLOCKING.get(self.table, {})

        @dg.multi_asset_check(
            name=f"{key.to_python_identifier()}_{self.step}",
            specs=[
                dg.AssetCheckSpec(
                    name,
                    asset=key,
                    description=description,
                    additional_deps=[
                        dg.AssetKey([catalog.name, other]) for other in gate.get(name, self.also)
                    ],
                    blocking=name in gate,
                    automation_condition=condition if gate.get(name) else None,
                )
                for name, description in self.descriptions.items()
            ],
            can_subset=len(self.descriptions) > 1,
            op_tags={PRIORITY: str(CHEAP)},
            pool=pool_of(catalog.name),
        )
        def checks(
            context: dg.AssetCheckExecutionContext,
            recsys_warehouse: Warehouse,
            recsys_snapshots: SnapshotStore,
        ) -> Iterator[dg.AssetCheckResult]:
            selected = {chosen.name for chosen in context.selected_asset_check_keys}
            results = []
            with kept_open():
                # A check run alone, before its table was ever made, has nothing to judge.
                recsys_warehouse.stored(catalog.name, self.table)
                # Taken before looking: a table replaced meanwhile must not count as looked at.
                versions = {
                    name: looked_at(recsys_warehouse, catalog, (self.table, *gate[name]))
                    for name in selected & gate.keys()
                }
                checked = Checked(catalog, recsys_warehouse, recsys_snapshots)
                for name, found in self.look(checked).items():
                    if name not in selected:
                        continue
                    result = found._replace(asset_key=key, check_name=name)
                    if name in versions:
                        result = _kept(
                            context.run, recsys_warehouse, catalog, result, versions[name]
                        )
                    results.append(result)
            yield from results

        return checks


def _kept(
    run: dg.DagsterRun,
    warehouse: Warehouse,
    catalog: Catalog,
    result: dg.AssetCheckResult,
    versions: Mapping[str, str],
) -> dg.AssetCheckResult:
    """Keep a blocking check's result for the gate; what Dagster gets of it."""
    passed = result.passed or result.severity == dg.AssetCheckSeverity.WARN
    said = result.description or ""
    name = result.check_name or ""
    record(warehouse, catalog.name, CheckResult(name, passed, said, versions, run.run_id))
    reason = forced_reason(run)
    if passed or reason is None:
        return result
    return result._replace(
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{said} (this run goes on all the same: {reason})",
    )


@dataclass(frozen=True)
class TableCheck(TableChecks):
    """One check in a step of its own; it is called as the function that it was made of."""

    function: Callable[[Checked], dg.AssetCheckResult] = field(kw_only=True)

    def __call__(self, checked: Checked) -> dg.AssetCheckResult:
        """What the check finds."""
        return self.function(checked)


def table_check(table: str, *, also: tuple[str, ...] = ()) -> Callable[[FunctionType], TableCheck]:
    """Make a check of a function of the same name, whose docstring the UI shows.

    Args:
        table: whose check it is.
        also: other tables that a warning looks at and must come after.
    """

    def decorate(function: FunctionType) -> TableCheck:
        name = function.__name__
        return TableCheck(
            table=table,
            step=name,
            descriptions={name: inspect.getdoc(function) or ""},
            look=lambda checked: {name: function(checked)},
            also=also,
            function=function,
        )

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


def accepted_share(checked: Checked, table: str) -> dg.AssetCheckResult:
    """Most rows of the source are accepted; what a setting leaves out is no fault of a row."""
    raw, faulty, by_setting = checked.numbers(
        f"select (select count(*) from {quoted('raw_' + table)}), "
        "count(*) filter (not by_setting), count(*) filter (by_setting) "
        f"from {quoted('rejected_' + table)}"
    )
    min_share = checked.catalog.checks.accepted_share
    return said_by(soundness.accepted_share(table, raw, faulty, by_setting, min_share))


def not_fallen(checked: Checked, found_now: Mapping[str, int]) -> dg.AssetCheckResult:
    """Counts are not much below those of the last snapshot that passed the gate.

    Args:
        checked: the catalog.
        found_now: counts by the names that the manifest has them under.
    """
    max_fall = checked.catalog.checks.row_fall
    manifest = checked.last_passed()
    before = manifest.get("counts", {}) if manifest else {}
    falls = {
        name: 1 - now / before[name] for name, now in found_now.items() if before.get(name, 0) > 0
    }
    fallen = [name for name, fall in falls.items() if fall > max_fall]
    said = ", ".join(
        f"{now:,} {name}" + (f" ({before[name]:,} published)" if name in before else "")
        for name, now in found_now.items()
    )
    if not before:
        said += "; nothing is published that passed the gate and could be compared with"
    else:
        said += f"; a fall of at most {expected(max_fall)} expected"
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
        | {"allowed_fall": max_fall},
    )
