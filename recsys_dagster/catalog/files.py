"""Reading catalog files: every fault of a file at once, each with its line and field."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from recsys_dagster.catalog.names import NAME
from recsys_dagster.catalog.renamed import RENAMED
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.catalog.strict_yaml import load_yaml
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.schemas import TABLES


def catalogs_folder() -> Path:
    """The folder of the catalog files: `$RECSYS_CATALOGS`, or `catalogs` below the current one."""
    return Path(os.environ.get("RECSYS_CATALOGS") or "catalogs").resolve()


def read_catalog(file: Path) -> Catalog:
    """Read one YAML file.

    Raises:
        UserError: everything wrong with the file, one line a fault, nearest right names included.
    """
    content, root = load_yaml(file)
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
    if where in RENAMED:
        return f"{where}: this is called {RENAMED[where]} now"
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
    if path[-1:] == ["postgres"]:  # it may be a connection with its password
        return f"{where}: {message}"
    return f"{where}: {message} (found {fault['input']!r:.80})"


def _known_keys(path: list[str]) -> list[str]:
    annotation: Any = Catalog
    for part in path:
        annotation = _annotation_below(annotation, part)
    settings = settings_of(annotation)
    return [] if settings is None else [name for name in settings.model_fields if name != "folder"]


def _annotation_below(annotation: Any, key: str) -> Any:
    """Of what stands under a key, which may be anybody's word where it is one of a mapping."""
    values = _values_of(annotation)
    if values is not None:
        return values
    settings = settings_of(annotation)
    field = settings.model_fields.get(key) if settings is not None else None
    return None if field is None else field.annotation


def _values_of(annotation: Any) -> Any:
    """The values' part of an annotation such as `dict[str, FileSettings] | None`, or None."""
    parts = get_args(annotation)
    if get_origin(annotation) in (dict, Mapping):
        return parts[1]
    return next((found for part in parts if (found := _values_of(part)) is not None), None)


def settings_of(annotation: Any) -> type[BaseModel] | None:
    """The settings class in an annotation such as `SourceSettings | None`, if there is one."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for part in get_args(annotation) if (found := settings_of(part))), None)


@dataclass(frozen=True)
class FaultyCatalog:
    """A catalog file that cannot be used; the others can.

    Attributes:
        file: its path.
        name: what it says to be called, or else the file's own name.
        fault: everything wrong with it, for people.
    """

    file: Path
    name: str
    fault: str

    @property
    def faults(self) -> int:
        """How many they are."""
        return max(1, self.fault.count("\n"))

    @property
    def first(self) -> str:
        """The first of its faults, in a line."""
        lines = self.fault.splitlines()
        first = lines[1] if len(lines) > 1 and lines[0].endswith(":") else lines[0]
        return first.strip().replace(str(self.file), self.file.name)


class Catalogs(Mapping[str, Catalog]):
    """The catalogs of one code location, by name; the resource `recsys_catalogs` of every asset.

    Attributes:
        faulty: files that stand beside them and are no catalogs, by their paths' order.
    """

    def __init__(
        self, catalogs: Mapping[str, Catalog], faulty: Sequence[FaultyCatalog] = ()
    ) -> None:
        self._catalogs = dict(catalogs)
        self.faulty = tuple(faulty)

    @classmethod
    def read(cls, folder: Path, *, alone: bool = False) -> "Catalogs":
        """Read every `*.yaml` of a folder; a fault of one file leaves the others as they are.

        Files with one name in two of them are faulty, all of them.

        Args:
            folder: where they lie.
            alone: nobody else's assets are beside these catalogs; one whose rows are the value of
                such an asset is faulty then, because Dagster would load none of them.

        Raises:
            UserError: no such folder, or no file in it.
        """
        found: dict[str, list[tuple[Path, Catalog]]] = {}
        faulty: list[FaultyCatalog] = []
        for file in catalog_files(folder):
            try:
                catalog = read_catalog(file)
            except UserError as error:
                faulty.append(FaultyCatalog(file, name_in(file), str(error)))
            else:
                found.setdefault(catalog.name, []).append((file, catalog))
        for name, both in found.items():
            if len(both) > 1:
                for file, _ in both:
                    others = " and ".join(str(other) for other, _ in both if other != file)
                    fault = (
                        f"{file}: the name {name!r} is taken by {others}; every catalog needs a "
                        "name of its own."
                    )
                    faulty.append(FaultyCatalog(file, name, fault))
        sound = {name: both[0] for name, both in found.items() if len(both) == 1}
        missing = {
            name: _missing_assets(catalog, sound) if alone else ""
            for name, (_, catalog) in sound.items()
        }
        faulty += [
            FaultyCatalog(file, name, f"{file}: {missing[name]}")
            for name, (file, _) in sound.items()
            if missing[name]
        ]
        usable = {name: catalog for name, (_, catalog) in sound.items() if not missing[name]}
        return cls(usable, sorted(faulty, key=lambda each: each.file))

    def require_some(self) -> "Catalogs":
        """These catalogs, if there is one that can be used.

        Raises:
            UserError: every file is faulty; the faults of all.
        """
        if self.faulty and not self._catalogs:
            raise UserError("\n".join(each.fault for each in self.faulty))
        return self

    def __getitem__(self, name: str) -> Catalog:
        if name in self._catalogs:
            return self._catalogs[name]
        own = [each.fault for each in self.faulty if each.name == name]
        if own:
            raise UserError("\n".join(own))
        known = [*self._catalogs, *(each.name for each in self.faulty)]
        message = f"There is no catalog {name!r}.{did_you_mean(name, known)}"
        if self.faulty:
            files = ", ".join(str(each.file) for each in self.faulty)
            message += f" Faulty, and so not looked into: {files}; recsys validate says why."
        raise UserError(message)

    def __contains__(self, name: object) -> bool:
        return name in self._catalogs

    def __iter__(self) -> Iterator[str]:
        return iter(self._catalogs)

    def __len__(self) -> int:
        return len(self._catalogs)


def _missing_assets(catalog: Catalog, names: Iterable[str]) -> str:
    """Whose values are a catalog's rows though no catalog makes them, for people; or nothing."""
    made = {f"{name}/{table}" for name in names for table in TABLES}
    sources = (catalog.interactions.source, catalog.items.source, catalog.users.source)
    missing = [
        source.asset
        for source in sources
        if source is not None
        and source.is_asset_value
        and source.asset is not None
        and source.asset not in made
    ]
    if not missing:
        return ""
    return (
        f"rows are the value of the asset {' and of '.join(dict.fromkeys(missing))}, which nothing "
        "here makes: load this catalog by build_defs in the project that does, and run it there; "
        "or say beside `asset` where the rows lie, with path, table or sql."
    )


def name_in(file: Path) -> str:
    """What a file says to be called, faulty or not, or else its own name."""
    try:
        content, _ = load_yaml(file)
    except UserError:
        return file.stem
    name = content.get("name")
    return name if isinstance(name, str) and re.fullmatch(NAME, name) else file.stem


def catalog_files(folder: Path) -> list[Path]:
    """The YAML files of a folder, sorted.

    Hidden ones are left out: editors and file systems put their own beside a file.

    Raises:
        UserError: no such folder, or no file in it.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: there is no such folder of catalogs. Make it and put a YAML file in "
            "it, or name another one with RECSYS_CATALOGS."
        )
    found = (*folder.glob("*.yaml"), *folder.glob("*.yml"))
    files = sorted(file for file in found if not file.name.startswith("."))
    if not files:
        raise UserError(f"{folder}: no catalog here: expected at least one *.yaml file.")
    return files
