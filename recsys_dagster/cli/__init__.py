"""The command `recsys`: run catalogs, and read what they published."""

from recsys_dagster.cli.app import main

__all__ = ["main"]
