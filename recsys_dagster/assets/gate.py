"""The gate: which checks must have passed before anything rests on a table.

Dagster stops the run in which a blocking check failed, and no other. So every stage asks here
before it works, whatever run it is in: a table whose check failed, was never run, or looked at an
earlier version of the table is not used. A run that somebody forced, with a reason, goes on, and
its snapshot says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import dagster as dg

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.resources import check_results as gate
from recsys_dagster.resources.check_results import CheckResult
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.schemas import EVALUATION, EVALUATION_SPLIT, SOURCE_KEY, TABLES
from recsys_dagster.versions import digest

EXPECTED = "checks of the YAML"
"""What stands beside the versions of tables in what a check goes by."""
FORCE_TAG = "recsys/force_reason"
"""Tag of a run that goes on past failed checks: why."""

SCHEMA_CHECKED = tuple(
    table
    for table in TABLES.values()
    # Rows of a source are judged by the stages after it; a search is no part of any refresh.
    if table.key != SOURCE_KEY and not table.on_request
)
"""The tables that are held against what `schemas.py` declares of them."""
ONLY_MEASURED = (EVALUATION_SPLIT, EVALUATION)
"""Those of them that nothing published rests on: a fault of theirs is a warning."""


def schema_checks(table: str) -> tuple[str, str]:
    """The names of the checks that hold a table against its schema: of keys, and of columns."""
    return f"{table}_keys_unique", f"{table}_columns_sound"


OF_STAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "interactions": {
        "interactions_accepted_share": (),
        "interactions_some_positive": (),
        "interactions_not_fallen": (),
    },
    "items": {
        "items_accepted_share": (),
        "items_some_available": (),
        "items_not_fallen": (),
        "interactions_know_items": ("interactions",),
    },
    "item_texts": {"every_item_has_a_text": ("items",)},
    "item_embeddings": {"one_vector_per_item": ("items",), "item_embeddings_sound": ()},
    "user_embeddings": {"user_embeddings_finite": ("interactions", "items", "item_embeddings")},
    "similarity_matrix": {"similarity_matrix_ranked": ()},
    "item_neighbours": {"item_neighbours_known": ("items",)},
    "recommendations": {
        "recommendations_ranked": (),
        "no_seen_item_recommended": ("interactions", "items"),
        "every_user_served": ("interactions", "items", "users"),
    },
}
"""Table → blocking checks of what its stage must have done → the other tables each looks at."""
BLOCKING: dict[str, dict[str, tuple[str, ...]]] = {
    table.name: dict.fromkeys(schema_checks(table.name), ()) | OF_STAGES.get(table.name, {})
    for table in SCHEMA_CHECKED
    if table not in ONLY_MEASURED
}
"""Table → all of its blocking checks → the other tables that each looks at, in flow order."""
GUARDED = tuple(BLOCKING)


def forced_reason(run: dg.DagsterRun) -> str | None:
    """Why a run goes on past failed checks; None where nobody forced it.

    A run that Dagster or a person starts again from a forced one has its tags and is not forced:
    the reason was given for other data.
    """
    if run.parent_run_id is not None:
        return None
    return run.tags.get(FORCE_TAG, "").strip() or None


@dataclass(frozen=True)
class Objection:
    """Why a table must not be used.

    Attributes:
        table: whose check it is.
        check: its name.
        reason: its sentence where it failed, else why its last result does not count.
        failed: whether it failed, of the table as it is now.
    """

    table: str
    check: str
    reason: str
    failed: bool

    def __str__(self) -> str:
        return f"{self.table}: {self.check}: {self.reason}"


def looked_at(warehouse: Warehouse, catalog: Catalog, tables: tuple[str, ...]) -> dict[str, str]:
    """What a check of tables goes by now: their data versions, and what the YAML expects."""
    versions = gate.versions_of(warehouse, catalog.name, tables)
    return versions | {EXPECTED: digest(catalog.checks.model_dump_json())}


def objections(
    warehouse: Warehouse, catalog: Catalog, tables: Iterable[str], *, together: bool = False
) -> list[Objection]:
    """What blocking checks have against tables, in flow order.

    Args:
        warehouse: where tables and results of checks lie.
        catalog: whose.
        tables: the tables that are to be used; those without checks are passed over.
        together: also object where one of the other tables that a check looks at, or what the YAML
            expects, has changed since, so that all fits each other as it is now.
    """
    asked = [table for table in GUARDED if table in set(tables)]
    if not asked:
        return []
    latest = gate.results(warehouse, catalog.name)
    others = {other for table in asked for also in BLOCKING[table].values() for other in also}
    versions = looked_at(warehouse, catalog, tuple({*asked, *others}))
    found = []
    for table in asked:
        for check, also in BLOCKING[table].items():
            compared = (table, *also, EXPECTED) if together else (table,)
            found += _objection(table, check, latest.get(check), compared, versions)
    return found


def _objection(
    table: str,
    check: str,
    result: CheckResult | None,
    compared: tuple[str, ...],
    versions: dict[str, str],
) -> list[Objection]:
    if result is None:
        return [Objection(table, check, "it was never run", failed=False)]
    changed = [each for each in compared if result.versions.get(each) != versions[each]]
    if changed:
        reason = f"{' and '.join(changed)} changed after it was run"
        return [Objection(table, check, reason, failed=False)]
    return [] if result.passed else [Objection(table, check, result.description, failed=True)]


def require_passed(
    run: dg.DagsterRun,
    warehouse: Warehouse,
    catalog: Catalog,
    stage: str,
    tables: Iterable[str],
    guarded_by: Iterable[str] = (),
) -> None:
    """See that the blocking checks of tables passed, unless somebody forced the run.

    Args:
        run: that wants to use them.
        warehouse: where tables and results of checks lie.
        catalog: whose.
        stage: what is to be made of them.
        tables: what it is made of.
        guarded_by: tables that it is not made of, whose checks must not have failed.

    Raises:
        UserError: a check objects.
    """
    if forced_reason(run) is not None:
        return
    found = objections(warehouse, catalog, tables)
    found += [each for each in objections(warehouse, catalog, guarded_by) if each.failed]
    if found:
        raise refusal(catalog.name, stage, found)


def refusal(catalog: str, stage: str, found: list[Objection]) -> UserError:
    """The error of a stage that does not use what was objected to."""
    lines = "\n".join(f"  {objection}" for objection in found)
    return UserError(
        f"{catalog}/{stage} is not made, because of blocking checks of what it rests on:\n{lines}\n"
        f"What is published stays as it was. Mend what they say and run: recsys run {catalog}. To "
        f"publish it as it is: recsys publish {catalog} --force --reason '…'"
    )
