"""A catalog file's text → its content. Stricter than YAML: no key twice, none that is no text.

And an id is what is written: to YAML 1.1 007, 0123, 1_000, 12:30 and 0x1F are whole numbers, and
others than a person reads. Here they are texts, which settings that are numbers read in decimal.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import ReaderError

from recsys_dagster.errors import UserError

MAX_VALUES = 200_000
"""In a file, with what aliases stand for: nested aliases of a short text grow beyond any memory."""
MERGE = "tag:yaml.org,2002:merge"
TEXT = "tag:yaml.org,2002:str"
WHOLE = "tag:yaml.org,2002:int"
PLAIN_WHOLE = re.compile(r"-?[1-9][0-9]*|0")
"""Whole numbers that are written again as they stand."""
EXPECTED = "expected a mapping with name, interactions and items"


def load_yaml(file: Path) -> tuple[dict[str, Any], yaml.Node]:
    """The content of a file, and its nodes, which know their lines.

    Raises:
        UserError: the file cannot be read, is not YAML in UTF-8, or is not one mapping whose keys
            are texts; with the line.
    """
    text = _text(file)
    try:
        root = _root(file, text)
        content: dict[str, Any] = _Loader.construct(root)
    except yaml.MarkedYAMLError as error:
        raise UserError(f"{file}:{_line_of(error)}: this is not YAML: {_said(error)}") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{file}:{line}: this is not YAML: {error.reason}") from None
    except RecursionError:
        raise UserError(f"{file}: this is not a catalog: it is nested too deeply.") from None
    return content, root


def _text(file: Path) -> str:
    content = b""
    try:
        content = file.read_bytes()
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file.") from None
    except OSError as error:
        raise UserError(f"{file}: the file cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{file}:{line}: this is not YAML in UTF-8: {error.reason}; save the file as UTF-8."
        ) from None


def _root(file: Path, text: str) -> yaml.MappingNode:
    documents = list(yaml.compose_all(text, Loader=_Loader))
    if len(documents) > 1:
        line = documents[1].start_mark.line + 1
        raise UserError(
            f"{file}:{line}: a second document begins here (after ---): expected one catalog a "
            "file; put the other one into a file of its own."
        )
    if not documents or documents[0] is None:
        raise UserError(f"{file}:1: {EXPECTED}; the file is empty.")
    (root,) = documents
    if not isinstance(root, yaml.MappingNode):
        found = "a list" if isinstance(root, yaml.SequenceNode) else "a text"
        raise UserError(f"{file}:{root.start_mark.line + 1}: {EXPECTED}; found {found}.")
    _Sizes().of(root)
    faults: list[str] = []
    _judge_keys(root, set(), faults)
    if faults:
        raise UserError("\n".join(f"{file}:{fault}" for fault in faults))
    return root


class _Sizes:
    """How many values a node stands for, those behind aliases included."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}
        self._open: set[int] = set()

    def of(self, node: yaml.Node) -> int:
        if id(node) in self._open:
            raise yaml.MarkedYAMLError(
                problem="an alias stands for what it is part of", problem_mark=node.start_mark
            )
        if id(node) not in self._known:
            self._open.add(id(node))
            size = 1 + sum(self.of(part) for part in _parts(node))
            self._open.discard(id(node))
            if size > MAX_VALUES:
                raise yaml.MarkedYAMLError(
                    problem=f"with its aliases this stands for more than {MAX_VALUES:,} values",
                    problem_mark=node.start_mark,
                )
            self._known[id(node)] = size
        return self._known[id(node)]


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _judge_keys(node: yaml.Node, judged: set[int], faults: list[str]) -> None:
    if id(node) in judged:
        return
    judged.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag == MERGE:
                continue
            if key.tag != TEXT:
                named = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                faults.append(
                    f"{line}: the key {named} is no text for YAML: write it in quotes, as in "
                    f'"{named}": …'
                )
            elif key.value in lines:
                faults.append(
                    f"{line}: the key {key.value!r} is in line {lines[key.value]} already: "
                    "leave one of them out."
                )
            else:
                lines[key.value] = line
    for part in _parts(node):
        _judge_keys(part, judged, faults)


class _Loader(yaml.SafeLoader):
    """The safe loader, whose errors all know their line, and to which few texts are numbers."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        tag = super().resolve(kind, value, implicit)
        is_text = tag == WHOLE and PLAIN_WHOLE.fullmatch(value) is None
        return TEXT if is_text else tag

    @classmethod
    def construct(cls, root: yaml.Node) -> Any:
        loader = cls("")
        try:
            return loader.construct_document(root)
        finally:
            loader.dispose()

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Hashable:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError, TypeError) as error:
            # Such as 2024-13-45, which looks like a day.
            raise yaml.MarkedYAMLError(
                problem=f"{error}; a text is written in quotes", problem_mark=node.start_mark
            ) from None


def _line_of(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark is not None else 1


def _said(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "it cannot be parsed"
    if "\\t" in problem:
        return f"{problem}: indent with spaces; YAML does not allow tabs there"
    if "could not determine a constructor" in problem:
        return f"{problem}: only plain values are read"
    begun = error.context_mark
    if error.context and begun is not None and begun.line + 1 != _line_of(error):
        return f"{problem} ({error.context} in line {begun.line + 1})"
    return problem
