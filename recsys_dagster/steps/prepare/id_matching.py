"""Ids that two tables write differently → the difference that explains most of it."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from recsys_dagster.steps.prepare.ids import UNSEEN

ENOUGH = 0.5
"""Of what does not match, that a difference must explain."""
DISTINCT = 0.95
"""Of the items, that must still be told apart."""
MAX_SAMPLE = 20_000
"""Ids that do not match, the most frequent ones."""
UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
DIRT = re.compile(rf"[\s{UNSEEN}]")
PREFIX = re.compile(r"^[^0-9]+(?=[0-9])")
ZEROS = re.compile(r"^0+(?=.)")


@dataclass(frozen=True)
class Difference:
    """What ids would match without.

    Attributes:
        name: as in "without leading zeros".
        without: an id as it would match.
        sql: the same in DuckDB, of the column item_id.
        telling: whether what is taken away may tell things apart, as in book_7 and film_7: it
            explains ids only where none matches as it is.
    """

    name: str
    without: Callable[[str], str]
    sql: str
    telling: bool = False


DIFFERENCES = (
    Difference(
        "without leading zeros",
        lambda text: ZEROS.sub("", text),
        r"regexp_replace(item_id, '^0+(.)', '\1')",
    ),
    Difference(
        "without a trailing .0",
        lambda text: text.removesuffix(".0"),
        r"regexp_replace(item_id, '\.0$', '')",
    ),
    Difference("in lower case", str.casefold, "lower(item_id)"),
    Difference(
        "in one Unicode form",
        lambda text: unicodedata.normalize("NFC", text),
        "nfc_normalize(item_id)",
    ),
    Difference(
        "without spaces and invisible characters",
        lambda text: DIRT.sub("", text),
        r"regexp_replace(item_id, '[\s\p{Z}\p{Cf}]', '', 'g')",
    ),
    Difference(
        "as UUIDs in lower case without hyphens",
        lambda text: text.replace("-", "").lower() if UUID.fullmatch(text) else text,
        "lower(replace(item_id, '-', ''))",
    ),
    Difference(
        "without what is in front of the first digit",
        lambda text: PREFIX.sub("", text),
        r"regexp_replace(item_id, '^[^0-9]+([0-9])', '\1')",
        telling=True,
    ),
    Difference(
        "without what is in front of the first digit and leading zeros",
        lambda text: ZEROS.sub("", PREFIX.sub("", text)),
        r"regexp_replace(regexp_replace(item_id, '^[^0-9]+([0-9])', '\1'), '^0+(.)', '\1')",
        telling=True,
    ),
    Difference(
        "with letters and digits alone, in lower case",
        lambda text: "".join(filter(str.isalnum, unicodedata.normalize("NFC", text).casefold())),
        r"lower(regexp_replace(nfc_normalize(item_id), '[^\p{L}\p{N}]', '', 'g'))",
    ),
)


@dataclass(frozen=True)
class Explanation:
    """The difference that explains most.

    Attributes:
        difference: which.
        matched: how many interactions with unknown items would then be with known ones.
    """

    difference: Difference
    matched: int


def explain_mismatch(
    unknown: pd.Series, known: pd.Series, *, none_matches: bool
) -> Explanation | None:
    """Why items of interactions are not in the table of items; None where nothing explains it.

    Args:
        unknown: interactions by the item_ids that the table of items lacks.
        known: the item_ids of the table of items.
        none_matches: whether no interaction at all is with one of those.
    """
    looked_at = unknown.nlargest(MAX_SAMPLE)
    best: Explanation | None = None
    for difference in DIFFERENCES:
        if difference.telling and not none_matches:
            continue
        there = set(map(difference.without, known))
        if len(there) < len(known) * DISTINCT:
            continue
        would = looked_at.index.map(difference.without).isin(there)
        matched = int(looked_at[would].sum())
        if (
            matched
            and matched >= ENOUGH * looked_at.sum()
            and (best is None or matched > best.matched)
        ):
            best = Explanation(difference, matched)
            if matched == looked_at.sum():
                break
    return best
