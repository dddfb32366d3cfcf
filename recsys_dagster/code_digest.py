"""What of the package's code a function executes, as a fingerprint.

Names are followed: from a function to the functions, classes and constants that it names, in
whatever module of the package, and on from there. What they say is digested as it is executed,
without docstrings, comments, annotations and places in the file. In doubt more is covered and not
less: a name counts where only a local variable is called so, a method of a class that is reached
where anything reached asks for an attribute of its name, a module whole where it is used as a
value. What other packages do is not covered.
"""

import ast
import gc
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.name
NOT_FOLLOWED = {
    f"{ROOT}.assets.common": "runs what makes a table, and decides whether it must be made",
    f"{ROOT}.assets.gate": "decides whether a table may be made",
    f"{ROOT}.assets.metadata": "shown in the UI",
    f"{ROOT}.assets.progress": "shown while a stage works",
    f"{ROOT}.schemas.TABLES": "all tables; the columns of each count by their values",
    f"{ROOT}.catalog.files": "reads the catalog; its settings count by their values",
    f"{ROOT}.versions": "says what a table is made with",
    f"{ROOT}.code_digest": "says what a table is made with",
}
"""Modules, and names in them, that make no row of any table, and what they do instead."""
SHOWN_ARGUMENTS = {
    "Output": {"metadata"},
    "MaterializeResult": {"metadata"},
    "Field": {"description"},
}
"""Arguments, by the name of what is called, that are only shown."""
COLUMN_ARGUMENTS = {"Column": 2}
"""How many leading arguments of a call say what a table is like; the others are only shown."""
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

Place = tuple[str, str]
"""A module and a name in it; the name "" is what a module executes without binding a name."""
WHOLE = "*"
"""In the place of a name: all of a module."""


def code_digest(places: Iterable[Place]) -> str:
    """A fingerprint of all that is executed by functions, classes or constants.

    Args:
        places: of each its module and its name there; the name `*` is the whole module.

    Returns:
        hexadecimal.

    Raises:
        LookupError: a module has no such name.
    """
    # Nothing of a tree is garbage; looking for some takes as long again as parsing.
    collecting = gc.isenabled()
    gc.disable()
    try:
        reached = _reached(places)
    finally:
        if collecting:
            gc.enable()
    said = sorted((unit.place, unit.digest) for unit in reached)
    return hashlib.sha256(repr(said).encode()).hexdigest()


def names_of(module: str) -> frozenset[str]:
    """The names that a module of the package defines, not those that it imports."""
    return frozenset(_module(module).units)


@dataclass(eq=False)
class _Unit:
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
    methods: dict[str, list["_Unit"]] = field(default_factory=dict)
    is_class: bool = False


@dataclass
class _Module:
    """A parsed module: where its names come from, and what defines them."""

    name: str
    imports: dict[str, Place]
    units: dict[str, list[ast.stmt]]
    others: list[ast.stmt]


@dataclass
class _Said:
    """What was read of a statement."""

    text: list[str] = field(default_factory=list)
    names: set[tuple[str, str]] = field(default_factory=set)
    types: set[tuple[str, str]] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    imports: dict[str, Place] = field(default_factory=dict)


def _reached(places: Iterable[Place]) -> set[_Unit]:
    """The closure of what places use."""
    reached: set[_Unit] = set()
    asked: set[str] = set()
    waiting_methods: dict[str, list[_Unit]] = {}
    seen: set[tuple[Place, bool]] = set()
    places_left: list[tuple[Place, bool]] = [(place, False) for place in places]
    units_left: list[_Unit] = []
    while places_left or units_left:
        while places_left:
            place, as_type = places_left.pop()
            if (place, as_type) in seen:
                continue
            seen.add((place, as_type))
            units, more = _found(place)
            places_left += [(other, as_type) for other in more]
            for unit in units:
                if as_type and not unit.is_class:
                    places_left += [(other, True) for other in unit.as_type]
                else:
                    units_left.append(unit)
        if units_left:
            unit = units_left.pop()
            if unit in reached:
                continue
            reached.add(unit)
            places_left.append(((unit.place[0], ""), False))
            places_left += [(other, False) for other in unit.uses]
            places_left += [(other, True) for other in unit.types]
            for name, methods in unit.methods.items():
                if name in asked:
                    units_left += methods
                else:
                    waiting_methods.setdefault(name, []).extend(methods)
            for name in unit.attributes - asked:
                units_left += waiting_methods.pop(name, [])
            asked |= unit.attributes
    return reached


