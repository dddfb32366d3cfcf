"""Somebody's own function, and what it returns as a table.

What it does wrong is told as a fault of the source: an error in it must neither print pages of our
own calls nor end the program, and a question must not wait for an answer that nobody gives.
"""

import importlib
import io
import sys
import sysconfig
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.resources.sources.queries import table_of_values
from recsys_dagster.resources.sources.state import require_distinct
from recsys_dagster.resources.warehouse import to_arrow

EXPECTED = (
    "expected a pandas frame, an Arrow table, something that Arrow reads (a Polars frame, a DuckDB "
    "relation) or a list of dicts"
)
MAX_MESSAGE_LENGTH = 500
NOT_THEIRS = tuple(
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")
)
"""Where Python and the installed packages lie."""


def call_function(name: str) -> pa.Table:
    """The rows that a function returns.

    Args:
        name: `module:function`.

    Raises:
        UserError: there is no such module or function, it fails, ends the program or asks for
            input, or what it returns is no table.
    """
    module_name, _, function_name = name.partition(":")
    source = f"source python:{name}"
    with _told(source, "the module cannot be imported"):
        module = importlib.import_module(module_name)
    function: Any = module
    for part in function_name.split("."):
        function = getattr(function, part, None)
    if not callable(function):
        names = [name for name, value in vars(module).items() if callable(value)]
        raise UserError(
            f"{source}: {module_name} has no function {function_name!r}."
            f"{did_you_mean(function_name, names)}"
        )
    with _told(source, "the function failed"):
        value = function()
        if isinstance(value, Iterator) and not hasattr(value, "__arrow_c_stream__"):
            value = list(value)  # a generator's own errors come here
    return table_of(value, source)


@contextmanager
def _told(source: str, what: str) -> Generator[None]:
    """Turn whatever goes wrong in somebody's code into a message."""
    stdin, sys.stdin = sys.stdin, io.StringIO()
    try:
        # The output of the program is for what was asked of it, such as JSON.
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        raise UserError(f"{source}: {what}: {_said(error)}{_where(error)}") from None
    finally:
        sys.stdin = stdin


def _said(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ended the program, by sys.exit({error.code!r})"
    if isinstance(error, EOFError):
        return "it asks for input, and there is nobody to answer"
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    if len(message) > MAX_MESSAGE_LENGTH:
        message = f"{message[:MAX_MESSAGE_LENGTH]}…"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _where(error: BaseException) -> str:
    """The file and line where it was raised, of the person's own code if any of that ran."""
    if isinstance(error, SyntaxError):
        return f" ({error.filename}, line {error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith("<")
    ]
    own = [frame for frame in frames if not _is_installed(Path(frame.filename))]
    # Without own code only the import itself failed; a module that is installed is somebody's too.
    imported = [frame for frame in frames if "importlib" not in Path(frame.filename).parts]
    if not (own or imported):
        return ""
    last = (own or imported)[-1]
    return f" ({last.filename}, line {last.lineno})"


def _is_installed(file: Path) -> bool:
    return any(file.resolve().is_relative_to(folder) for folder in NOT_THEIRS)


def table_of(value: Any, source: str) -> pa.Table:
    """What a function returned, or the value of an asset, as Arrow.

    Args:
        value: any of what the error names.
        source: what the error is to begin with.

    Raises:
        UserError: the value is no table.
    """
    if isinstance(value, pd.DataFrame):
        require_distinct([str(name) for name in value.columns], source)
        return to_arrow(value)
    if isinstance(value, Sequence) and value and all(isinstance(row, Mapping) for row in value):
        names = list(dict.fromkeys(str(name) for row in value for name in row))
        named = [{str(name): cell for name, cell in row.items()} for row in value]
        return table_of_values(names, [[row.get(name) for name in names] for row in named])
    if isinstance(value, pa.Table) or hasattr(value, "__arrow_c_stream__"):
        try:
            table = pa.table(value)
        except (pa.ArrowException, TypeError, ValueError):
            pass  # such as a column alone
        else:
            return _with_plain_texts(table.replace_schema_metadata())
    found = "an empty list" if isinstance(value, list) and not value else type(value).__name__
    raise UserError(f"{source}: {EXPECTED}, got {found}.")


def _with_plain_texts(table: pa.Table) -> pa.Table:
    """With the one type of text that steps know, in place of those that other libraries have."""
    fields = []
    for field in table.schema:
        inner = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        is_text = pa.types.is_large_string(inner) or pa.types.is_string_view(inner)
        fields.append(pa.field(field.name, pa.string() if is_text else field.type))
    return table.cast(pa.schema(fields))
