"""Help as Typer draws it, without the parsers that come with that and that ours never needs."""

import sys
from contextlib import suppress
from types import ModuleType

UNUSED = {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}
"""Modules with parsers of Markdown and of code, and what `typer.rich_utils` takes of each.

Our help is in rich's own markup, and our tracebacks are Python's.
"""


def asked_for(arguments: list[str]) -> bool:
    """Whether a command line, without the program, asks for help: the process ends with it."""
    return not arguments or "--help" in arguments


def load_typers_help() -> None:
    """Import what Typer draws help with, and empty classes in the place of what is not needed.

    The parsers are a third of `recsys --help`. Whoever imports their modules afterwards gets the
    real ones, and a Typer that needs more of them imports itself again.
    """
    stand_ins = {name: ModuleType(name) for name in UNUSED if name not in sys.modules}
    for name, module in stand_ins.items():
        setattr(module, UNUSED[name], type(UNUSED[name], (), {}))
    sys.modules.update(stand_ins)
    with suppress(ImportError, AttributeError, TypeError):
        import typer.rich_utils  # noqa: F401
    for name in stand_ins:
        del sys.modules[name]
