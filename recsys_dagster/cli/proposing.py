"""`recsys init`: a folder of tables → a catalog's YAML file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recsys_dagster.catalog.files import catalogs_folder, name_in, read_catalog
from recsys_dagster.catalog.names import NAME, TAKEN
from recsys_dagster.catalog.settings import DEFAULT_ENCODER
from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.errors import UserError
from recsys_dagster.onboarding.finding import DATABASES, Found
from recsys_dagster.onboarding.proposal import propose, render
from recsys_dagster.onboarding.proposal.machine import MULTILINGUAL, Machine, fitted_to
from recsys_dagster.onboarding.proposal.rendering import Counts
from recsys_dagster.resources.encoder_models import is_here
from recsys_dagster.resources.encoder_running import may_have_cuda
from recsys_dagster.resources.machine import usable_cores
from recsys_dagster.resources.sources import read_source
from recsys_dagster.resources.sources.formats import READERS
from recsys_dagster.resources.warehouse import to_pandas
from recsys_dagster.steps.prepare.ids import as_ids
from recsys_dagster.writing import whole_file

MAX_NAME_LENGTH = 40


@dataclass(frozen=True)
class Written:
    """A catalog that was proposed.

    Attributes:
        file: its YAML file.
        guesses: what somebody who knows the data should look at, a sentence each.
        remarks: what was found in the folder and is no part of it, a sentence each.
    """

    file: Path
    guesses: list[str]
    remarks: list[str]


def propose_catalog(folder: Path, name: str | None, force: bool) -> Written:
    """Propose a catalog from the tables of a folder and write it to the catalogs' folder.

    Args:
        folder: files, folders of files, and databases; or one of these alone.
        name: of the catalog; made from the folder's where left out.
        force: replace a catalog that is there.

    Raises:
        UserError: no such folder, nothing in it that can be a catalog, or the name is taken.
    """
    if not folder.is_dir() and not folder.is_file():
        raise UserError(f"{folder}: there is no such folder or file.")
    if catalogs_folder().exists() and not catalogs_folder().is_dir():
        raise UserError(
            f"{catalogs_folder()}: this is a file; catalogs are written to a folder, which "
            "RECSYS_CATALOGS names."
        )
    name = _checked(name) if name else _derived(_stem(folder.resolve()))
    file = catalogs_folder() / f"{name}.yaml"
    _require_free(file, name, force)
    file.parent.mkdir(parents=True, exist_ok=True)  # paths relative to it lead out of it
    found = Found(file.parent)
    found.look_into(folder)
    if not found.candidates:
        raise UserError("\n".join([_nothing_to_read(folder), *found.remarks]))
    try:
        proposal = fitted_to(propose(found.candidates), _this_machine())
    except UserError as error:
        raise UserError("\n".join([str(error), *found.remarks])) from None
    if proposal.unused:
        found.remarks.append(
            f"No part of the catalog: {', '.join(proposal.unused)}. Where these are tables of "
            "another recommender, put them into a folder of their own and run init for it."
        )
    text = render(proposal, name, [_heading(folder), *found.remarks])
    _write(file, text, proposal.counts)
    return Written(file, proposal.guesses(), found.remarks)


def _this_machine() -> Machine:
    models = (DEFAULT_ENCODER, *MULTILINGUAL)
    return Machine(
        usable_cores(),
        may_have_cuda(),
        tuple(model for model in models if is_here(model)),
    )


def _stem(path: Path) -> str:
    return path.name.partition(".")[0] if path.is_file() else path.name


def _checked(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise UserError(
            f"{name!r} cannot be a catalog's name: expected a-z, 0-9 and _, a letter first and at "
            f"most {MAX_NAME_LENGTH} characters. Try {_derived(name)!r}."
        )
    if name in TAKEN:
        raise UserError(f"{name!r} cannot be a catalog's name: {TAKEN[name]}.")
    return name


def _derived(name: str) -> str:
    """What a folder is called, made to fit."""
    fitting = re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")
    if not fitting[:1].isalpha() or fitting in TAKEN:
        fitting = f"catalog_{fitting}".rstrip("_")
    return fitting[:MAX_NAME_LENGTH]


def _require_free(file: Path, name: str, force: bool) -> None:
    if file.exists() and not force:
        raise UserError(
            f"{file}: this catalog is there already. Replace it with --force, or give the new "
            "one another name with --name."
        )
    for other in sorted([*file.parent.glob("*.yaml"), *file.parent.glob("*.yml")]):
        if other != file and name_in(other) == name:
            raise UserError(
                f"{other}: this file has a catalog {name!r} already. Give the new one another "
                "name with --name."
            )


def _heading(folder: Path) -> str:
    return (
        f"Proposed by recsys init from the tables in {folder.resolve().name}. Every line can be "
        "changed; README.md says what else there is."
    )


def _nothing_to_read(folder: Path) -> str:
    return (
        f"{folder}: nothing here can be read. Expected files ending in {', '.join(READERS)} (the "
        f"text formats also with .gz), folders of them, or databases ({', '.join(DATABASES)})."
    )


def _write(file: Path, text: str, counts: Mapping[str, Counts]) -> None:
    """Put the file in place when it is known to be a catalog, with a query that works."""
    with whole_file(file) as hidden:
        hidden.write_text(text, encoding="utf-8")
        catalog = read_catalog(hidden)
        for section, source in (
            ("interactions", catalog.interactions.source),
            ("items", catalog.items.source),
        ):
            if source.sql is not None:
                rows = read_source(source, catalog.folder).rows
                if section in counts:
                    require_counts(section, source, rows, counts[section])


def require_counts(section: str, source: SourceSettings, rows: pa.Table, counts: Counts) -> None:
    """Refuse a query that gives other rows than the tables were understood to have.

    Args:
        section: interactions or items.
        source: the query.
        rows: what it gives.
        counts: what it must give; rows that could not be read come on top.

    Raises:
        UserError: other numbers of rows, users or items.
    """
    readable = rows.filter(pc.field("source_error").is_null())
    found = {"rows": readable.num_rows} | {
        f"ids in {name!r}": as_ids(to_pandas(readable.select([name]))[name]).nunique()
        for name in counts.keys
    }
    expected = {"rows": counts.rows} | {
        f"ids in {name!r}": distinct for name, distinct in counts.keys.items()
    }
    wrong = [
        f"{found[what]:,} {what}, not {number:,}"
        for what, number in expected.items()
        if found[what] != number
    ]
    if wrong:
        of = ", ".join(source.tables) or source.described
        raise UserError(
            f"{section}: a query over {of} would be needed, but the one that init can write gives "
            f"{'; '.join(wrong)}. Write a table of one row for each user and item to a file, and "
            "run init again, or write the YAML file by hand (see Use your own tables in the "
            "README)."
        )
