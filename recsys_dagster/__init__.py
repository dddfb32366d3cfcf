"""Recommendations as a data pipeline: Dagster assets over DuckDB."""

__version__ = "0.1.0"