@cache
def _found(place: Place) -> tuple[tuple[_Unit, ...], tuple[Place, ...]]:
    """What defines a name, or the places that it comes from."""
    module, name = place
    if module in NOT_FOLLOWED or f"{module}.{name}" in NOT_FOLLOWED:
        return (), ()
    own = _module(module)
    if name == WHOLE:
        return (), (*((module, each) for each in own.units), *own.imports.values(), (module, ""))
    if name == "":
        return ((_unit_of((module, ""), own.others),) if own.others else ()), ()
    if name in own.units:
        return _units(module, name), ()
    if name in own.imports:
        return (), (own.imports[name],)
    if _file(f"{module}.{name}") is not None:
        return (), ((f"{module}.{name}", WHOLE),)
    raise LookupError(f"{module}: there is no {name}")


def _units(module: str, name: str) -> tuple[_Unit, ...]:
    statements = _module(module).units[name]
    return tuple(
        _class_unit(module, statement)
        if isinstance(statement, ast.ClassDef)
        else _unit_of((module, name), [statement])
        for statement in statements
    )


def _unit_of(place: tuple[str, ...], statements: Iterable[ast.AST]) -> _Unit:
    said, alias = _Said(), _Said()
    for statement in statements:
        _read(statement, said, place[0])
        if isinstance(statement, ast.Assign):
            _read_types(statement.value, alias)
    return _finished(place, said, alias)


def _class_unit(module: str, node: ast.ClassDef) -> _Unit:
    """A class: its head and what it executes at once; and its methods, that may be asked for."""
    said = _Said(text=["class", node.name])
    for part in (*node.bases, *node.keywords, *node.decorator_list):
        _read(part, said, module)
    settings = _is_settings(module, node)
    on_demand = all(_is_plain(module, base) for base in node.bases)
    methods: dict[str, list[_Unit]] = {}
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = {_last_name(each) for each in statement.decorator_list}
            if settings and decorators & JUDGING:
                continue
            if on_demand and _is_asked_for(statement.name, decorators):
                unit = _unit_of((module, node.name, statement.name), [statement])
                methods.setdefault(statement.name, []).append(unit)
            else:
                _read(statement, said, module)
        elif settings:
            _read_types(statement, said)
        else:
            if isinstance(statement, ast.AnnAssign):
                # A field of a data class: that there is one is executed, as what is not.
                said.text += ["field", ast.unparse(statement.target)]
            _read(statement, said, module)
    unit = _finished((module, node.name), said, _Said())
    unit.methods, unit.is_class = methods, True
    return unit


def _finished(place: tuple[str, ...], said: _Said, alias: _Said) -> _Unit:
    module = _module(place[0])
    return _Unit(
        place,
        hashlib.sha256("\0".join(said.text).encode()).hexdigest(),
        frozenset(_resolved(module, said.names, said.imports)),
        frozenset(_resolved(module, said.types, said.imports)),
        frozenset(_resolved(module, alias.types, said.imports)),
        frozenset(said.attributes),
    )


def _resolved(
    module: _Module, names: Iterable[tuple[str, str]], local: dict[str, Place]
) -> Iterator[Place]:
    """Where names come from; an attribute of a module is looked up in it."""
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


def _has(module: str, name: str) -> bool:
    if module in NOT_FOLLOWED:
        return True
    known = _module(module)
    return name in known.units or name in known.imports


