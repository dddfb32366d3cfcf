"""A Dagster project scaffolded with `dg`."""
