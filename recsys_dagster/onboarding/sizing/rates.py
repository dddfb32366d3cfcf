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


SHIPPED = Rates(
    machine="2 cores of a shared AMD EPYC with AVX512-BF16",
    measured_on="2026-11-27",
    seconds={
        "read": {"runs": 0.325, "interactions": 5.89e-07, "items": 1.09e-05},
        "prepare": {"runs": 3.74, "interactions": 5.13e-06, "users": 0.0, "items": 0.000185},
        "encode": {"runs": 1.54, "words": 0.000519, "texts": 0.001, "characters": 1.8e-05},
        "vectors": {"runs": 0.585, "users": 3.29e-05, "history_floats": 0.0},
        "similarity": {
            "runs": 1.3,
            "matrix_rows": 8.2e-07,
            "neighbour_rows": 1.75e-06,
            "compared": 5.03e-11,
            "scanned": 4.74e-10,
        },
        "model": {
            "runs": 0.937,
            "likes": 1.7e-06,
            "cubes": 2.4e-11,
            "tail": 2e-07,
            "lent": 2e-07,
            "pairs": 1e-08,
            "fit_compared": 5.03e-11,
            "fit_scanned": 4.74e-10,
        },
        "lists": {
            "runs": 0.811,
            "list_rows": 0.0,
            "list_cells": 4.72e-08,
            "reasons": 0.0,
            "scored": 3.5e-10,
            "scored_sparsely": 9.03e-09,
        },
        "publish": {
            "runs": 0.539,
            "list_rows": 1.07e-06,
            "interactions": 0.0,
            "neighbour_rows": 2.85e-07,
        },
        "serve": {"list_rows": 4e-07},
    },
    memory={
        "read": {"interactions": 295.0, "items": 10200.0},
        "prepare": {"interactions": 0.0, "users": 13100.0, "items": 21700.0},
        "encode": {"items": 62900.0},
        "vectors": {"interactions": 1320.0},
        "similarity": {"matrix_rows": 222.0},
        "model": {"interactions": 580.0, "weights": 43.7},
        "lists": {"interactions": 2190.0, "list_rows": 0.0},
        "publish": {"interactions": 0.0, "list_rows": 1130.0, "neighbour_rows": 879.0},
        "serve": {"list_rows": 44.0, "users": 12.0},
    },
    storage={
        "read": {"interactions": 6.65},
        "prepare": {"interactions": 36.2, "users": 23.1, "items": 290.0},
        "encode": {"item_floats": 3.95},
        "vectors": {"user_floats": 3.68},
        "similarity": {"items": 43.7, "matrix_rows": 8.43, "neighbour_rows": 8.06},
        "model": {"weights": 3.98},
        "lists": {"list_rows": 36.5},
        "publish": {
            "list_rows": 36.7,
            "interactions": 15.0,
            "users": 0.0,
            "neighbour_rows": 6.34,
            "items": 37.7,
            "item_floats": 4.28,
        },
    },
)
"""Seconds are of cores, at their quickest, on a machine with other work: refreshes of drawn
catalogs of 2,000 to 40,000 items and 150,000 to 900,000 interactions. Of all-MiniLM-L6-v2: 1,580
texts of 60 characters a second on two cores, 390 of 250, 110 of 1,000. What `recsys serve` holds
and how long it takes to open are of `make serving`."""


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
