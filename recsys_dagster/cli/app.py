"""The commands. Reading ones touch the published snapshot alone.

What a command needs is imported in its function: who reads a list waits for nothing else.
"""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from recsys_dagster.catalog.names import NAME
from recsys_dagster.cli.interrupts import ENDED, INTERRUPTED, QUERY_INTERRUPTED
from recsys_dagster.cli.program import as_typed, program
from recsys_dagster.cli.terminal import console, error_console, plain
from recsys_dagster.errors import UserError
from recsys_dagster.home import snapshots_folder
from recsys_dagster.writing import reason_of, unwritten

if TYPE_CHECKING:
    from recsys_dagster.catalog.files import Catalogs
    from recsys_dagster.catalog.settings import Catalog
    from recsys_dagster.snapshots.reader import Row, Snapshot

app = typer.Typer(
    name="recsys",
    help="Recommendations as a data pipeline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

key_app = typer.Typer(help="Keys of `recsys serve`.", no_args_is_help=True)
app.add_typer(key_app, name="key")

CatalogName = Annotated[str, typer.Argument(help="name of a catalog", metavar="CATALOG")]
Count = Annotated[int, typer.Option("-n", min=1, help="rows")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON and nothing else")]

MAX_CORES = 100_000
"""Of a machine that is planned for."""
DEMO = "movies"
DEMO_USERS = 3


def _snapshot(catalog: str) -> "Snapshot":
    """The current snapshot of a catalog that there is.

    Snapshots outlive their YAML file, so a published catalog needs none.
    """
    from recsys_dagster.snapshots.reader import Snapshot

    _require_known(catalog)
    return Snapshot.current(snapshots_folder(), catalog)


def _require_known(catalog: str) -> None:
    """See that a catalog has published something, or has a file.

    Raises:
        UnknownNameError: it has neither.
    """
    from recsys_dagster.snapshots.current import current_name

    if not re.fullmatch(NAME, catalog) or current_name(snapshots_folder(), catalog) is None:
        _catalogs()[catalog]


def _catalogs() -> "Catalogs":
    from recsys_dagster.catalog.files import Catalogs, catalogs_folder

    return Catalogs.read(catalogs_folder())


@app.command()
def demo() -> None:
    """Run the demo catalog, films for MovieLens users, and print a few people's lists."""
    from recsys_dagster.cli import snapshot_tables
    from recsys_dagster.cli.running import run_catalog

    run_catalog(DEMO, [])
    snapshot = _snapshot(DEMO)
    for user_id in snapshot.some_users(DEMO_USERS):
        snapshot_tables.print_recommendations(snapshot, user_id, 5)
    snapshot_tables.print_hints(DEMO, snapshot)


@app.command()
def run(
    catalog: CatalogName,
    select: Annotated[
        list[str] | None,
        typer.Option("--select", help="only this stage; may be repeated", metavar="STAGE"),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="read all rows of the sources again")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="fail at once where another run is at the catalog")
    ] = False,
) -> None:
    """Materialise a catalog, or some of its stages, and show each stage as it goes."""
    from recsys_dagster.cli.running import run_catalog

    run_catalog(catalog, select or [], everything=everything, wait=not no_wait)


@app.command()
def publish(
    catalog: CatalogName,
    force: Annotated[
        bool, typer.Option("--force", help="publish also what blocking checks object to")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(help="why; the snapshot's manifest keeps it", metavar="TEXT")
    ] = None,
) -> None:
    """Publish the tables as they are, if every blocking check passed; --force --reason: anyway."""
    from recsys_dagster.cli.running import publish_catalog

    reason = (reason or "").strip() or None
    if force != (reason is not None):
        raise UserError(
            "--force and --reason go together: to publish what blocking checks object to, say why, "
            "as in: --force --reason 'the shop was halved on purpose'"
        )
    publish_catalog(catalog, reason)


