"""What one of each thing takes: seconds of a core, bytes of memory, bytes of storage.

Shipped ones were measured once; `recsys plan --measure` measures them on a machine and writes them
to `$RECSYS_HOME`, where every later plan and estimate reads them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from recsys_dagster.errors import UserError
from recsys_dagster.home import recsys_home
from recsys_dagster.writing import whole_file

ByStage = Mapping[str, Mapping[str, float]]
"""Of each stage: of each of what is counted (`workload.py`), how much one of it takes."""
FORMAT = 1
FILE = "rates.json"


@dataclass(frozen=True)
class Rates:
    """What was measured.

    Attributes:
        machine: where, in words.
        measured_on: the day, as in 2026-11-27.
        seconds: of a core.
        memory: bytes at the peak of a stage, beside those that are known without measuring.
        storage: bytes that are there when the stage has ended.
        format: of the file.
    """

    machine: str
    measured_on: str
    seconds: ByStage
    memory: ByStage
    storage: ByStage
    format: int = FORMAT


SHIPPED = Rates("", "", {}, {}, {})


def rates_file() -> Path:
    """Where what was measured here is kept."""
    return recsys_home() / FILE


def known_rates() -> Rates:
    """Those that were measured here, or else the shipped ones.

    Raises:
        UserError: the file is damaged.
    """
    file = rates_file()
    try:
        written = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return SHIPPED
    return _read(written, file)


@cache
def _read(written: str, file: Path) -> Rates:
    try:
        found = json.loads(written)
        if found["format"] != FORMAT:
            raise ValueError
        rates = Rates(**found)
        for name in ("seconds", "memory", "storage"):
            _check(getattr(rates, name), getattr(SHIPPED, name))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(
            f"{file}: these are no rates of this version: run recsys plan --measure again, or "
            "delete the file; the shipped rates are used then."
        ) from None
    return rates


def _check(found: Mapping[str, Any], expected: ByStage) -> None:
    """That every number is there that a plan asks for, and is one."""
    for stage, of_stage in expected.items():
        for name in of_stage:
            if not 0 <= float(found[stage][name]) < float("inf"):
                raise ValueError(name)


def write_rates(rates: Rates) -> Path:
    """Keep what was measured here.

    Raises:
        UserError: it could not be written; what was there before is as it was.
    """
    file = rates_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as hidden:
        hidden.write_text(json.dumps(asdict(rates), indent=2) + "\n", encoding="utf-8")
    return file
