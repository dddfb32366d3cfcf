"""What a catalog may be called."""

NAME = r"[a-z][a-z0-9_]{0,39}"
"""A catalog's name: it is also part of an asset key, a file and a folder."""
LIVE_FILES = "live-*.jsonl"
"""Files of interactions that `recsys serve` was told of; what is in one never changes."""
