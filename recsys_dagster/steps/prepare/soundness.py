"""What tables must be like for a run to go on: each rule once, for checks and for `validate`.

A rule gets counts, not tables: checks count in the warehouse, `validate` in what it just read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.steps.prepare.id_matching import Explanation
from recsys_dagster.steps.prepare.shares import expected, percent


@dataclass(frozen=True)
class Finding:
    """What a rule says of tables.

    Attributes:
        passed: whether they are as expected.
        blocks: whether nothing may rest on them when they are not.
        said: a sentence with what was found, what is expected and what to do.
        figures: what the sentence rests on.
    """

    passed: bool
    said: str
    figures: Mapping[str, int | float]
    blocks: bool = True


def keys_unique(
    rows: int, repeated: int, key: Sequence[str], *, may_be_empty: bool = False
) -> Finding:
    """There are rows, one a key.

    Args:
        rows: of the table.
        repeated: keys of more than one row.
        key: its columns.
        may_be_empty: whether the table may have no row.
    """
    some = "" if may_be_empty else "at least one row and "
    return Finding(
        (rows > 0 or may_be_empty) and repeated == 0,
        f"{rows:,} rows, {repeated:,} repeated keys ({', '.join(key)}); {some}no "
        "repeated key expected",
        {"rows": rows, "repeated_keys": repeated},
    )


def columns_sound(
    table: str,
    columns: int,
    missing: Sequence[str],
    mistyped: Mapping[str, tuple[str, str]],
    nulls: Mapping[str, int],
) -> Finding:
    """The declared columns are there, with their types, and no row lacks what none may lack.

    Args:
        table: its name.
        columns: how many are declared.
        missing: those that are not there.
        mistyped: those of another type: the DuckDB type found, and the one declared.
        nulls: those that have nulls and may not: in how many rows.
    """
    said = (
        f"{columns:,} columns declared, {len(missing):,} missing, {len(mistyped):,} of another "
        f"type, {len(nulls):,} with nulls that may have none; none of either expected"
    )
    faults = [
        *(f"{name} is missing" for name in missing),
        *(f"{name} is {found}, not {declared}" for name, (found, declared) in mistyped.items()),
        *(f"{name} is null in {rows:,} rows" for name, rows in nulls.items()),
    ]
    if faults:
        said += (
            f"; {', '.join(faults)}: drop the table {table} from the catalog's DuckDB file and "
            "run again; if it comes back so, the stage that makes it has a fault"
        )
    return Finding(
        not faults,
        said,
        {
            "columns": columns,
            "missing_columns": len(missing),
            "mistyped_columns": len(mistyped),
            "columns_with_nulls": len(nulls),
        },
    )


def accepted_share(table: str, raw: int, faulty: int, by_setting: int, min_share: float) -> Finding:
    """Most rows of the source are accepted; what a setting leaves out is no fault of a row.

    Args:
        table: interactions or items.
        raw: rows of the source.
        faulty: those rejected for a fault.
        by_setting: those left out by a setting.
        min_share: share of the others that must be accepted.
    """
    judged = raw - by_setting
    share = 1 - faulty / judged if judged else 0.0
    said = (
        f"{percent(share, min_share)} of {judged:,} rows accepted, "
        f"at least {expected(min_share)} expected"
    )
    if share < min_share:
        said += (
            f"; the reasons are in rejected_{table}: mend the source or {table}: columns in the "
            "YAML, or lower checks: accepted_share"
        )
    if raw and not judged:
        said += f"; all {raw:,} rows are left out by interactions: events in the YAML"
    return Finding(
        share >= min_share,
        said,
        {
            "accepted_share": share,
            "expected_share": min_share,
            "rejected_rows": faulty,
            "left_out_by_settings": by_setting,
        },
    )


def needs_positives(catalog: Catalog) -> bool:
    """Whether nothing positive is nothing to recommend by.

    With the strategy `content` and texts of users lists come from what users say of themselves,
    and interactions may do no more than tell what they have seen. Every other strategy, `popular`
    too, would give each item the score 0.
    """
    return catalog.strategy != "content" or catalog.users.text is None


def some_positive(pairs: int, positive: int, needed: bool) -> Finding:
    """There is something to learn from.

    Args:
        pairs: interactions, one a (user, item).
        positive: those that models learn from.
        needed: as `needs_positives`.
    """
    said = f"{positive:,} of {pairs:,} interactions are positive, at least one expected"
    if not positive and needed:
        said += (
            ": there is nothing to learn from; see positive, returns, minimum_per_user and "
            "minimum_per_item under interactions in the YAML"
        )
    elif not positive:
        said += "; lists are made from the users' texts"
    return Finding(
        positive > 0 or not needed, said, {"interactions": pairs, "positive_interactions": positive}
    )


def some_available(items: int, available: int) -> Finding:
    """There is something to recommend.

    Args:
        items: of the catalogue.
        available: those that may be recommended.
    """
    said = f"{available:,} of {items:,} items are available, at least one expected"
    if not available:
        said += (
            ": every list would be empty; see the source's column of availability and items: "
            "columns: available in the YAML"
        )
    return Finding(available > 0, said, {"items": items, "items_available": available})


def known_share(
    pairs: int, unknown: int, unknown_items: int, min_share: float, explanation: Explanation | None
) -> Finding:
    """Interactions are with items of the catalogue: otherwise the tables write ids differently.

    A catalogue may well lack some: what was sold and is gone, what nobody described. What people
    did with them is learned from, and the rest is recommended as ever; to publish nothing would
    help nobody. So it blocks only where not one is known, when no list could hold anything that
    anybody did anything with.

    Args:
        pairs: interactions.
        unknown: those with items that the catalogue lacks.
        unknown_items: how many items these are.
        min_share: share of the interactions that should be with known ones.
        explanation: what ids differ by, where they do.
    """
    share = 1 - unknown / pairs if pairs else 0.0
    none_known = 0 < pairs == unknown
    passed = share >= min_share and not none_known
    said = (
        f"{percent(share, min_share)} of {pairs:,} interactions are with items of the catalogue, "
        f"at least {expected(min_share)} expected; {unknown_items:,} items are only in "
        "interactions: never recommended"
    )
    if explanation is not None:
        would = percent((pairs - unknown + explanation.matched) / pairs)
        said += (
            f"; {explanation.difference.name} {would} would match: write both sources' ids alike, "
            f"with a query: select * replace ({explanation.difference.sql} as item_id) from …"
        )
    elif none_known:
        said += (
            "; the two sources write ids differently: see interactions: columns and items: columns "
            "in the YAML"
        )
    elif not passed:
        said += "; add them to the source of items, or lower checks: known_share in the YAML"
    return Finding(
        passed,
        said,
        {
            "known_share": share,
            "expected_share": min_share,
            "unknown_interactions": unknown,
            "unknown_items": unknown_items,
        },
        blocks=none_known,
    )
