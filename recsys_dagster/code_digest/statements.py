"""What a statement executes, as text, and the names that it uses.

Without docstrings, comments, annotations, places in the file and what is only shown or logged.
"""

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from recsys_dagster.code_digest.modules import NOT_FOLLOWED, Place, imported, parsed, resolved

SHOWN_ARGUMENTS = {
    "Output": {"metadata"},
    "MaterializeResult": {"metadata"},
    "Field": {"description"},
}
"""Arguments, by the name of what is called, that are only shown."""
COLUMN_ARGUMENTS = {"Column": 2}
"""How many leading arguments of a call say what a table is like; the others are only shown."""


@dataclass
class Said:
    """What was read of a statement.

    Attributes:
        text: what it executes, piece by piece.
        names: what it names, each with the attribute that is asked of it, or "".
        types: what its annotations name, in the same way.
        attributes: attributes that it asks for, and texts that might name some.
        imports: what is imported in it, name → where it comes from.
    """

    text: list[str] = field(default_factory=list)
    names: set[tuple[str, str]] = field(default_factory=set)
    types: set[tuple[str, str]] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    imports: dict[str, Place] = field(default_factory=dict)


def read(node: Any, said: Said, module: str) -> None:
    """Take down what a node executes, and the names that it uses.

    Args:
        node: of a parsed module.
        said: where it is taken down.
        module: the module's name.
    """
    reader = _READERS.get(type(node))
    if reader is not None:
        reader(node, said, module)
        return
    said.text.append(type(node).__name__)
    for name in node._fields:
        value = getattr(node, name)
        if isinstance(value, ast.AST):
            read(value, said, module)
        elif isinstance(value, list):
            _read_all(value, said, module)
        elif name not in {"type_comment", "kind"}:
            said.text.append(repr(value))


def read_types(node: ast.AST, said: Said) -> None:
    """Take down the names of an annotation, those in quotes too, and nothing else."""
    if isinstance(node, ast.Name):
        said.types.add((node.id, ""))
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        said.types.add((node.value.id, node.attr))
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str) and node.value.isidentifier():
            said.types.add((node.value, ""))
    elif isinstance(node, ast.Subscript) and last_name(node.value) == "Annotated":
        # The first is the type; what else there is judges values or is shown.
        read_types(node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice, said)
    else:
        for inner in ast.iter_child_nodes(node):
            read_types(inner, said)


def last_name(node: ast.AST) -> str:
    """`c` of `a.b.c`, `a.b.c(...)` and `a.b.c[...]`."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _read_name(node: ast.Name, said: Said, _: str) -> None:
    said.names.add((node.id, ""))
    said.text.append(node.id)


def _read_attribute(node: ast.Attribute, said: Said, module: str) -> None:
    said.attributes.add(node.attr)
    said.text += [".", node.attr]
    if isinstance(node.value, ast.Name):
        said.names.add((node.value.id, node.attr))
        said.text.append(node.value.id)
    else:
        read(node.value, said, module)


def _read_constant(node: ast.Constant, said: Said, _: str) -> None:
    said.text.append(repr(node.value))
    if isinstance(node.value, str) and node.value.isidentifier():
        said.attributes.add(node.value)  # `getattr` may be told so


def _read_context(_node: ast.expr_context, _said: Said, parsed: str) -> None:
    """Whether a name is read or set is seen in what it stands in."""


def _read_expression(node: ast.Expr, said: Said, module: str) -> None:
    if not (isinstance(node.value, ast.Constant) or _is_logging(node.value)):
        said.text.append("Expr")
        read(node.value, said, module)


def _read_function(node: ast.FunctionDef | ast.AsyncFunctionDef, said: Said, module: str) -> None:
    said.text += [type(node).__name__, node.name]
    for decorator in node.decorator_list:
        if not _only_runs(decorator, module):
            read(decorator, said, module)
    read(node.args, said, module)
    _read_all(node.body, said, module)
    if node.returns is not None:
        read_types(node.returns, said)


def _read_parameter(node: ast.arg, said: Said, _: str) -> None:
    said.text += ["arg", node.arg]
    if node.annotation is not None:
        read_types(node.annotation, said)


def _read_annotated(node: ast.AnnAssign, said: Said, module: str) -> None:
    read_types(node.annotation, said)
    if node.value is not None:
        said.text.append("Assign")
        _read_all([node.target], said, module)
        read(node.value, said, module)


def _read_import(node: ast.Import | ast.ImportFrom, said: Said, _: str) -> None:
    said.imports |= imported(node)
    said.text += ["import", *(alias.name for alias in node.names)]


def _read_all(nodes: list[Any], said: Said, module: str) -> None:
    said.text.append("[")
    for node in nodes:
        if isinstance(node, ast.AST):
            read(node, said, module)
        else:
            said.text.append(repr(node))
    said.text.append("]")


def _read_call(node: ast.Call, said: Said, module: str) -> None:
    called = last_name(node.func)
    said.text.append("Call")
    read(node.func, said, module)
    _read_all(node.args[: COLUMN_ARGUMENTS.get(called)], said, module)
    shown = SHOWN_ARGUMENTS.get(called, ())
    _read_all([each for each in node.keywords if each.arg not in shown], said, module)


def _is_logging(node: ast.expr) -> bool:
    """Whether an expression is a call such as `context.log.info(...)`, or of `log`."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and last_name(node.func.value) == "log"
    )


def _only_runs(decorator: ast.expr, module: str) -> bool:
    places = resolved(parsed(module), [(last_name(decorator), "")], {})
    return any(origin in NOT_FOLLOWED for origin, _ in places)


_READERS: dict[type[ast.AST], Callable[[Any, Said, str], None]] = {
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
