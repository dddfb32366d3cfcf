"""Whether a schedule is one of cron, told without loading Dagster, which would take seconds."""

import re

NICKNAMES = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")
MONTH_NAMES = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAY_NAMES = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
MONTHS = {name: place for place, name in enumerate(MONTH_NAMES, start=1)}
DAYS = {name: place for place, name in enumerate(DAY_NAMES)}
FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, MONTHS),
    ("day of the week", 0, 7, DAYS),
)
PART = re.compile(r"(?:\*|([0-9]+|[a-z]{3})(?:-([0-9]+|[a-z]{3}))?)(?:/([0-9]{1,4}))?")
MOST_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""Of each month, of any year."""


def require_cron(schedule: str) -> None:
    """See that a schedule has a time at which it runs.

    Args:
        schedule: five fields between single spaces, of numbers, names, lists, ranges and steps; or
            a nickname.

    Raises:
        ValueError: it is something else, or its time never comes.
    """
    if schedule in NICKNAMES:
        return
    fields = schedule.split(" ")
    if len(fields) != len(FIELDS):
        raise ValueError('expected five fields of cron, for example "0 3 * * *", or @daily')
    values = [_values(field, *kind) for field, kind in zip(fields, FIELDS, strict=True)]
    _, _, days, months, _ = values
    most = max(MOST_DAYS[month - 1] for month in months)
    if min(days) > most:
        raise ValueError(
            f"cron has no such time: the month {fields[3]} has at most {most} days, and the day "
            f"of the month is {fields[2]}"
        )


def _values(field: str, name: str, least: int, most: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for part in field.lower().split(","):
        match = PART.fullmatch(part)
        first, last, step = match.groups() if match else ("", None, None)
        start = least if first is None else _number(first, names)
        # A number with a step goes on to the end, as in "5/10".
        end = most if first is None or (step and last is None) else _number(last or first, names)
        if not (match and least <= start <= most and least <= end <= most and step != "0"):
            known = ", or of the names " + ", ".join(names) if names else ""
            raise ValueError(
                f"cron has no such time: expected as {name} numbers from {least} to {most}{known}, "
                f"*, lists, ranges and steps such as 1,3 or 1-5 or */2; found {field!r}"
            )
        # From Friday to Monday goes over the end.
        over = (
            range(start, end + 1)
            if start <= end
            else (*range(start, most + 1), *range(least, end + 1))
        )
        found.update(list(over)[:: int(step or 1)])
    return found


def _number(text: str, names: dict[str, int]) -> int:
    return int(text) if text.isdecimal() else names.get(text, -1)
