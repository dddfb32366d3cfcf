"""Code that is covered whole or not at all: what defines a name, and methods of classes."""

import ast
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from recsys_dagster.code_digest.modules import ROOT, Place, parsed, resolved
from recsys_dagster.code_digest.statements import Said, last_name, read, read_types

SETTINGS = (f"{ROOT}.catalog.base", "Settings")
"""The class of the catalog's settings. What their fields are and how they are judged is seen in
their values, which are digested themselves; only their own methods are code here."""
JUDGING = {"field_validator", "model_validator", "field_serializer", "model_serializer"}
PLAIN_DECORATORS = {"property", "cached_property", "classmethod", "staticmethod", "contextmanager"}
"""Of methods that nobody calls but those who name them."""
PLAIN_BASES = {"Protocol", "Generic", "NamedTuple", "Enum", "StrEnum", "ABC", "Exception"} | {
    "BaseModel",
    "ConfigurableResource",
    "ConfigurableIOManager",
}
"""Classes of other packages that call only `CALLED_BACK` and dunder methods of their own accord."""
CALLED_BACK = {
    "setup_for_execution",
    "teardown_after_execution",
    "yield_for_execution",
    "create_resource",
    "model_post_init",
    "handle_output",
    "load_input",
}


@dataclass(eq=False)
class Unit:
    """Code that is covered whole or not at all.

    Attributes:
        place: module, name, and of a method its own name.
        digest: of what it executes.
        uses: what it names, in the package.
        types: what its annotations name: of these only classes count.
        as_type: what it names as an annotation: an alias names other types.
        attributes: attributes that it asks for, and texts that might name some.
        methods: of a class those that count only where somebody asks for them.
    """

    place: tuple[str, ...]
    digest: str
    uses: frozenset[Place]
    types: frozenset[Place]
    as_type: frozenset[Place]
    attributes: frozenset[str]
    methods: dict[str, list["Unit"]] = field(default_factory=dict)
    is_class: bool = False


def units_of(module: str, name: str) -> tuple[Unit, ...]:
    """What gives a name of a module its value; of the name "" what the module executes beside.

    Raises:
        KeyError: nothing in the module gives the name a value.
    """
    if name == "":
        others = parsed(module).others
        return (_unit_of((module, ""), others),) if others else ()
    statements = parsed(module).units[name]
    return tuple(
        _class_unit(module, statement)
        if isinstance(statement, ast.ClassDef)
        else _unit_of((module, name), [statement])
        for statement in statements
    )


def _unit_of(place: tuple[str, ...], statements: Iterable[ast.AST]) -> Unit:
    said, alias = Said(), Said()
    for statement in statements:
        read(statement, said, place[0])
        if isinstance(statement, ast.Assign):
            read_types(statement.value, alias)
    return _finished(place, said, alias)


def _class_unit(module: str, node: ast.ClassDef) -> Unit:
    """A class: its head and what it executes at once; and its methods, that may be asked for."""
    said = Said(text=["class", node.name])
    for part in (*node.bases, *node.keywords, *node.decorator_list):
        read(part, said, module)
    settings = _is_settings(module, node)
    on_demand = all(_is_plain(module, base) for base in node.bases)
    methods: dict[str, list[Unit]] = {}
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = {last_name(each) for each in statement.decorator_list}
            if settings and decorators & JUDGING:
                continue
            if on_demand and _is_asked_for(statement.name, decorators):
                unit = _unit_of((module, node.name, statement.name), [statement])
                methods.setdefault(statement.name, []).append(unit)
            else:
                read(statement, said, module)
        elif settings:
            read_types(statement, said)
        else:
            if isinstance(statement, ast.AnnAssign):
                # A field of a data class: that there is one is executed, as what is not.
                said.text += ["field", ast.unparse(statement.target)]
            read(statement, said, module)
    unit = _finished((module, node.name), said, Said())
    unit.methods, unit.is_class = methods, True
    return unit


def _finished(place: tuple[str, ...], said: Said, alias: Said) -> Unit:
    module = parsed(place[0])
    return Unit(
        place,
        hashlib.sha256("\0".join(said.text).encode()).hexdigest(),
        frozenset(resolved(module, said.names, said.imports)),
        frozenset(resolved(module, said.types, said.imports)),
        frozenset(resolved(module, alias.types, said.imports)),
        frozenset(said.attributes),
    )


def _is_asked_for(method: str, decorators: set[str]) -> bool:
    dunder = method.startswith("__") and method.endswith("__")
    return not dunder and method not in CALLED_BACK and decorators <= PLAIN_DECORATORS


def _is_plain(module: str, base: ast.expr) -> bool:
    """Whether a base class calls no methods of its own accord: ours, or a known one."""
    name = last_name(base)
    return name in PLAIN_BASES or any(resolved(parsed(module), [(name, "")], {}))


@cache
def _settings_class(place: Place) -> bool:
    if place == SETTINGS:
        return True
    module, name = place
    known = parsed(module)
    if name in known.imports:
        return _settings_class(known.imports[name])
    return any(
        isinstance(each, ast.ClassDef) and _is_settings(module, each)
        for each in known.units.get(name, ())
    )


def _is_settings(module: str, node: ast.ClassDef) -> bool:
    if (module, node.name) == SETTINGS:
        return True
    named = [(last_name(base), "") for base in node.bases]
    return any(_settings_class(place) for place in resolved(parsed(module), named, {}))