@app.command()
def recommend(
    catalog: CatalogName,
    user: Annotated[str | None, typer.Argument(help="a user_id", metavar="[USER]")] = None,
    history: Annotated[
        list[str] | None,
        typer.Option(
            "--history",
            help="instead of a user: an item_id or a title that somebody likes; may be repeated",
            metavar="ITEM",
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(help="instead of a user: what somebody looks for, in words", metavar="TEXT"),
    ] = None,
    n: Count = 10,
    as_json: AsJson = False,
) -> None:
    """Recommendations with reasons: for a user, or for what somebody likes.

    Popular items for a user whom nobody knows.
    """
    from recsys_dagster.cli import snapshot_tables

    likes = history or []
    if user is not None and (likes or text is not None):
        raise UserError(
            f"The user {user!r} and {'--history' if likes else '--text'} do not go together: a "
            "user's list is made already, of their own history. Give one of the two."
        )
    snapshot = _snapshot(catalog)
    if user is not None:
        if as_json:
            snapshot_tables.print_json(snapshot.recommend(user, n))
        else:
            snapshot_tables.print_recommendations(snapshot, user, n)
        return
    rows = _made_for(snapshot, likes, text, n)
    if as_json:
        snapshot_tables.print_json(rows)
    else:
        snapshot_tables.print_made_for(snapshot, likes, text, rows)


def _made_for(snapshot: "Snapshot", likes: list[str], text: str | None, n: int) -> "list[Row]":
    """The list of somebody who likes some items, or looks for something, or both."""
    name = snapshot.manifest["catalog"]
    if not likes and text is None:
        raise UserError(
            f"Recommendations for whom? For a user: recsys recommend {name} USER; for what "
            f"somebody likes: recsys recommend {name} --history ITEM, an item_id or a title."
        )
    if text is None:
        return snapshot.fold_in(likes, n=n)
    if not text.strip():
        raise UserError("--text: expected words, found none.")
    with error_console.status("loading the encoder"):
        return snapshot.fold_in(likes, text=text, n=n)


@app.command()
def similar(
    catalog: CatalogName,
    item: Annotated[str, typer.Argument(help="an item_id, or a title", metavar="ITEM")],
    n: Count = 10,
    as_json: AsJson = False,
) -> None:
    """The items most like an item."""
    from recsys_dagster.cli import snapshot_tables

    snapshot = _snapshot(catalog)
    if as_json:
        snapshot_tables.print_json(snapshot.similar(item, n))
    else:
        snapshot_tables.print_similar(snapshot, item, n)


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="to listen on; any but this machine's own needs keys")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="to listen on")] = 8000,
    rate: Annotated[
        float, typer.Option(min=0, help="requests a second of a key or address; 0 for any number")
    ] = 200.0,
    dagster_url: Annotated[
        str | None, typer.Option(help="where people find the Dagster UI", metavar="URL")
    ] = None,
) -> None:
    """Answer programs and people over HTTP, from what is published."""
    from recsys_dagster.cli.serving import serve_catalogs

    serve_catalogs(_catalogs(), host, port, rate, dagster_url)


@app.command()
def rollback(
    catalog: CatalogName,
    to: Annotated[
        str | None,
        typer.Option(help="the one before if left out", metavar="SNAPSHOT"),
    ] = None,
) -> None:
    """Let readers have an older snapshot again, until the next one is published."""
    from recsys_dagster.snapshots.writer import roll_back

    _require_known(catalog)
    before, now = roll_back(snapshots_folder(), catalog, to)
    console.print(f"{catalog}: {now} is served now, in the place of {before}", highlight=False)


@key_app.command(name="create")
def create_key(
    scope: Annotated[str, typer.Option(help="read, write or admin", metavar="SCOPE")] = "read",
    catalog: Annotated[str, typer.Option(help="a catalog; * for all", metavar="CATALOG")] = "*",
) -> None:
    """Make a key for `recsys serve`. It is shown this once."""
    from recsys_dagster.cli.serving import print_new_key

    print_new_key(scope, catalog)


@key_app.command(name="list")
def list_keys() -> None:
    """The keys that there are, without their secrets."""
    from recsys_dagster.cli.serving import print_keys

    print_keys()


