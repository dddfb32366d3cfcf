"""The code location: everything that the catalog files describe."""

from recsys_dagster.build import build_defs

defs = build_defs()
