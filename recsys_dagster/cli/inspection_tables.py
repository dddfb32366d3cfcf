"""What is printed of catalog files and their data: what was understood, and what is wrong."""

from collections.abc import Sequence

from rich.table import Table

from recsys_dagster.catalog.files import FaultyCatalog
from recsys_dagster.cli.terminal import console, plain, titled
from recsys_dagster.onboarding.inspection import Inspection, TableReport
from recsys_dagster.steps.prepare.shares import percent

MAX_SHOWN = 300
"""Characters of an item's text."""


def print_inspection(name: str, inspection: Inspection) -> None:
    """What was understood of a catalog's data, then remarks and faults."""
    for report in inspection.tables:
        _print_report(report)
    if inspection.texts:
        texts = titled(f"{name}: texts that stand for items")
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


def print_guesses(guesses: Sequence[str], remarks: Sequence[str]) -> None:
    """What a proposal rests on beside names, and what was left aside."""
    for guess in guesses:
        console.print(f"[yellow](a guess)[/] {plain(guess)}", highlight=False, soft_wrap=True)
    for remark in remarks:
        console.print(f"[yellow]![/] {plain(remark)}", highlight=False, soft_wrap=True)


def print_faulty(faulty: Sequence[FaultyCatalog]) -> None:
    """Everything that is wrong with catalog files that cannot be used."""
    for each in faulty:
        console.print(f"[red]✗[/] {plain(each.fault)}", highlight=False, soft_wrap=True)
