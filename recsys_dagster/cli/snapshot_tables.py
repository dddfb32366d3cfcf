"""What is printed of snapshots: titles rather than ids, tables for people, JSON for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from recsys_dagster.cli.program import program
from recsys_dagster.cli.terminal import console, error_console, plain, titled
from recsys_dagster.errors import UserError
from recsys_dagster.snapshots.current import current_manifest, current_name
from recsys_dagster.snapshots.reader import Row, Snapshot
from recsys_dagster.snapshots.remote import Folder

if TYPE_CHECKING:
    from recsys_dagster.catalog.files import Catalogs

MAX_LIKED = 5
"""Titles in a heading."""


def print_json(rows: Sequence[Row]) -> None:
    """A list of rows as JSON on standard output, and nothing else."""
    json.dump([asdict(row) for row in rows], sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def print_recommendations(snapshot: Snapshot, user: str, n: int) -> None:
    """A user's list with the reasons of each row."""
    rows = snapshot.recommend(user, n)
    known = snapshot.knows(user)
    name = snapshot.manifest["catalog"]
    if not known:
        why = (
            "is not known" if snapshot.history(user) is None else "had all that may be recommended"
        )
        error_console.print(f"User {plain(user)} {why}: here is what is popular.")
    _print_list(f"{name}: recommended to user {user}" if known else f"{name}: popular items", rows)


def print_made_for(
    snapshot: Snapshot, history: Sequence[str], text: str | None, rows: Sequence[Row]
) -> None:
    """A list that was made for what somebody likes.

    Args:
        snapshot: what made it.
        history: the items that it was made for, item_ids or titles.
        text: what was looked for.
        rows: the list.
    """
    liked = [snapshot.find_item(item)[1] for item in history[:MAX_LIKED]]
    if len(history) > MAX_LIKED:
        liked.append(f"{len(history) - MAX_LIKED} more")
    wanted = [f"likes {', '.join(liked)}"] if liked else []
    wanted += [f"looks for “{text}”"] if text is not None else []
    name = snapshot.manifest["catalog"]
    _print_list(f"{name}: recommended to somebody who {' and '.join(wanted)}", rows)


def _print_list(title: str, rows: Sequence[Row]) -> None:
    table = titled(title)
    table.add_column("#", justify="right", style="dim")
    table.add_column("title", overflow="fold", min_width=20)
    table.add_column("score", justify="right")
    table.add_column("strategy", style="dim")
    table.add_column("because of", overflow="fold")
    for row in rows:
        because = ", ".join(f"{plain(r.title)} [dim]{r.share:.0%}[/]" for r in row.because)
        table.add_row(str(row.rank), plain(row.title), f"{row.score:.3f}", row.strategy, because)
    console.print(table)


def print_similar(snapshot: Snapshot, item: str, n: int) -> None:
    """An item's neighbours."""
    _, title = snapshot.find_item(item)
    table = titled(f"Most like {title}")
    table.add_column("#", justify="right", style="dim")
    table.add_column("title", overflow="fold", min_width=20)
    table.add_column("similarity", justify="right")
    for row in snapshot.similar(item, n):
        table.add_row(str(row.rank), plain(row.title), f"{row.score:.3f}")
    console.print(table)


def print_status(catalogs: "Catalogs", folder: Folder) -> None:
    """One line a catalog: its snapshot, how old it is and what is in it."""
    table = titled("Catalogs")
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


def _published(folder: Folder, name: str) -> list[str] | None:
    """What a catalog serves, in cells; None where it is nothing."""
    if current_name(folder, name) is None:
        return None
    try:
        manifest = current_manifest(folder, name)
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


def _forced(manifest: Mapping[str, Any]) -> str:
    gate = manifest.get("gate", {"passed": True})
    return "" if gate["passed"] else f"\n[yellow]forced: {plain(gate['reason'])}[/]"


def _ago(seconds: float) -> str:
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


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
