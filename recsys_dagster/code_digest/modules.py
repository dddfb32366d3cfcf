"""Modules of the package: what defines their names, and where names come from."""

import ast
import gc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
ROOT = PACKAGE.name
NOT_FOLLOWED = {
    f"{ROOT}.assets.common": "runs what makes a table, and decides whether it must be made",
    f"{ROOT}.assets.gate": "decides whether a table may be made",
    f"{ROOT}.assets.metadata": "shown in the UI",
    f"{ROOT}.assets.progress": "shown while a stage works",
    f"{ROOT}.objects": "brings and takes bytes as they are",
    f"{ROOT}.snapshots.remote": "puts what is published where it is read, as it is",
    f"{ROOT}.snapshots.evaluations": "remembers what was measured, beside the table",
    f"{ROOT}.schemas.TABLES": "all tables; the columns of each count by their values",
    f"{ROOT}.catalog.files": "reads the catalog; its settings count by their values",
    f"{ROOT}.versions": "says what a table is made with",
    f"{ROOT}.code_digest": "says what a table is made with",
}
"""Modules, and names in them, that make no row of any table, and what they do instead."""
Place = tuple[str, str]
"""A module and a name in it; the name "" is what a module executes without binding a name."""
WHOLE = "*"
"""In the place of a name: all of a module."""


@dataclass
class Module:
    """A parsed module.

    Attributes:
        name: of the module, with its packages.
        imports: name → where in the package it comes from.
        units: name → the statements that give it a value.
        others: statements that are executed and bind no name.
    """

    name: str
    imports: dict[str, Place]
    units: dict[str, list[ast.stmt]]
    others: list[ast.stmt]


def names_of(module: str) -> frozenset[str]:
    """The names that a module of the package defines, not those that it imports."""
    return frozenset(parsed(module).units)


def tree_of(source: bytes) -> ast.Module:
    """A parsed text.

    Without collecting garbage meanwhile: a finaliser that prints a traceback parses too, and
    Python 3.11 calls it a SystemError that it then counts the depth of both in one place
    (CPython issue 106905).
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if collecting:
            gc.enable()


@cache
def parsed(name: str) -> Module:
    """A module of the package, parsed.

    Raises:
        LookupError: there is none of that name.
    """
    file = file_of(name)
    if file is None:
        raise LookupError(f"{name}: there is no such module in {PACKAGE}")
    imports: dict[str, Place] = {}
    units: dict[str, list[ast.stmt]] = {}
    others: list[ast.stmt] = []
    for statement in tree_of(file.read_bytes()).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports |= imported(statement)
            continue
        bound = set(_bound(statement))
        for each in bound:
            units.setdefault(each, []).append(statement)
        if not bound and not _is_text(statement):
            others.append(statement)
        for inner in ast.walk(statement) if isinstance(statement, ast.If | ast.Try) else ():
            if isinstance(inner, ast.Import | ast.ImportFrom):
                imports |= imported(inner)
    return Module(name, imports, units, others)


def resolved(
    module: Module, names: Iterable[tuple[str, str]], local: dict[str, Place]
) -> Iterator[Place]:
    """Where names come from; an attribute of a module is looked up in it.

    Args:
        module: where they are used.
        names: each with the attribute that is asked of it, "" where there is none.
        local: what is imported where they are used, as `imported` gives it.
    """
    for name, attribute in names:
        for known in (module.imports, local):
            if name in known:
                origin, original = known[name]
                if original == WHOLE and attribute and _has(origin, attribute):
                    yield origin, attribute
                else:
                    yield origin, original
        if name in module.units:
            yield module.name, name


def imported(node: ast.Import | ast.ImportFrom) -> dict[str, Place]:
    """Name → where in the package it comes from; imports of other packages say nothing."""
    found: dict[str, Place] = {}
    for alias in node.names:
        bound = alias.asname or alias.name.partition(".")[0]
        if isinstance(node, ast.Import):
            if file_of(alias.name) is not None:
                found[bound] = (alias.name, WHOLE)
        elif node.module and file_of(node.module) is not None:
            inner = f"{node.module}.{alias.name}"
            whole = file_of(inner) is not None
            found[bound] = (inner, WHOLE) if whole else (node.module, alias.name)
    return found


@cache
def file_of(module: str) -> Path | None:
    """The file of a module of the package; None where there is none, or it is of another."""
    first, *parts = module.split(".")
    if first != ROOT:
        return None
    stem = PACKAGE.joinpath(*parts)
    files = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _has(module: str, name: str) -> bool:
    if module in NOT_FOLLOWED:
        return True
    known = parsed(module)
    return name in known.units or name in known.imports


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module gives a value."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
