"""Numbers as people write and read them: 1e8, 100M, 64GiB; hours, GiB."""

import math
import re

from recsys_dagster.errors import UserError
from recsys_dagster.resources.machine import MAX_LIMIT, MIN_LIMIT, bytes_of

COUNT = re.compile(
    r"((?:\d{1,3}(?:,\d{3})+|\d[\d_]*)(?:\.\d+)?(?:e\+?\d+)?)\s*([kmbg]?)",
    re.IGNORECASE | re.ASCII,
)
"""A comma stands between thousands: where it is none, whoever wrote it may mean a point."""
MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9}
MOST = 10**15
NAMES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def count_of(written: str, what: str, least: int = 1) -> int:
    """A whole number, such as 1e8, 100M, 1.5b, 100_000_000 or 100,000,000.

    Args:
        written: by a person.
        what: it is of, for the message.
        least: what it may be.

    Raises:
        UserError: it is no such number.
    """
    found = COUNT.fullmatch(written.strip())
    number = math.nan
    if found:
        digits = re.sub("[_,]", "", found.group(1))
        number = float(digits) * MULTIPLES[found.group(2).lower()]
    if not least <= number <= MOST or number != int(number):
        raise UserError(
            f"{what} {written}: expected a whole number from {least} to {MOST:.0e}, such as 1e8, "
            "1.5M or 100_000_000."
        )
    return int(number)


def size_of(written: str, what: str) -> int:
    """Memory, such as 64GiB, 64G or 1.5TB.

    Args:
        written: by a person.
        what: it is of, for the message.

    Raises:
        UserError: it is none, less than 1 GiB or more than 1 EiB.
    """
    number = bytes_of(written)
    if not MIN_LIMIT <= number <= MAX_LIMIT:
        raise UserError(
            f"{what} {written}: expected at least 1 GiB and at most 1 EiB, such as 64GiB, 64GB or "
            "2TiB."
        )
    return int(number)


def shown_bytes(number: float) -> str:
    """Bytes in the unit that they are read best in."""
    power = 0
    while number >= 1000 and power < len(NAMES) - 1:
        number, power = number / 1024, power + 1
    return f"{_rounded(number)} {NAMES[power]}"


def shown_seconds(seconds: float) -> str:
    """Seconds, minutes, hours or days."""
    if seconds < 1:
        return "under 1 s"
    for unit, length, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 100)):
        if seconds / length < most:
            return f"{_rounded(seconds / length)} {unit}"
    return f"{_rounded(seconds / 86_400)} days"


def _rounded(number: float) -> str:
    return f"{number:.1f}" if number < 9.95 else f"{number:,.0f}"