def _is_asked_for(method: str, decorators: set[str]) -> bool:
    dunder = method.startswith("__") and method.endswith("__")
    return not dunder and method not in CALLED_BACK and decorators <= PLAIN_DECORATORS


def _is_plain(module: str, base: ast.expr) -> bool:
    """Whether a base class calls no methods of its own accord: ours, or a known one."""
    name = _last_name(base)
    return name in PLAIN_BASES or any(_resolved(_module(module), [(name, "")], {}))


@cache
def _settings_class(place: Place) -> bool:
    if place == SETTINGS:
        return True
    module, name = place
    known = _module(module)
    if name in known.imports:
        return _settings_class(known.imports[name])
    return any(
        isinstance(each, ast.ClassDef) and _is_settings(module, each)
        for each in known.units.get(name, ())
    )


def _is_settings(module: str, node: ast.ClassDef) -> bool:
    if (module, node.name) == SETTINGS:
        return True
    named = [(_last_name(base), "") for base in node.bases]
    return any(_settings_class(place) for place in _resolved(_module(module), named, {}))


def _last_name(node: ast.AST) -> str:
    """`c` of `a.b.c`, `a.b.c(...)` and `a.b.c[...]`."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _read(node: Any, said: _Said, module: str) -> None:
    """Take down what a node executes, and the names that it uses."""
    reader = _READERS.get(type(node))
    if reader is not None:
        reader(node, said, module)
        return
    said.text.append(type(node).__name__)
    for name in node._fields:
        value = getattr(node, name)
        if isinstance(value, ast.AST):
            _read(value, said, module)
        elif isinstance(value, list):
            _read_all(value, said, module)
        elif name not in {"type_comment", "kind"}:
            said.text.append(repr(value))


def _read_name(node: ast.Name, said: _Said, _: str) -> None:
    said.names.add((node.id, ""))
    said.text.append(node.id)


def _read_attribute(node: ast.Attribute, said: _Said, module: str) -> None:
    said.attributes.add(node.attr)
    said.text += [".", node.attr]
    if isinstance(node.value, ast.Name):
        said.names.add((node.value.id, node.attr))
        said.text.append(node.value.id)
    else:
        _read(node.value, said, module)


def _read_constant(node: ast.Constant, said: _Said, _: str) -> None:
    said.text.append(repr(node.value))
    if isinstance(node.value, str) and node.value.isidentifier():
        said.attributes.add(node.value)  # `getattr` may be told so


def _read_context(_node: ast.expr_context, _said: _Said, _module: str) -> None:
    """Whether a name is read or set is seen in what it stands in."""


def _read_expression(node: ast.Expr, said: _Said, module: str) -> None:
    if not (isinstance(node.value, ast.Constant) or _is_logging(node.value)):
        said.text.append("Expr")
        _read(node.value, said, module)


def _read_function(node: ast.FunctionDef | ast.AsyncFunctionDef, said: _Said, module: str) -> None:
    said.text += [type(node).__name__, node.name]
    for decorator in node.decorator_list:
        if not _only_runs(decorator, module):
            _read(decorator, said, module)
    _read(node.args, said, module)
    _read_all(node.body, said, module)
    if node.returns is not None:
        _read_types(node.returns, said)


def _read_parameter(node: ast.arg, said: _Said, _: str) -> None:
    said.text += ["arg", node.arg]
    if node.annotation is not None:
        _read_types(node.annotation, said)


def _read_annotated(node: ast.AnnAssign, said: _Said, module: str) -> None:
    _read_types(node.annotation, said)
    if node.value is not None:
        said.text.append("Assign")
        _read_all([node.target], said, module)
        _read(node.value, said, module)


def _read_import(node: ast.Import | ast.ImportFrom, said: _Said, _: str) -> None:
    said.imports |= _imported(node)
    said.text += ["import", *(alias.name for alias in node.names)]


def _read_all(nodes: list[Any], said: _Said, module: str) -> None:
    said.text.append("[")
    for node in nodes:
        if isinstance(node, ast.AST):
            _read(node, said, module)
        else:
            said.text.append(repr(node))
    said.text.append("]")


def _read_call(node: ast.Call, said: _Said, module: str) -> None:
    called = _last_name(node.func)
    said.text.append("Call")
    _read(node.func, said, module)
    _read_all(node.args[: COLUMN_ARGUMENTS.get(called)], said, module)
    shown = SHOWN_ARGUMENTS.get(called, ())
    _read_all([each for each in node.keywords if each.arg not in shown], said, module)


def _read_types(node: ast.AST, said: _Said) -> None:
    """Take down the names of an annotation, those in quotes too, and nothing else."""
    if isinstance(node, ast.Name):
        said.types.add((node.id, ""))
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        said.types.add((node.value.id, node.attr))
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str) and node.value.isidentifier():
            said.types.add((node.value, ""))
    elif isinstance(node, ast.Subscript) and _last_name(node.value) == "Annotated":
        # The first is the type; what else there is judges values or is shown.
        _read_types(node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice, said)
    else:
        for inner in ast.iter_child_nodes(node):
            _read_types(inner, said)


_READERS: dict[type[ast.AST], Callable[[Any, _Said, str], None]] = {
    ast.Name: _read_name,
    ast.Attribute: _read_attribute,
    ast.Constant: _read_constant,
    ast.Load: _read_context,
    ast.Store: _read_context,
    ast.Del: _read_context,
    ast.Call: _read_call,
    ast.Expr: _read_expression,
    ast.FunctionDef: _read_function,
    ast.AsyncFunctionDef: _read_function,
    ast.arg: _read_parameter,
    ast.AnnAssign: _read_annotated,
    ast.Import: _read_import,
    ast.ImportFrom: _read_import,
}


def _is_logging(node: ast.expr) -> bool:
    """Whether an expression is a call such as `context.log.info(...)`, or of `log`."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and _last_name(node.func.value) == "log"
    )


