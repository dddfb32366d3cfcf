"""Items that the rules of a catalog name, in the YAML file or in a text file beside it."""

from pathlib import Path

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.catalog.source import expand_variables
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.steps.lists.candidates import NamedItems
from recsys_dagster.versions import digest


def named_items(catalog: Catalog) -> NamedItems:
    """The item_ids under `rules: allow` and `rules: deny`, read where they are in files.

    Raises:
        UserError: a file is not there, or is not text in UTF-8.
    """
    rules = catalog.rules
    allow = _ids("allow", rules.allow, catalog.folder)
    return NamedItems(allow, _ids("deny", rules.deny, catalog.folder) or ())


def named_items_digest(catalog: Catalog) -> str:
    """A fingerprint of what `named_items` gives; nothing is read where no file is named."""
    if not catalog.rules.files:
        return ""
    named = named_items(catalog)
    allow = () if named.allow is None else ("allow", *named.allow)
    return digest(*allow, "deny", *named.deny)


def rule_files(catalog: Catalog) -> dict[str, Path]:
    """The text files that rules name, by the rule's key; they need not be there.

    Raises:
        UserError: a path has an environment variable that is not set.
    """
    return {key: _place(path, catalog.folder) for key, path in catalog.rules.files.items()}


def _ids(key: str, value: str | tuple[str, ...] | None, folder: Path) -> tuple[str, ...] | None:
    if not isinstance(value, str):
        return value
    file = _place(value, folder)
    try:
        # A byte order mark would be a part of the first id.
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        siblings = [other.name for other in file.parent.glob("*")]
        raise UserError(
            f"rules: {key}: {file}: there is no such file.{did_you_mean(file.name, siblings)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"rules: {key}: {file}: expected a text file in UTF-8 with one item_id a line: {error}"
        ) from None
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _place(path: str, folder: Path) -> Path:
    return folder / Path(expand_variables(path)).expanduser()
