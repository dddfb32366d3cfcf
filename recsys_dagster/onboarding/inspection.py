"""Looking at a catalog's data before any run: every fault at once, and what was understood."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import pandas as pd
import pyarrow as pa

from recsys_dagster.catalog.item_lists import named_items
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.catalog.source import SourceSettings, expand_variables
from recsys_dagster.errors import UserError
from recsys_dagster.onboarding.estimates import Size, estimate, size_of
from recsys_dagster.resources.encoder_models import resolve_model
from recsys_dagster.resources.encoder_running import may_have_cuda
from recsys_dagster.resources.machine import available_bytes, usable_cores
from recsys_dagster.resources.sources import read_source
from recsys_dagster.resources.warehouse import to_pandas
from recsys_dagster.schemas import TABLES
from recsys_dagster.steps.lists.candidates import candidates
from recsys_dagster.steps.prepare import soundness
from recsys_dagster.steps.prepare.columns import find_column, own_columns, require_column
from recsys_dagster.steps.prepare.id_matching import explain_mismatch
from recsys_dagster.steps.prepare.interactions import parse_interactions
from recsys_dagster.steps.prepare.items import parse_items
from recsys_dagster.steps.prepare.soundness import Finding
from recsys_dagster.steps.prepare.texts import item_texts, titles_from_texts, user_texts
from recsys_dagster.steps.prepare.users import collect_users

EXAMPLES = 3
EXAMPLE_LENGTH = 60
TEXTS = 5

Found = TypeVar("Found")


@dataclass(frozen=True)
class Rejects:
    """Rows rejected for one reason, with a few of them: where they are and what is in them."""

    reason: str
    rows: int
    examples: list[str]


@dataclass(frozen=True)
class TableReport:
    """What was understood of one source.

    Attributes:
        table: interactions, items or users.
        source: where the rows come from.
        rows: how many there are.
        accepted: how many of them are of use; None where they could not be judged.
        columns: our name, the source's, a value of it.
        rejects: most frequent reason first.
    """

    table: str
    source: str
    rows: int
    accepted: int | None = None
    columns: list[tuple[str, str, str]] = field(default_factory=list)
    rejects: list[Rejects] = field(default_factory=list)


@dataclass(frozen=True)
class Inspection:
    """All that is wrong with a catalog's data, and what was understood of it.

    Attributes:
        faults: a sentence each; a run would stop at them.
        remarks: a sentence each; a run would go on.
        tables: a report a source that could be read.
        texts: titles of a few items and the texts that stand for them.
        estimate: how long a run takes on this machine and how much memory, a line; None where that
            could not be told.
    """

    faults: list[str]
    remarks: list[str]
    tables: list[TableReport]
    texts: list[tuple[str, str]]
    estimate: str | None = None


def inspect_catalog(catalog: Catalog) -> Inspection:
    """Read all sources, judge all rows, compose the texts; nothing is written anywhere."""
    return _Inspector(catalog).inspect()


class _Inspector:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._faults: list[str] = []
        self._remarks: list[str] = []
        self._tables: list[TableReport] = []
        self._texts: list[tuple[str, str]] = []
        self._estimate: str | None = None

    def inspect(self) -> Inspection:
        catalog = self._catalog
        interactions = self._interactions()
        items = self._items()
        if interactions is not None:
            self._users(interactions)
        texts = None
        if items is not None:
            texts = self._attempt(lambda: item_texts(items, catalog.items.text))
            if texts is not None:
                # Spread over the table: the first rows of a table are often alike.
                chosen = texts.iloc[:: max(1, len(texts) // TEXTS)].head(TEXTS)
                titles = items.set_index("item_id")["title"]
                self._texts = [
                    (titles[row.item_id], row.text) for row in chosen.itertuples(index=False)
                ]
        if interactions is not None and items is not None:
            self._overlap(interactions, items)
            self._measure(size_of(self._catalog.strategy, interactions, items, texts))
        self._rules(items)
        model = catalog.encoder.model
        if model != "tfidf":
            self._attempt(lambda: resolve_model(expand_variables(model), catalog.folder))
        return Inspection(self._faults, self._remarks, self._tables, self._texts, self._estimate)

    def _measure(self, size: Size) -> None:
        """Say what a run takes."""
        cores, memory = usable_cores(), available_bytes()
        self._estimate = estimate(self._catalog, size, cores, memory, may_have_cuda())

    def _attempt(self, step: Callable[[], Found]) -> Found | None:
        """The step's result, or None and a fault more."""
        try:
            return step()
        except UserError as error:
            if str(error) not in self._faults:
                self._faults.append(str(error))
            return None

    def _read(self, table: str, source: SourceSettings) -> pa.Table | None:
        if source.is_asset_value:
            self._remarks.append(
                f"{table}: the rows are the value of the asset {source.asset}, which only a run "
                "can read: they were not looked at."
            )
            return None
        landing = self._catalog.live_folder if table == "interactions" else None
        found = self._attempt(lambda: read_source(source, self._catalog.folder, landing=landing))
        if found is not None:
            self._remarks += [f"{table}: {remark}" for remark in found.remarks]
        if found is not None and found.rows.num_rows == 0:
            self._faults.append(f"{table}: {source.described}: there is no row in it.")
        return found.rows if found is not None else None

    def _columns(
        self,
        raw: pd.DataFrame,
        table: str,
        mapping: dict[str, str],
        needed: tuple[str, ...],
        optional: tuple[str, ...],
    ) -> list[tuple[str, str, str]] | None:
        """Which column is which; None where one that is needed is not known."""
        names = own_columns(raw.columns)
        faults = len(self._faults)
        understood = []
        for wanted in (*needed, *optional):
            find = require_column if wanted in needed else find_column

            def look(find: Callable[..., str | None] = find, wanted: str = wanted) -> str | None:
                return find(wanted, names, mapping, f"raw_{table}")

            column = self._attempt(look)
            if column is not None:
                values = raw[column].dropna()
                example = _short(values.iloc[0]) if len(values) else "all null"
                understood.append((wanted, column, example))
        return understood if len(self._faults) == faults else None

    def _interactions(self) -> pd.DataFrame | None:
        settings = self._catalog.interactions
        rows = self._read("interactions", settings.source)
        if rows is None:
            return None
        raw = to_pandas(rows)
        event = ("event",) if settings.events is not None else ()
        columns = self._columns(
            raw,
            "interactions",
            settings.columns,
            ("user_id", "item_id", *event),
            ("weight", "timestamp", "position"),
        )
        now = pd.Timestamp.now("UTC").tz_localize(None)
        parsed = None
        if columns is not None:
            parsed = self._attempt(lambda: parse_interactions(raw, settings, now))
        rejected = None if parsed is None else parsed.rejected
        self._report("interactions", settings.source, raw, columns, rejected)
        if parsed is None:
            return None
        self._remarks += [f"interactions: {remark}" for remark in parsed.remarks]
        positive = int(parsed.accepted["positive"].sum())
        needed = soundness.needs_positives(self._catalog)
        learned = soundness.some_positive(len(parsed.accepted), positive, needed)
        self._judge("interactions", raw, parsed.accepted, parsed.rejected, learned)
        return parsed.accepted

    def _items(self) -> pd.DataFrame | None:
        settings = self._catalog.items
        rows = self._read("items", settings.source)
        if rows is None:
            return None
        raw = to_pandas(rows)
        columns = self._columns(
            raw,
            "items",
            settings.columns,
            ("item_id",),
            ("title", "category", "available", "created_at"),
        )
        parsed = None
        if columns is not None:
            parsed = self._attempt(lambda: parse_items(raw, columns=settings.columns))
        rejected = None if parsed is None else parsed.rejected
        self._report("items", settings.source, raw, columns, rejected)
        if parsed is None:
            return None
        available = int(parsed.accepted["available"].sum())
        to_be_had = soundness.some_available(len(parsed.accepted), available)
        self._judge("items", raw, parsed.accepted, parsed.rejected, to_be_had)
        titled = self._attempt(lambda: titles_from_texts(parsed.accepted, settings.text))
        return parsed.accepted if titled is None else titled

    def _judge(
        self,
        table: str,
        raw: pd.DataFrame,
        accepted: pd.DataFrame,
        rejected: pd.DataFrame,
        content: Finding,
    ) -> None:
        """Hold a table against what the gate would: how much is accepted, keys, what is in it."""
        if raw.empty:
            return
        by_setting = int(rejected["by_setting"].sum())
        min_share = self._catalog.checks.accepted_share
        key = TABLES[table].key
        found = [
            soundness.accepted_share(
                table, len(raw), len(rejected) - by_setting, by_setting, min_share
            ),
            soundness.keys_unique(len(accepted), int(accepted.duplicated(list(key)).sum()), key),
            content,
        ]
        failed = [finding for finding in found if not finding.passed]
        # Of an empty table the first says why, and all others follow.
        for finding in failed[:1] if accepted.empty else failed:
            self._tell(finding, f"{table}: {finding.said}")

    def _tell(self, finding: Finding, sentence: str) -> None:
        (self._faults if finding.blocks else self._remarks).append(sentence)

    def _users(self, interactions: pd.DataFrame) -> None:
        settings = self._catalog.users
        if settings.source is None:
            return
        rows = self._read("users", settings.source)
        if rows is None:
            return
        raw = to_pandas(rows)
        columns = self._columns(raw, "users", settings.columns, ("user_id",), ())
        self._report("users", settings.source, raw, columns, None)
        if columns is None:
            return
        users = self._attempt(lambda: collect_users(interactions, raw, columns=settings.columns))
        if users is not None:
            self._attempt(lambda: user_texts(users, settings.text))

    def _report(
        self,
        table: str,
        source: SourceSettings,
        raw: pd.DataFrame,
        columns: list[tuple[str, str, str]] | None,
        rejected: pd.DataFrame | None,
    ) -> None:
        rejects = []
        unread = set(raw["source_error"].dropna())
        if rejected is not None:
            for reason, rows in rejected.groupby("reason"):
                is_unread = reason in unread
                examples = [
                    _where(row, is_unread=is_unread)
                    for row in rows.head(EXAMPLES).to_dict("records")
                ]
                rejects.append(Rejects(str(reason), len(rows), examples))
            rejects.sort(key=lambda reject: -reject.rows)
        accepted = None if rejected is None else len(raw) - len(rejected)
        self._tables.append(
            TableReport(table, source.described, len(raw), accepted, columns or [], rejects)
        )

    def _rules(self, items: pd.DataFrame | None) -> None:
        """Files that rules name are read in any case, and compared where items are known."""
        rules = self._catalog.rules
        named = self._attempt(lambda: named_items(self._catalog))
        if named is None or items is None:
            return
        self._remarks += named.unknown(items)
        self._attempt(lambda: candidates(items, rules, named))

    def _overlap(self, interactions: pd.DataFrame, items: pd.DataFrame) -> None:
        if interactions.empty or items.empty:
            return
        is_unknown = ~interactions["item_id"].isin(items["item_id"])
        unknown = interactions.loc[is_unknown, "item_id"].value_counts().sort_index()
        if unknown.empty:
            return
        min_share = self._catalog.checks.known_share
        explanation = None
        if 1 - is_unknown.mean() < min_share:
            explanation = explain_mismatch(
                unknown, items["item_id"], none_matches=bool(is_unknown.all())
            )
        finding = soundness.known_share(
            len(interactions), int(unknown.sum()), len(unknown), min_share, explanation
        )
        here, there = _short(unknown.index[0]), _short(items["item_id"].iloc[0])
        self._tell(
            finding,
            f"interactions: {finding.said} (such as {here!r}; ids of the items table look like "
            f"{there!r}).",
        )


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= EXAMPLE_LENGTH else text[: EXAMPLE_LENGTH - 1] + "…"


def _where(row: dict[str, object], *, is_unread: bool) -> str:
    file = "" if pd.isna(row["source_file"]) else f"{row['source_file']}, "
    hidden = ("source_file", "source_row", "reason", "by_setting")
    values = [
        f"{name} {_short(value)!r}"
        for name, value in row.items()
        if name not in hidden and not pd.isna(value)
    ]
    content = f"could not be read: {row['reason']}" if is_unread else ", ".join(values)
    return f"{file}row {row['source_row']}: {content or 'nothing in it'}"
