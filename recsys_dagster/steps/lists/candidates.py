"""Which items of the catalogue the rules let into lists, before anything is ranked."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from recsys_dagster.catalog.rules import RuleSettings
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.steps.prepare.texts import clean_text

MAX_NAMED = 5


@dataclass(frozen=True)
class NamedItems:
    """Items that rules name one by one.

    Attributes:
        allow: the only item_ids that may be recommended; None where all may.
        deny: item_ids that may never be.
    """

    allow: tuple[str, ...] | None
    deny: tuple[str, ...]

    def unknown(self, items: pd.DataFrame) -> list[str]:
        """A sentence for each rule that names items which the catalogue lacks.

        Args:
            items: table `items`.
        """
        sentences = []
        for key, ids in (("allow", self.allow or ()), ("deny", self.deny)):
            named = pd.Index(dict.fromkeys(ids), dtype="str")
            lacking = named[~named.isin(items["item_id"])]
            if len(lacking):
                few = ", ".join(map(repr, lacking[:MAX_NAMED])) + (
                    ", …" if len(lacking) > MAX_NAMED else ""
                )
                sentences.append(
                    f"rules: {key}: {len(lacking):,} of {len(named):,} item_ids are not in the "
                    f"items table, and are passed over: {few}"
                )
        return sentences


def candidates(items: pd.DataFrame, rules: RuleSettings, named: NamedItems) -> pd.Series:
    """Whether the rules let each item into lists; availability is another matter.

    Args:
        items: table `items`; its item_id and category are read.
        rules: the catalog's.
        named: what they name one by one.

    Returns:
        bool (items,), with the index of `items`.

    Raises:
        UserError: a category that no item has, or rules that leave nothing of a catalogue.
    """
    item_ids, category = items["item_id"], items["category"]
    left = pd.Series(True, index=items.index)
    steps = []
    if named.allow is not None:
        steps.append(("allow", item_ids.isin(named.allow)))
    if named.deny:
        steps.append(("deny", ~item_ids.isin(named.deny)))
    if rules.categories is not None:
        steps.append(("categories", _of("categories", rules.categories, category)))
    if rules.without_categories is not None:
        of_these = _of("without_categories", rules.without_categories, category)
        steps.append(("without_categories", ~of_these))
    for key, allowed in steps:
        left &= allowed
        if len(left) and not left.any():
            raise UserError(
                f"rules: {key}: nothing of the catalogue's {len(items):,} items is left to "
                "recommend. See rules in the YAML, and the files that they name."
            )
    return left


def _of(key: str, names: Iterable[str], category: pd.Series) -> pd.Series:
    """Whether each item is of one of the categories."""
    wanted = {clean_text(name) for name in names}
    known = category.dropna().unique()
    unknown = [
        f"no item is of the category {name!r}.{did_you_mean(name, sorted(known))}"
        for name in sorted(wanted.difference(known))
    ]
    # An empty catalogue is told of by a check of its own.
    if unknown and len(category):
        raise UserError(f"rules: {key}: {' '.join(unknown)}")
    return category.isin(wanted)
