"""What the machine has: cores and memory."""

import os
import re
import resource
import sys
from pathlib import Path

from recsys_dagster.errors import UserError

MEMINFO = Path("/proc/meminfo")
STATUS = Path("/proc/self/status")
CGROUP = Path("/sys/fs/cgroup/memory.max")
MEMORY_LIMIT = "RECSYS_MEMORY_LIMIT"
DEFAULT_SHARE = 0.7
"""Of the memory that there is."""
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt]i?)b?)?", re.IGNORECASE | re.ASCII)
PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)
UNITS = {f"{letter}i": 2 ** (10 * power) for power, letter in enumerate("kmgt", 1)}
UNITS |= {letter: 10 ** (3 * power) for power, letter in enumerate("kmgt", 1)}
MIN_LIMIT = 2**30
"""Less than a Python with Arrow, DuckDB and torch takes before it has any work."""
MAX_LIMIT = 2**60


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_limit() -> int | None:
    """Bytes that a process of ours takes at the most, or None where the system does not tell.

    What the environment variable `RECSYS_MEMORY_LIMIT` says, such as `8GiB` or `50%` of what there
    is; 70 % where it says nothing. In a container what there is is what the container may take.

    Raises:
        UserError: it says something else, less than 1 GiB or more than 1 EiB.
    """
    there = _total_bytes()
    told = os.environ.get(MEMORY_LIMIT, "").strip()
    if not told:
        return None if there is None else int(DEFAULT_SHARE * there)
    percent = PERCENT.fullmatch(told)
    if percent and there is not None:
        limit = float(percent.group(1)) / 100 * there
    else:
        limit = bytes_of(told)
    if not MIN_LIMIT <= limit <= MAX_LIMIT:
        raise UserError(
            f"{MEMORY_LIMIT} is {told!r}: expected at least 1 GiB and at most 1 EiB, such as 8GiB, "
            "8GB or 50%"
        )
    return int(limit)


def bytes_of(written: str) -> float:
    """What a person writes as memory, such as 8GiB, 8G, 1.5TB or a number of bytes; 0 for other."""
    found = SIZE.fullmatch(written.strip())
    if found is None:
        return 0.0
    number, unit = found.groups()
    return float(number) * UNITS.get((unit or "").casefold(), 1)


def available_bytes() -> int | None:
    """Memory that can still be had, without swapping and within this process's limit.

    None where the system does not tell.
    """
    limit, free = memory_limit(), _free_bytes()
    left = None if limit is None else max(0, limit - (_bytes_of(STATUS, "VmRSS") or 0))
    return min((number for number in (left, free) if number is not None), default=None)


def _free_bytes() -> int | None:
    found = _bytes_of(MEMINFO, "MemAvailable")
    if found is not None:
        return found
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _total_bytes() -> int | None:
    total = _bytes_of(MEMINFO, "MemTotal")
    if total is None:
        try:
            total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):
            return None
    of_container = CGROUP.read_text().strip() if CGROUP.is_file() else ""
    return min(total, int(of_container)) if of_container.isdigit() else total


def _bytes_of(file: Path, name: str) -> int | None:
    """Bytes of a line such as `MemTotal: 8 kB`, or None where there is no such line."""
    if not file.is_file():
        return None
    found = re.search(rf"^{name}:\s+(\d+) kB$", file.read_text(), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def peak_bytes() -> int:
    """The largest memory that this process had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
