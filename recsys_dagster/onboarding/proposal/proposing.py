"""Candidates → proposal."""

from collections.abc import Sequence

import pandas as pd

from recsys_dagster.errors import UserError
from recsys_dagster.onboarding.estimates import Size
from recsys_dagster.onboarding.proposal.joining import joined
from recsys_dagster.onboarding.proposal.machine import is_english
from recsys_dagster.onboarding.proposal.meaning import find_events, find_time, find_weight
from recsys_dagster.onboarding.proposal.names import key_rank, must_be_named
from recsys_dagster.onboarding.proposal.naming import named
from recsys_dagster.onboarding.proposal.rendering import Choice, Counts, Proposal
from recsys_dagster.onboarding.proposal.reshaping import split_column, unfolded, united
from recsys_dagster.onboarding.proposal.roles import Parent, Roles, find_roles
from recsys_dagster.onboarding.proposal.tables import Candidate, Column, Table, listed
from recsys_dagster.onboarding.proposal.texts import (
    item_texts,
    named_item_columns,
    personal_remark,
    profile_texts,
    texts_of_items,
)
from recsys_dagster.sql import quoted
from recsys_dagster.steps.prepare.id_matching import explain_mismatch
from recsys_dagster.steps.prepare.shares import percent

"""Of users that an item must have to be learned from, where all items are too many."""


def propose(candidates: Sequence[Candidate]) -> Proposal:
    """Choose tables, columns and settings, each with a reason.

    Args:
        candidates: the tables there are; those without a row are left aside.

    Raises:
        UserError: no table says who did what with which item, or nothing says what items are.
    """
    filled = [candidate for candidate in candidates if len(candidate.frame)]
    tables = [Table(one) for one in unfolded(united(named(filled)))]
    roles = find_roles([*tables, *joined(tables)])
    items = roles.items
    if items is not None and items.table.has_text_beside(items.column):
        items_section, texts = _items(items)
    else:
        items_section, texts = _items_of_interactions(roles, tables)
    return Proposal(
        _interactions(roles),
        items_section,
        _users(roles.users),
        _evaluation(roles.interactions),
        _size(roles, texts),
        is_english([text for column in texts for text in column.texts]),
        _unused(roles, tables),
        _counts(roles),
    )


def _counts(roles: Roles) -> dict[str, Counts]:
    """What queries must give: they and the frames that all else rests on are made apart."""
    counts = {}
    table = roles.interactions
    if not table.candidate.rows:
        keys = {column.name: column.distinct for column in (roles.user, roles.item)}
        counts["interactions"] = Counts(table.rows, keys)
    items = roles.items
    if items is not None and not items.table.candidate.rows:
        keys = {items.column.name: items.column.distinct}
        counts["items"] = Counts(items.table.rows, keys)
    return counts


def _unused(roles: Roles, tables: Sequence[Table]) -> tuple[str, ...]:
    taken = [parent.table for parent in (roles.items, roles.users) if parent is not None]
    names = {name for table in (roles.interactions, *taken) for name in table.candidate.made_of}
    return tuple(table.name for table in tables if table.name not in names)


def _size(roles: Roles, texts: Sequence[Column]) -> Size:
    pairs = pd.DataFrame({"user": roles.user.ids, "item": roles.item.ids}).dropna()
    table = roles.interactions
    # Of a sample, as many times as many; that overstates pairs that come back, if anything.
    times = table.candidate.rows / table.rows if table.candidate.rows else 1
    liked = times * pairs.drop_duplicates()["item"].value_counts()
    known = liked.index
    learned = table.distinct(roles.item)
    every = known if roles.items is None else known.union(roles.items.column.counts.index)
    return Size(
        items=max(len(every), learned),
        learned=learned,
        likes=int(liked.sum()),
        texts=learned if roles.items is None else roles.items.column.distinct,
        text_length=sum(column.text_length for column in texts),
    )


def _evaluation(table: Table) -> tuple[Choice, ...]:
    column = split_column(table)
    if column is None:
        return ()
    shares = ", ".join(
        f"{part} {percent(count / table.rows)}" for part, count in column.counts.items()
    )
    if table.candidate.split:
        why = (
            f"{table.name} have the same columns: they are one table here, and strategies are "
            f"measured on what was set apart. Recommendations are made from all rows. Of the "
            f"rows: {shares}."
        )
    else:
        why = f"`{column.name}` says what is to be measured with. Of the rows: {shares}."
    settings = {"split": "column", "column": column.name}
    return (Choice("evaluation", settings, why),)


def _interactions(roles: Roles) -> tuple[Choice, ...]:
    table, keys = roles.interactions, (roles.user, roles.item)
    columns = []
    for ours, column, why in (
        ("user_id", roles.user, roles.user_why),
        ("item_id", roles.item, roles.item_why),
    ):
        if must_be_named(ours, column.name, table.names):
            columns.append(Choice(ours, column.name, why, is_guess=bool(why)))
        elif why:
            columns.append(Choice("", why=f"{ours} is `{column.name}`, {why}.", is_guess=True))
    settings = []
    for find in (find_time, find_weight, find_events):
        found, more = find(table, keys)
        columns += found
        # What ratings say is liked goes before what events do.
        settings += [one for one in more if not one.key or one.key not in _keys_of(settings)]
    why = (
        f"{table.size}, {table.distinct(roles.user):,} users in `{roles.user.name}` and "
        f"{table.distinct(roles.item):,} items in `{roles.item.name}`."
    )
    if roles.similar:
        why += f" Users and items are also in {', '.join(roles.similar)}."
    return (
        *_supposed(table.candidate),
        Choice("source", table.candidate.source, why),
        *_mapping(columns),
        *settings,
    )


