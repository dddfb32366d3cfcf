"""Texts of times in no standard form → the formats that would read them."""

from datetime import datetime
from itertools import product

import pandas as pd

from recsys_dagster.steps.prepare.times import parse_timestamps

READABLE = 0.9
"""Of the texts, that a format must read."""
SAMPLE, PROBED = 500, 30
"""Texts that are looked at, and those of which a format must read one to be tried on all."""
DAYS = ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d"]
DAYS += ["%Y-%m-%d", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%d-%b-%Y"]
DAYS += ["%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%m %d, %Y", "%Y年%m月%d日"]
HOURS = ["", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S"]
HOURS += [", %H:%M", ", %H:%M:%S"]
DIGITS = {"%Y%m%d": 8, "%Y%m%d%H%M": 12, "%Y%m%d%H%M%S": 14}
"""Formats of digits alone, and how many: fewer would be read, too, as other minutes."""
FORMATS = [day + hour for day, hour in product(DAYS, HOURS)]
FORMATS += [*DIGITS, "%a %b %d %H:%M:%S %z %Y", "%d/%b/%Y:%H:%M:%S %z", "%a, %d %b %Y %H:%M:%S %z"]
FIRST_PLAUSIBLE_YEAR = 1985


def look_dated(texts: pd.Series) -> bool:
    """Whether texts may be times at all: trying every format on what is none takes long."""
    dated = texts.str.contains(r"\d.*\d") & texts.str.len().between(6, 40)
    return len(texts) > 0 and bool(dated.mean() >= READABLE)


def shares_read(texts: pd.Series) -> dict[str, float]:
    """The share of texts that each format reads, of those whose years are plausible."""
    return {format_: float(read.notna().mean()) for format_, read in _readings(texts).items()}


def is_plausible(times: pd.Series) -> bool:
    """Whether most times are of the years that people write down interactions in."""
    return bool(times.dt.year.median() >= FIRST_PLAUSIBLE_YEAR)


def formats_for(texts: pd.Series) -> tuple[list[str], float]:
    """The formats that read the most texts, and what share; several where they differ.

    Formats that give the same times stand for each other. Those that are left disagree, mostly
    about what is day and what is month.
    """
    readings = _readings(texts)
    most = max((float(read.notna().mean()) for read in readings.values()), default=0.0)
    best: dict[str, pd.Series] = {}
    for format_, read in readings.items():
        if read.notna().mean() == most and not any(read.equals(other) for other in best.values()):
            best[format_] = read
    return list(best), most


def _readings(texts: pd.Series) -> dict[str, pd.Series]:
    readings = {}
    some = texts.drop_duplicates().head(PROBED).tolist()
    for format_ in FORMATS:
        if not any(_reads(text, format_) for text in some):
            continue
        fitting = texts.where(texts.str.len() == DIGITS[format_]) if format_ in DIGITS else texts
        read = parse_timestamps(fitting, format_)
        if read.notna().any() and is_plausible(read):
            readings[format_] = read
    return readings


def _reads(text: str, format_: str) -> bool:
    """Whether Python reads a text: of one it is much faster than pandas."""
    try:
        datetime.strptime(text, format_)
    except ValueError:
        return False
    return True


def format_hint(unread: pd.Series, timestamp_format: str | None) -> str:
    """What to write in the YAML so that most of the values are read; empty where nothing does.

    Args:
        unread: values that are there and could not be read.
        timestamp_format: what they were read by.
    """
    if unread.empty:
        return ""
    if timestamp_format is not None and parse_timestamps(unread).notna().mean() >= READABLE:
        return "; without timestamp_format they would be read"
    texts = unread.sample(min(SAMPLE, len(unread)), random_state=0).astype("str").str.strip()
    formats, share = formats_for(texts) if look_dated(texts) else ([], 0.0)
    formats = [each for each in formats if each != timestamp_format]
    if share < READABLE or not formats:
        return ""
    them = "them" if share == 1 else "most of them"
    lines = [f'timestamp_format: "{each}"' for each in formats]
    if len(lines) == 1:
        return f"; {lines[0]} would read {them}"
    return f"; either {' or '.join(lines)} would read {them}: only who wrote them knows which"
