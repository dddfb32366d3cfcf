"""What is said about items and users in words."""

from collections.abc import Sequence

from recsys_dagster.onboarding.proposal.names import (
    AVAILABLE_NAMES,
    CATEGORY_WORDS,
    CREATED_NAMES,
    DESCRIPTION_WORDS,
    PERSONAL_WORDS,
    has_word,
    is_title_name,
    known_column,
    must_be_named,
    place_in,
    words,
)
from recsys_dagster.onboarding.proposal.rendering import Choice
from recsys_dagster.onboarding.proposal.tables import TITLE_LENGTH, Column, Table, listed
from recsys_dagster.steps.prepare.items import parse_available

MAX_TEXTS = 5
DEPENDS = 0.7
"""How much less often one guesses a text wrong when the item is known."""


def item_texts(columns: Sequence[Column]) -> tuple[Column | None, list[Column]]:
    """The title, if there is one, and the texts to encode: the title first, short before long."""
    title = _title(columns)
    others = [column for column in columns if column is not title and not _repeats(column, title)]
    others.sort(key=lambda column: not has_word(column.name, DESCRIPTION_WORDS))
    chosen = others[: MAX_TEXTS - (title is not None)]
    chosen.sort(key=lambda column: column.text_length)
    return title, [title, *chosen] if title is not None else chosen


def _title(columns: Sequence[Column]) -> Column | None:
    known = known_column("title", [column.name for column in columns])
    by_name = [column for column in columns if column.name == known]
    by_name += [column for column in columns if is_title_name(column.name)]
    if by_name:
        return by_name[0]
    varied = [
        column
        for column in columns
        if column.uniqueness > 0.5 and column.text_length <= TITLE_LENGTH
    ]
    return max(varied, key=lambda column: (column.filled, column.uniqueness), default=None)


def _repeats(column: Column, title: Column | None) -> bool:
    if title is None or column is title or len(column.values) != len(title.values):
        return False
    both = column.ids.notna() & title.ids.notna()
    return bool((column.ids[both] == title.ids[both]).mean() > 0.5)


def named_item_columns(table: Table, title: Column | None) -> list[Choice]:
    """Entries of `columns` for title, category, available and created_at."""
    columns = []
    if title is not None and must_be_named("title", title.name, table.names):
        columns.append(Choice("title", title.name))
    if known_column("category", table.names) is None:
        category = _category(table.text_columns, title)
        if category is not None:
            columns.append(Choice("category", category.name))
    if known_column("available", table.names) is None:
        available = _available(table)
        if available is not None:
            why = "items without stock, or not active, are never recommended"
            columns.append(Choice("available", available.name, why))
    if known_column("created_at", table.names) is None:
        created = _created(table)
        if created is not None:
            columns.append(Choice("created_at", created.name, "used by rules.freshness_boost"))
    return columns


def _category(columns: Sequence[Column], title: Column | None) -> Column | None:
    ranked = [
        (place, position, column)
        for position, column in enumerate(columns)
        for place in [_category_place(column.name)]
        if place is not None and column is not title and column.uniqueness < 0.9
    ]
    return min(ranked, default=(0, 0, None), key=lambda one: one[:2])[2]


def _category_place(name: str) -> int | None:
    return next(
        (place for place, word in enumerate(CATEGORY_WORDS) if has_word(name, (word,))), None
    )


def _available(table: Table) -> Column | None:
    ranked = [
        (place, column)
        for column in table.columns
        if (place := place_in(column.name, AVAILABLE_NAMES)) is not None and column.distinct
    ]
    for _, column in sorted(ranked, key=lambda one: one[0]):
        read = parse_available(column.values)
        if read.notna().all() and read.any():
            return column
    return None


def _created(table: Table) -> Column | None:
    ranked = [
        (place, column)
        for column in table.columns
        if (place := place_in(column.name, CREATED_NAMES)) is not None and column.is_time
    ]
    return min(ranked, default=(0, None), key=lambda one: one[0])[1]


def profile_texts(table: Table, key: Column) -> tuple[list[Column], list[Column]]:
    """The texts that describe a user, short before long, and those that name a person."""
    texts = [column for column in table.text_columns if column is not key]
    personal = [column for column in texts if PERSONAL_WORDS & set(words(column.name))]
    about = [column for column in texts if column not in personal][:MAX_TEXTS]
    return sorted(about, key=lambda column: column.text_length), personal


def texts_of_items(table: Table, user: Column, item: Column) -> list[Column]:
    """The texts of interactions that depend on the item alone, such as a product's description.

    Of each item the first one.
    """
    first = ~item.ids.duplicated() & item.ids.notna()
    return [
        Column(column.name, column.values[first])
        for column in table.text_columns
        if column is not user and column is not item and _depends(column, item)
    ]


def _depends(column: Column, item: Column) -> bool:
    """Whether the item tells the text: Goodman and Kruskal's lambda over items that come back."""
    pairs = column.ids.to_frame("text").assign(item=item.ids).dropna()
    pairs = pairs[pairs["item"].duplicated(keep=False)]
    if pairs.empty:
        return False
    by_pair = pairs.groupby(["item", "text"]).size()
    told = by_pair.groupby("item").max().sum() / len(pairs)
    guessed = pairs["text"].value_counts().iloc[0] / len(pairs)
    return guessed < 1 and (told - guessed) / (1 - guessed) >= DEPENDS


def personal_remark(columns: Sequence[Column]) -> str:
    """Why texts that name a person are not taken."""
    names = listed(column.name for column in columns)
    return f"Not taken, since they name a person: {names}." if columns else ""