def _keys_of(choices: Sequence[Choice]) -> set[str]:
    """What is set already."""
    return {choice.key for choice in choices}


def _supposed(candidate: Candidate) -> list[Choice]:
    return [Choice("", why=guess, is_guess=True) for guess in candidate.guesses]


def _mapping(columns: Sequence[Choice]) -> list[Choice]:
    """The entry `columns`, where one is needed, and remarks on columns that need none."""
    named = tuple(choice for choice in columns if choice.key)
    remarks = [choice for choice in columns if not choice.key]
    return [*remarks, Choice("columns", named)] if named else remarks


def _items(items: Parent) -> tuple[tuple[Choice, ...], list[Column]]:
    table, key = items.table, items.column
    title, texts = item_texts([column for column in table.text_columns if column is not key])
    columns = []
    if must_be_named("item_id", key.name, table.names):
        columns.append(Choice("item_id", key.name))
    columns += named_item_columns(table, title)
    why = (
        f"{table.size}; {percent(items.shared)} of the items with interactions are in `{key.name}`."
    )
    section = (
        *_supposed(table.candidate),
        Choice("source", table.candidate.source, why),
        *_mapping(columns),
        Choice("text", _text(texts), _left_out(table, [key, *texts])),
    )
    return section, texts


def _text(columns: Sequence[Column]) -> str | list[str]:
    names = [column.name for column in columns]
    # A text with a brace in it would be a template.
    return names[0] if len(names) == 1 and "{" not in names[0] else names


def _left_out(table: Table, taken: Sequence[Column]) -> str:
    left = [column.name for column in table.text_columns if column not in taken]
    return f"There are also {listed(left)}." if left else ""


def _items_of_interactions(
    roles: Roles, tables: Sequence[Table]
) -> tuple[tuple[Choice, ...], list[Column]]:
    """Items as a query over interactions, where these have the items' texts in them."""
    table, key = roles.interactions, roles.item
    relation = table.candidate.relation
    columns = texts_of_items(table, roles.user, key)
    if not columns or relation is None:
        raise UserError(_no_items(roles, tables))
    title, texts = item_texts(columns)
    columns_named = (
        [Choice("item_id", key.name)] if must_be_named("item_id", key.name, [key.name]) else []
    )
    if title is not None and must_be_named("title", title.name, [column.name for column in texts]):
        columns_named.append(Choice("title", title.name))
    source = table.candidate.query(_query(table.candidate, relation, key, texts))
    why = (
        f"No table of items: their texts are those of `{key.name}` in {table.name}, the most "
        "frequent one of each."
        if table.candidate.most_frequent == "mode"
        else f"No table of items: their texts are those of `{key.name}` in {table.name}, one of "
        "each."
    )
    section = (
        Choice("source", source, why),
        *_mapping(columns_named),
        Choice("text", _text(texts)),
    )
    return section, texts


def _query(candidate: Candidate, relation: str, key: Column, texts: Sequence[Column]) -> str:
    selected = [quoted(key.name)]
    for column in texts:
        name = quoted(column.name)
        selected.append(f"{candidate.most_frequent}({name}) as {name}")
    return (
        f"select {', '.join(selected)}\n"
        f"from {relation}\n"
        f"where {quoted(key.name)} is not null\n"
        f"group by {quoted(key.name)}"
    )


def _users(users: Parent | None) -> tuple[Choice, ...]:
    if users is None:
        return ()
    table, key = users.table, users.column
    texts, personal = profile_texts(table, key)
    remark = personal_remark(personal)
    if not texts:
        why = f"{table.name} has users in `{key.name}`, but no text that describes them. {remark}"
        return (Choice("", why=why.strip()),)
    columns = []
    if must_be_named("user_id", key.name, table.names):
        columns.append(Choice("user_id", key.name))
    why = (
        f"{table.size}; {percent(users.shared)} of the users with interactions are in `{key.name}`."
    )
    return (
        Choice("source", table.candidate.source, why),
        *_mapping(columns),
        Choice("text", _text(texts), remark),
        Choice("vectors", "blend", "Half from the items somebody liked, half from this text."),
    )


def _no_items(roles: Roles, tables: Sequence[Table]) -> str:
    lines = [f"{roles.interactions.name} says who did what, but nothing says what the items are."]
    lines += [f"  {table.name}: {', '.join(table.names)}" for table in tables]
    lines.append(
        f"Needed: a table with the values of {roles.item.name!r} in one column and a text, such "
        "as a title or a description, in another."
    )
    lines += _ids_written_in_two_ways(roles.item, tables)
    return "\n".join(lines)


def _ids_written_in_two_ways(item: Column, tables: Sequence[Table]) -> list[str]:
    """What to write where another table has the ids of the items in another form."""
    for table in tables:
        for column in table.columns:
            if column is item or key_rank(column.name, "item_id") is None:
                continue
            is_known = item.counts.index.isin(column.counts.index)
            found = explain_mismatch(
                item.counts[~is_known],
                pd.Series(column.counts.index),
                none_matches=not is_known.any(),
            )
            if found is not None and table.has_text_beside(column):
                sql = found.difference.sql.replace("item_id", quoted(item.name))
                return [
                    f"{table.name} has such ids in `{column.name}`, written in another way: "
                    f"{found.difference.name} they would match. Write them alike by a query under "
                    f"interactions: source: {{sql: select * replace ({sql} as "
                    f"{quoted(item.name)}) from …}}, and the same for the items."
                ]
    return []
