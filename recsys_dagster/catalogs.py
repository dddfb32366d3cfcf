"""Reading catalog files: every fault of a file at once, each with its line and field."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from recsys_dagster.catalog import Catalog
from recsys_dagster.errors import UserError, did_you_mean


def catalogs_folder() -> Path:
    """The folder of the catalog files: `$RECSYS_CATALOGS`, or `catalogs` below the current one."""
    return Path(os.environ.get("RECSYS_CATALOGS", "catalogs")).resolve()


def read_catalog(file: Path) -> Catalog:
    """Read one YAML file.

    Raises:
        UserError: everything wrong with the file, one line a fault, nearest right names included.
    """
    try:
        text = file.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: this is not YAML in UTF-8: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected a mapping with name, interactions and items.")
    try:
        return Catalog.model_validate({**content, "folder": file.parent.resolve()})
    except ValidationError as error:
        faults = [
            f"  {file}:{_line(root, fault['loc'])}: {_fault(dict(fault))}"
            for fault in error.errors()
        ]
        raise UserError("\n".join([f"{file}: this is not a catalog:", *faults])) from None


def _line(root: yaml.Node | None, path: tuple[str | int, ...]) -> int:
    """The line of a field, or of the nearest part of its path that is in the file."""
    node, line = root, 1
    for part in path:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            found = (node.value[part], node.value[part])
        if found is None:
            return line
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _fault(fault: dict[str, Any]) -> str:
    path = [str(part) for part in fault["loc"]]
    where = ".".join(path)
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key.{did_you_mean(path[-1], _known_keys(path[:-1]))}"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "missing":
        return f"{where}: this field is required"
    if fault["type"] == "string_pattern_mismatch" and where == "name":
        message = "expected a letter a-z, then letters a-z, digits or _, at most 40 in all"
    if fault["type"] == "literal_error" and isinstance(fault["input"], str):
        expected = [name.strip(" '") for name in fault["ctx"]["expected"].split(" or ")]
        names = [name.strip(" '") for part in expected for name in part.split(",")]
        message += f".{did_you_mean(fault['input'], names)}"
    return f"{where}: {message} (found {fault['input']!r:.80})"


def _known_keys(path: list[str]) -> list[str]:
    settings: type[BaseModel] | None = Catalog
    for part in path:
        settings = settings and settings_of(settings.model_fields[part].annotation)
    return [] if settings is None else [name for name in settings.model_fields if name != "folder"]


def settings_of(annotation: Any) -> type[BaseModel] | None:
    """The settings class in an annotation such as `SourceSettings | None`, if there is one."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for part in get_args(annotation) if (found := settings_of(part))), None)


class Catalogs(Mapping[str, Catalog]):
    """The catalogs of one code location, by name; the resource `recsys_catalogs` of every asset."""

    def __init__(self, catalogs: Mapping[str, Catalog]) -> None:
        self._catalogs = dict(catalogs)

    @classmethod
    def read(cls, folder: Path) -> "Catalogs":
        """Read every `*.yaml` of a folder.

        Raises:
            UserError: no such folder, no file in it, a faulty file, or one name in two files.
        """
        catalogs: dict[str, Catalog] = {}
        origin: dict[str, Path] = {}
        for file in catalog_files(folder):
            catalog = read_catalog(file)
            if catalog.name in catalogs:
                raise UserError(
                    f"{file}: the name {catalog.name!r} is taken by {origin[catalog.name]}; "
                    "every catalog needs a name of its own."
                )
            catalogs[catalog.name] = catalog
            origin[catalog.name] = file
        return cls(catalogs)

    def __getitem__(self, name: str) -> Catalog:
        if name not in self._catalogs:
            raise UserError(f"There is no catalog {name!r}.{did_you_mean(name, self._catalogs)}")
        return self._catalogs[name]

    def __contains__(self, name: object) -> bool:
        return name in self._catalogs

    def __iter__(self) -> Iterator[str]:
        return iter(self._catalogs)

    def __len__(self) -> int:
        return len(self._catalogs)


def catalog_files(folder: Path) -> list[Path]:
    """The YAML files of a folder, sorted.

    Raises:
        UserError: no such folder, or no file in it.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: there is no such folder of catalogs. Make it and put a YAML file in "
            "it, or name another one with RECSYS_CATALOGS."
        )
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not files:
        raise UserError(f"{folder}: no catalog here: expected at least one *.yaml file.")
    return files
