"""The command `recsys`: run catalogs, and read what they published."""

import os
import sys

from recsys_dagster.cli.app import main

__all__ = ["command", "main"]


def command() -> None:
    """The console script: `main`, and then the end of the process at once.

    At an ordinary end of the interpreter DuckDB's bindings print pages about leaked references
    when torch was loaded too, below a person's recommendations. Nothing is left to be cleaned up:
    connections are closed where they were opened.
    """
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