def _only_runs(decorator: ast.expr, module: str) -> bool:
    places = _resolved(_module(module), [(_last_name(decorator), "")], {})
    return any(origin in NOT_FOLLOWED for origin, _ in places)


@cache
def _module(name: str) -> _Module:
    """A module of the package, parsed.

    Raises:
        LookupError: there is none of that name.
    """
    file = _file(name)
    if file is None:
        raise LookupError(f"{name}: there is no such module in {PACKAGE}")
    imports: dict[str, Place] = {}
    units: dict[str, list[ast.stmt]] = {}
    others: list[ast.stmt] = []
    for statement in ast.parse(file.read_bytes()).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports |= _imported(statement)
            continue
        bound = set(_bound(statement))
        for each in bound:
            units.setdefault(each, []).append(statement)
        if not bound and not _is_text(statement):
            others.append(statement)
        for inner in ast.walk(statement) if isinstance(statement, ast.If | ast.Try) else ():
            if isinstance(inner, ast.Import | ast.ImportFrom):
                imports |= _imported(inner)
    return _Module(name, imports, units, others)


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


def _imported(node: ast.Import | ast.ImportFrom) -> dict[str, Place]:
    """Name → where in the package it comes from; imports of other packages say nothing."""
    found: dict[str, Place] = {}
    for alias in node.names:
        bound = alias.asname or alias.name.partition(".")[0]
        if isinstance(node, ast.Import):
            if _file(alias.name) is not None:
                found[bound] = (alias.name, WHOLE)
        elif node.module and _file(node.module) is not None:
            inner = f"{node.module}.{alias.name}"
            whole = _file(inner) is not None
            found[bound] = (inner, WHOLE) if whole else (node.module, alias.name)
    return found


@cache
def _file(module: str) -> Path | None:
    first, *parts = module.split(".")
    if first != ROOT:
        return None
    stem = PACKAGE.joinpath(*parts)
    files = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((file for file in files if file.is_file()), None)