@key_app.command(name="revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(help="what follows rk_ in a key", metavar="KEY_ID")],
) -> None:
    """Forget a key; whoever has it is refused from now on."""
    from recsys_dagster.cli.serving import revoke

    revoke(key)


@app.command()
def status() -> None:
    """What each catalog has published, and when."""
    from recsys_dagster.cli import snapshot_tables

    snapshot_tables.print_status(_catalogs(), snapshots_folder())


@app.command()
def evaluate(
    catalog: CatalogName,
    strategy: Annotated[
        list[str] | None, typer.Option(help="compare with this one; may be repeated")
    ] = None,
    k: Annotated[str | None, typer.Option(help="places that count, such as 10,20")] = None,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(help="write a page too", metavar="FILE")] = None,
) -> None:
    """How good the strategies are on interactions that are held back from them."""
    from recsys_dagster.cli import evaluating, measured_tables

    if k is not None and not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", k):
        raise UserError(f"--k {k}: expected numbers of at least 1, such as 10,20.")
    ks = [int(number) for number in k.split(",")] if k else []
    if html is not None:
        evaluating.require_folder(html)
    console.stderr = as_json  # the progress of the run, not the figures
    table, shown = evaluating.measure(catalog, strategy or [], ks)
    if as_json:
        sys.stdout.write(evaluating.as_json(catalog, shown["split"], table) + "\n")
    else:
        measured_tables.print_evaluation(catalog, shown["split"], table)
    # Last: where it cannot be written, what was measured is told all the same.
    if html is not None:
        evaluating.write_page(html, catalog, shown, table)


@app.command()
def tune(
    catalog: CatalogName,
    strategy: Annotated[
        list[str] | None, typer.Option(help="search for this one; may be repeated")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="settings tried for each strategy")] = 20,
    as_json: AsJson = False,
) -> None:
    """Search for settings on validation; the next run uses what is found."""
    from recsys_dagster.cli import measured_tables, tuning

    console.stderr = as_json  # the progress of the run, not the figures
    table = tuning.search_settings(catalog, strategy or [], trials)
    if as_json:
        tuning.print_as_json(table)
    else:
        measured_tables.print_tuning(catalog, table)


