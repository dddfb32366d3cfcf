"""The memory that a dense fit takes is stated before it is taken."""

import os
import re
from pathlib import Path

from recsys_dagster.errors import UserError

MEMINFO = Path("/proc/meminfo")
GIB = 1024**3


def fit_bytes(learned: int, items: int) -> int:
    """Bytes of float32 that fitting and then holding item-item weights needs at its peak.

    Two matrices (learned × learned) are worked on; the result (learned × items) is filled from one.
    Vectors and neighbours are not counted: they are small where these are large.

    Args:
        learned: items that weights are learned from, at most `items`.
        items: all items, the columns of the result.
    """
    return 4 * learned * (learned + items)


def available_bytes() -> int | None:
    """Memory that can be had without swapping, or None where the system does not tell."""
    if MEMINFO.exists():
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", MEMINFO.read_text(), re.MULTILINE)
        if found:
            return int(found.group(1)) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def require_memory(strategy: str, learned: int, items: int) -> None:
    """Refuse a fit that would not fit.

    Raises:
        UserError: `fit_bytes` is more than the memory available.
    """
    needed, available = fit_bytes(learned, items), available_bytes()
    if available is not None and needed > available:
        raise UserError(
            f"strategy: {strategy} would learn from {learned:,} of {items:,} items, which needs "
            f"{needed / GIB:.1f} GiB of memory; {available / GIB:.1f} GiB are available. Learn "
            "from fewer items (a larger interactions.minimum_per_item in the catalog's YAML), or "
            "take strategy: similar_items or strategy: content."
        )
