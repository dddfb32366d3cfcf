"""What a catalog may be called."""

NAME = r"[a-z][a-z0-9_]{0,39}"
"""A catalog's name: it is also part of an asset key, a file and a folder."""
_OF_DUCKDB = "its DuckDB file, which is called as it, has a schema of that name"
TAKEN = {
    "up": "its job of the stage `clean` would be called as ours, clean_up",
    "gate": _OF_DUCKDB,
    "encoded_texts": _OF_DUCKDB,
    "information_schema": _OF_DUCKDB,
}
"""What no catalog may be called, and why. DuckDB could not tell the file from the schema."""
LIVE_FILES = "live-*.jsonl"
"""Files of interactions that `recsys serve` was told of; what is in one never changes."""
