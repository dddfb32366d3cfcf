"""The command `recsys`: run catalogs, and read what they published."""

import os
import sys
from contextlib import suppress

from recsys_dagster.cli import help_text
from recsys_dagster.cli.app import main
from recsys_dagster.writing import unwritten

__all__ = ["command", "main"]


def command() -> None:
    """The console script: `main`, and then the end of the process at once.

    At an ordinary end of the interpreter DuckDB's bindings print pages about leaked references
    when torch was loaded too, below a person's recommendations. Nothing is left to be cleaned up:
    connections are closed where they were opened.
    """
    if help_text.asked_for(sys.argv[1:]):
        help_text.load_typers_help()
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # closed by `>&-`
                stream.flush()
    except BrokenPipeError:
        pass  # who reads no further, such as `head`, has what they want
    except OSError as error:
        status = 2
        with suppress(OSError):
            sys.stderr.write(f"Error {unwritten('what is printed', error)}\n")
    os._exit(status)
