"""What every asset of the graph says of itself."""

OWNERS = ["team:recommendations"]
TABLE = {"duckdb", "table"}
"""Kinds of an asset that is a table in the warehouse."""