@app.command()
def init(
    folder: Annotated[
        Path, typer.Argument(help="where the tables lie; or one file", metavar="FOLDER")
    ],
    name: Annotated[
        str | None, typer.Option(help="of the catalog; the folder's if left out")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace a catalog file")] = False,
) -> None:
    """Look at the tables in a folder and propose a catalog file for them."""
    from recsys_dagster.catalog.files import read_catalog
    from recsys_dagster.cli import inspection_tables
    from recsys_dagster.cli.proposing import propose_catalog

    with console.status("looking at the tables"):
        written = propose_catalog(folder, name, force)
    catalog = read_catalog(written.file)
    faults = _print_inspection(catalog)
    inspection_tables.print_guesses(written.guesses, written.remarks)
    first = "look through the file: every choice is explained in it"
    if written.guesses:
        first = "look at the guesses above, and at the file: every choice is explained in it"
    if faults:
        first = "mend what is wrong (✗ above) in the file or in the data"
    console.print(
        f"\nWrote {plain(str(written.file))}\n\nNext:\n"
        f"  {first}\n"
        f"  {plain(program())} run {catalog.name}\n"
        "  in a Dagster UI that is open already: Reload definitions, on the page Lineage",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def plan(
    users: Annotated[str | None, typer.Option(help="such as 1e8 or 100M", metavar="N")] = None,
    items: Annotated[str | None, typer.Option(help="as users", metavar="N")] = None,
    interactions: Annotated[
        str | None, typer.Option(help="pairs of a user and an item", metavar="N")
    ] = None,
    strategy: Annotated[str, typer.Option(help="what makes the lists")] = "hybrid",
    encoder: Annotated[
        str, typer.Option(help="exact, fast or tiny, of the default's size; or tfidf")
    ] = "exact",
    device: Annotated[str, typer.Option(help="cpu, or a GPU: l4, a10, a100, h100")] = "cpu",
    cores: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_CORES, help="of a machine; this one's where left out"),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="that a run may take, such as 64GiB; as cores", metavar="SIZE"),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="measure this machine first, a minute or two")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What a catalog of some size would take: time, memory, storage, machines, stage by stage."""
    from recsys_dagster.cli import planning

    numbers = {"--users": users, "--items": items, "--interactions": interactions}
    missing = [name for name, number in numbers.items() if number is None]
    if missing and (not measure or len(missing) < len(numbers)):
        raise UserError(
            f"{', '.join(missing)}: how many? As in: recsys plan --users 1e8 --items 10M "
            "--interactions 1e10"
        )
    if missing and as_json:
        raise UserError(
            f"--json: it is of a plan; say how large with {', '.join(missing)}, or leave it out."
        )
    asked = None
    if users is not None and items is not None and interactions is not None:
        work = planning.workload_of(users, items, interactions, strategy, encoder)
        asked = work, planning.machine_of(device, cores, memory)
    if measure:
        planning.measure_here()
    if asked is not None:
        planning.print_plan(*asked, as_json)


@app.command()
def validate(
    file: Annotated[
        Path | None, typer.Argument(help="a catalog file; all catalogs if left out", metavar="FILE")
    ] = None,
) -> None:
    """Say everything that is wrong with catalog files and the data they name, all at once."""
    from recsys_dagster.catalog.files import read_catalog
    from recsys_dagster.cli import inspection_tables

    catalogs = _catalogs() if file is None else _alone(read_catalog(file))
    faults = {name: _print_inspection(catalog) for name, catalog in catalogs.items()}
    inspection_tables.print_faulty(catalogs.faulty)
    sound = [name for name, count in faults.items() if not count]
    if sound:
        console.print(f"[green]✓[/] {', '.join(sound)}")
    found = sum(faults.values()) + sum(each.faults for each in catalogs.faulty)
    if found:
        raise UserError(f"{found} fault{'s' if found > 1 else ''} found.")


def _alone(catalog: "Catalog") -> "Catalogs":
    from recsys_dagster.catalog.files import Catalogs

    return Catalogs({catalog.name: catalog})


def _print_inspection(catalog: "Catalog") -> int:
    """Print what there is to say about a catalog's data; the number of faults."""
    from recsys_dagster.cli import inspection_tables
    from recsys_dagster.onboarding.inspection import inspect_catalog

    inspection = inspect_catalog(catalog)
    inspection_tables.print_inspection(catalog.name, inspection)
    return len(inspection.faults)


@app.command()
def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="the reference of the README instead")
    ] = False,
) -> None:
    """The JSON Schema of catalog files, for editors."""
    from recsys_dagster.catalog.reference import json_schema, markdown_reference

    sys.stdout.write((markdown_reference() if markdown else json_schema()) + "\n")


@app.command(name="export-matrix")
def export_matrix(
    catalog: CatalogName,
    out: Annotated[Path, typer.Option(help="a .parquet or .csv file")] = Path("matrix.parquet"),
) -> None:
    """The dense user-item similarity matrix of a small catalog: a row a user, a column an item."""
    from recsys_dagster.cli.exporting import export_dense_matrix

    users, items = export_dense_matrix(_catalogs()[catalog], out)
    console.print(f"Wrote {users:,} users × {items:,} items to {out}", highlight=False)


def _end_with(error: UserError) -> NoReturn:
    said = plain(as_typed(str(error)))
    error_console.print(f"[bold red]Error[/] {said}", soft_wrap=True)
    sys.exit(2)


def main() -> None:
    """Run the command line; a person's mistakes end with a message and exit status 2."""
    try:
        app()
    except UserError as error:
        _end_with(error)
    except OSError as error:
        if reason_of(error) is None:
            raise
        _end_with(unwritten(error.filename or "what is printed", error))
    except RuntimeError as error:
        if str(error) != QUERY_INTERRUPTED:
            raise
        error_console.print(ENDED)
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            error_console.print(ENDED)
        raise
