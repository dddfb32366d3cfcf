"""What came of a shape: right, refused, or wrong with a straight face."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from tests.strangers.shape import Truth

MAX_DIFFERENCES = 3


@dataclass(frozen=True)
class Tables:
    """What a catalog understood: the tables of these names."""

    interactions: pd.DataFrame
    rejected_interactions: pd.DataFrame
    items: pd.DataFrame
    rejected_items: pd.DataFrame


def misread(truth: Truth, tables: Tables) -> list[str]:
    """Every difference between what was understood and the truth, a sentence each."""
    return [
        *_wrong_pairs(truth, tables.interactions),
        *_wrong_titles(truth, tables.items),
        *_wrong_count("interactions", truth.rejected, tables.rejected_interactions),
        *_wrong_count("items", truth.rejected_items, tables.rejected_items),
    ]


def _wrong_pairs(truth: Truth, interactions: pd.DataFrame) -> Iterator[str]:
    found = {
        (row.user_id, row.item_id): row for row in interactions.itertuples(index=False)
    }  # fmt: skip
    yield from _listed("lost", [str(pair) for pair in truth.pairs if pair not in found])
    yield from _listed("made up", [str(pair) for pair in found if pair not in truth.pairs])
    both = [(pair, known, found[pair]) for pair, known in truth.pairs.items() if pair in found]
    yield from _listed(
        "weight",
        [
            f"{pair} weighs {row.weight:g}, not {known.weight:g}"
            for pair, known, row in both
            if abs(row.weight - known.weight) > 1e-6
        ],
    )
    yield from _listed(
        "time",
        [
            f"{pair} was at {row.last_timestamp}, not {known.last}"
            for pair, known, row in both
            if (None if pd.isna(row.last_timestamp) else row.last_timestamp.to_pydatetime())
            != known.last
        ],
    )


def _wrong_titles(truth: Truth, items: pd.DataFrame) -> Iterator[str]:
    found = dict(zip(items["item_id"], items["title"], strict=True))
    yield from _listed("no item", [item for item in truth.titles if item not in found])
    yield from _listed("an item too many", [item for item in found if item not in truth.titles])
    yield from _listed(
        "title",
        [
            f"{item} is {found[item]!r}, not {title!r}"
            for item, title in truth.titles.items()
            if item in found and not _is_title(found[item], title)
        ],
    )


def _is_title(found: str, title: str) -> bool:
    """A title that ends with … is the beginning of one."""
    return found.startswith(title[:-1]) if title.endswith("…") else found == title


def _wrong_count(table: str, expected: int, rejected: pd.DataFrame) -> Iterator[str]:
    if len(rejected) != expected:
        yield f"{len(rejected)} rows of {table} rejected, not {expected}"


def _listed(what: str, found: list[str]) -> Iterator[str]:
    if found:
        more = f" and {len(found) - MAX_DIFFERENCES} more" * (len(found) > MAX_DIFFERENCES)
        yield f"{what}: {'; '.join(found[:MAX_DIFFERENCES])}{more}"
