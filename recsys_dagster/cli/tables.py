"""What the commands print: titles rather than ids, tables for people, JSON for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recsys_dagster.catalog.files import Catalogs, FaultyCatalog
from recsys_dagster.cli.program import program
from recsys_dagster.errors import UserError
from recsys_dagster.onboarding.inspection import Inspection, TableReport
from recsys_dagster.snapshots.reader import Row, Snapshot
from recsys_dagster.steps.prepare.shares import percent

console = Console()
error_console = Console(stderr=True, highlight=False)
MAX_SHOWN = 300
"""Characters of an item's text."""


def plain(text: str) -> str:
    """Text from data, with nothing in it read as markup."""
    return escape(text)


def print_json(rows: Sequence[Row]) -> None:
    """A list of rows as JSON on standard output, and nothing else."""
    json.dump([asdict(row) for row in rows], sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def print_recommendations(snapshot: Snapshot, user: str, n: int) -> None:
    """A user's list with the reasons of each row."""
    rows = snapshot.recommend(user, n)
    known = snapshot.knows(user)
    name = snapshot.manifest["catalog"]
    title = f"{name}: recommended to user {user}" if known else f"{name}: popular items"
    table = _titled(title)
    table.add_column("#", justify="right", style="dim")
    table.add_column("title", overflow="fold", min_width=20)
    table.add_column("score", justify="right")
    table.add_column("strategy", style="dim")
    table.add_column("because of", overflow="fold")
    for row in rows:
        because = ", ".join(f"{plain(r.title)} [dim]{r.share:.0%}[/]" for r in row.because)
        table.add_row(str(row.rank), plain(row.title), f"{row.score:.3f}", row.strategy, because)
    if not known:
        error_console.print(f"User {plain(user)} is not known: here is what is popular.")
    console.print(table)


def print_similar(snapshot: Snapshot, item: str, n: int) -> None:
    """An item's neighbours."""
    _, title = snapshot.find_item(item)
    table = _titled(f"Most like {title}")
    table.add_column("#", justify="right", style="dim")
    table.add_column("title", overflow="fold", min_width=20)
    table.add_column("similarity", justify="right")
    for row in snapshot.similar(item, n):
        table.add_row(str(row.rank), plain(row.title), f"{row.score:.3f}")
    console.print(table)


def print_status(catalogs: Catalogs, folder: Path) -> None:
    """One line a catalog: its snapshot, how old it is and what is in it."""
    table = _titled("Catalogs")
    for column in ("catalog", "strategy", "published", "recommendations", "items", "snapshot"):
        right = column in ("recommendations", "items")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for name, catalog in catalogs.items():
        published = _published(folder, name)
        if published is None:
            to_do = plain(f"{program()} run {name}")
            published = [catalog.strategy, "never", "", "", to_do]
        table.add_row(name, *published)
    for each in catalogs.faulty:
        *served, _ = _published(folder, each.name) or ["", "", "", "", ""]
        if each.name in catalogs:  # the snapshot is that of the file that is sound
            served = ["", "", "", ""]
        table.add_row(each.name, *served, plain(f"faulty: {each.first}"), style="red")
    console.print(table)


def _published(folder: Path, name: str) -> list[str] | None:
    """What a catalog serves, in cells; None where it is nothing."""
    try:
        manifest = Snapshot.current(folder, name).manifest
    except UserError:
        return None
    made_at = datetime.fromisoformat(manifest["made_at"])
    return [
        manifest["settings"]["strategy"],
        _ago((datetime.now(UTC) - made_at).total_seconds()) + _forced(manifest),
        f"{manifest['files']['recommendations']['rows']:,}",
        f"{manifest['files']['items']['rows']:,}",
        manifest["snapshot"],
    ]


def print_faulty(faulty: Sequence[FaultyCatalog]) -> None:
    """Everything that is wrong with catalog files that cannot be used."""
    for each in faulty:
        console.print(f"[red]✗[/] {plain(each.fault)}", highlight=False, soft_wrap=True)


def _forced(manifest: Mapping[str, Any]) -> str:
    gate = manifest.get("gate", {"passed": True})
    return "" if gate["passed"] else f"\n[yellow]forced: {plain(gate['reason'])}[/]"


def print_inspection(name: str, inspection: Inspection) -> None:
    """What was understood of a catalog's data, then remarks and faults."""
    for report in inspection.tables:
        _print_report(report)
    if inspection.texts:
        texts = _titled(f"{name}: texts that stand for items")
        texts.add_column("title", overflow="fold", min_width=16, max_width=36)
        texts.add_column("text", overflow="fold")
        for title, text in inspection.texts:
            texts.add_row(plain(title), plain(text[:MAX_SHOWN] + "…" * (len(text) > MAX_SHOWN)))
        console.print(texts)
    if inspection.estimate is not None:
        console.print(plain(inspection.estimate), highlight=False, soft_wrap=True)
    for remark in inspection.remarks:
        console.print(f"[yellow]![/] {plain(remark)}", highlight=False, soft_wrap=True)
    for fault in inspection.faults:
        console.print(f"[red]✗[/] {plain(fault)}", highlight=False, soft_wrap=True)


def print_guesses(guesses: Sequence[str], remarks: Sequence[str]) -> None:
    """What a proposal rests on beside names, and what was left aside."""
    for guess in guesses:
        console.print(f"[yellow](a guess)[/] {plain(guess)}", highlight=False, soft_wrap=True)
    for remark in remarks:
        console.print(f"[yellow]![/] {plain(remark)}", highlight=False, soft_wrap=True)


def _print_report(report: TableReport) -> None:
    judged = ""
    if report.accepted is not None and report.rows:
        judged = f", {percent(report.accepted / report.rows)} accepted"
    console.print(
        f"[bold]{report.table}[/] from {plain(report.source)}: {report.rows:,} rows{judged}",
        highlight=False,
        soft_wrap=True,
    )
    if report.columns:
        columns = Table(box=None, padding=(0, 2), header_style="dim")
        for heading in ("", "column of the source", "for example"):
            columns.add_column(heading, overflow="fold")
        for ours, theirs, example in report.columns:
            columns.add_row(ours, plain(theirs), plain(example))
        console.print(columns)
    for reject in report.rejects:
        console.print(
            f"  [yellow]{reject.rows:,} rejected:[/] {plain(reject.reason)}", highlight=False
        )
        for example in reject.examples:
            console.print(f"    [dim]{plain(example)}[/]", highlight=False, soft_wrap=True)
    console.print()


def _titled(title: str) -> Table:
    return Table(title=plain(title), title_justify="left", title_style="bold")


def print_evaluation(name: str, split: str, table: pd.DataFrame) -> None:
    """Strategies by their last metric of rank, with intervals and differences to popular."""
    overall = table[table["slice"] == "all"].set_index(["strategy", "metric"])
    k = max(int(metric.partition("@")[2]) for metric in table["metric"] if "@" in metric)
    metrics = [f"{metric}@{k}" for metric in ("recall", "ndcg", "map", "hit_rate", "coverage")]
    names = sorted(
        dict.fromkeys(table["strategy"]), key=lambda own: -overall.loc[(own, metrics[1]), "value"]
    )
    users = int(overall["users"].max())
    shown = _titled(f"{name}: split by {split}, {users:,} users")
    shown.add_column("strategy")
    for metric in [*metrics, f"{metrics[1]} over popular"]:
        shown.add_column(metric, justify="right")
    for own in names:
        cells = []
        for metric in metrics:
            row = overall.loc[(own, metric)]
            interval = "" if pd.isna(row["low"]) else f" [dim]±{(row.high - row.low) / 2:.3f}[/]"
            cells.append(f"{row['value']:.4f}{interval}")
        row = overall.loc[(own, metrics[1])]
        sure = "" if pd.isna(row.to_popular) else f"{row.to_popular:+.4f}"
        sure += "" if pd.isna(row.to_popular) or row.to_popular_p_holm < 0.05 else " [dim]unsure[/]"
        shown.add_row(own, *cells, sure)
    console.print(shown)


def print_tuning(name: str, table: pd.DataFrame) -> None:
    """Every trial of each strategy, what was found, and what to type next."""
    metric = table["metric"].iloc[0]
    users = int(table["users"].max())
    shown = _titled(f"{name}: {metric} on validation, {users:,} users")
    for heading in ("strategy", "trial", metric, "gain", "seconds", "settings"):
        right = heading not in ("strategy", "settings")
        shown.add_column(heading, justify="right" if right else "left", overflow="fold")
    trials = table["strategy"].value_counts()
    for row in table.to_dict("records"):
        gain = f"{row['gain']:+.4f} [dim]±{row['gain_error']:.4f}[/]" if row["trial"] > 1 else ""
        shown.add_row(
            row["strategy"],
            str(row["trial"]),
            f"{row['value']:.4f}",
            gain,
            f"{row['seconds']:.1f}",
            plain(_as_text(row["settings"])),
            style="bold" if row["chosen"] else None,
            end_section=row["trial"] == trials[row["strategy"]],
        )
    console.print(shown)
    for row in table[table["chosen"]].to_dict("records"):
        said = "keeps its settings: nothing is ahead by more than its standard error"
        if row["trial"] > 1:
            said = f"{_as_text(row['settings'])} from now on, {row['gain']:+.4f}"
        console.print(f"[bold]{row['strategy']}[/]: {plain(said)}", highlight=False, soft_wrap=True)
    console.print(f"\nNext:\n  {plain(program())} run {name}", highlight=False, soft_wrap=True)


def _as_text(settings: str) -> str:
    found = json.loads(settings)
    return ", ".join(f"{knob} {value:g}" for knob, value in found.items()) or "its own settings"


def print_hints(catalog: str, snapshot: Snapshot) -> None:
    """What to type next."""
    hints = {
        f"{program()} recommend {catalog} 42": "somebody else's list",
        f'{program()} similar {catalog} "Toy Story"': "films most like one",
        "make ui": "the pipeline in the Dagster UI",
    }
    width = max(map(len, hints))
    lines = [f"  {command:<{width}}   {purpose}" for command, purpose in hints.items()]
    console.print(
        plain("\n".join([f"Published: {snapshot.path}", "", "Next:", *lines])),
        highlight=False,
        soft_wrap=True,
    )


def _ago(seconds: float) -> str:
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
