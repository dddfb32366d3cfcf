"""The YAML reference, made from the catalog model: a JSON Schema for editors, tables for people."""

import json
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from recsys_dagster.catalog.files import settings_of
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.catalog.source import FileSettings, SourceSettings

HIDDEN = "folder"
START, END = "<!-- from `recsys schema --markdown` -->\n", "\n<!-- end -->"
WORDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "`true`, `false`",
    dict: "a mapping",
    tuple: "a list",
    SourceSettings: "a path or a mapping",
}


def json_schema() -> str:
    """The JSON Schema of a catalog file."""
    schema = Catalog.model_json_schema()
    del schema["properties"][HIDDEN]
    return json.dumps(schema, indent=2, ensure_ascii=False)


def markdown_reference() -> str:
    """Every key of a catalog file as Markdown tables: the file itself, then a source."""
    rows = [_row(*row) for row in _rows(Catalog, "")]
    source_rows = [_row(*row) for row in _rows(SourceSettings, "")]
    head = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join(
        [*head, *rows, "", "A `source` that is a mapping has these keys:", "", *head, *source_rows]
    )


def _rows(settings: type[BaseModel], prefix: str) -> list[tuple[str, FieldInfo]]:
    rows: list[tuple[str, FieldInfo]] = []
    for name, field in settings.model_fields.items():
        if name == HIDDEN:
            continue
        nested = settings_of(field.annotation)
        if nested in (None, SourceSettings, FileSettings):
            rows.append((prefix + name, field))
        else:
            rows += _rows(nested, f"{prefix}{name}.")
    return rows


def _row(key: str, field: FieldInfo) -> str:
    meaning = (field.description or "").replace("|", "\\|")
    return f"| `{key}` | {_value(field.annotation)} | {_default(field)} | {meaning} |"


def _default(field: FieldInfo) -> str:
    if field.default is None:
        return "none"
    if field.default is not PydanticUndefined:
        return f"`{json.dumps(field.default)}`" if field.default != "" else "none"
    return "required" if field.default_factory is None else "none"


def _value(annotation: Any) -> str:
    """What may stand for a field, in words."""
    if annotation in WORDS:
        return WORDS[annotation]
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in WORDS:
        return WORDS[origin]
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if hasattr(annotation, "__metadata__"):
        return _value(parts[0])
    return " or ".join(_value(part) for part in parts if part is not type(None))


def update(file: Path) -> None:
    """Put the reference between the two marks of a Markdown file."""
    before, start, rest = file.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    file.write_text(before + start + markdown_reference() + end + after, encoding="utf-8")


if __name__ == "__main__":
    update(Path(sys.argv[1]))
