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
from recsys_dagster.writing import require_writable, unwritten, whole_file

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
        "read": {"runs": 0.362, "interactions": 6.54e-07, "items": 2.34e-06},
        "prepare": {"runs": 4.38, "interactions": 5.52e-06, "users": 0.0, "items": 2.86e-05},
        "encode": {
            "runs": 1.9,
            "words": 0.000466,
            "texts": 0.001,
            "characters": 1.8e-05,
            "tiny_models": 10.0,
            "tiny_texts": 3e-05,
        },
        "vectors": {"runs": 0.653, "users": 2.13e-05, "history_floats": 9.34e-10},
        "similarity": {
            "runs": 1.31,
            "matrix_rows": 8.68e-07,
            "neighbour_rows": 3.61e-06,
            "compared": 2.7e-11,
            "scanned": 4.74e-10,
        },
        "model": {
            "runs": 2.07,
            "likes": 3.89e-06,
            "cubes": 2.4e-11,
            "tail": 2e-07,
            "lent": 2e-07,
            "pairs": 1e-08,
            "fit_compared": 2.7e-11,
            "fit_scanned": 4.74e-10,
        },
        "lists": {
            "runs": 0.55,
            "list_rows": 1.5e-06,
            "list_cells": 7.4e-09,
            "reasons": 0.0,
            "scored": 3.5e-10,
            "scored_sparsely": 1.6e-09,
        },
        "publish": {
            "runs": 0.468,
            "list_rows": 9.11e-07,
            "interactions": 2.47e-07,
            "neighbour_rows": 4.08e-07,
        },
        "serve": {"list_rows": 4e-07},
    },
    memory={
        "read": {"runs": 80400000.0, "interactions": 106.0, "items": 760.0},
        "prepare": {"runs": 167000000.0, "interactions": 375.0, "users": 1960.0, "items": 1450.0},
        "encode": {"runs": 306000000.0, "items": 11200.0},
        "vectors": {"runs": 312000000.0, "interactions": 391.0},
        "similarity": {"runs": 252000000.0, "matrix_rows": 113.0, "neighbour_rows": 169.0},
        "model": {"runs": 214000000.0, "interactions": 205.0, "weights": 20.9},
        "lists": {"runs": 314000000.0, "interactions": 134.0, "list_rows": 280.0},
        "publish": {
            "runs": 292000000.0,
            "interactions": 175.0,
            "list_rows": 581.0,
            "neighbour_rows": 183.0,
        },
        "serve": {"list_rows": 44.0, "users": 12.0},
    },
    storage={
        "read": {"interactions": 6.8},
        "prepare": {"interactions": 31.2, "users": 96.9, "items": 227.0},
        "encode": {"item_floats": 3.88},
        "vectors": {"user_floats": 3.66},
        "similarity": {"items": 32.1, "matrix_rows": 8.43, "neighbour_rows": 8.23},
        "model": {"weights": 3.99},
        "lists": {"list_rows": 37.0},
        "publish": {
            "list_rows": 37.1,
            "interactions": 12.3,
            "users": 45.1,
            "neighbour_rows": 6.54,
            "items": 38.6,
            "item_floats": 4.2,
        },
    },
)
"""Seconds are of cores, at their quickest, on a machine with other work: refreshes of drawn
catalogs of 2,000 to 40,000 items and 150,000 to 900,000 interactions; of lists, of up to 200,000
items and a million users. Of all-MiniLM-L6-v2: 1,580
texts of 60 characters a second on two cores, 390 of 250, 110 of 1,000; the preset tiny takes ten
seconds, once a model. What `recsys serve` holds
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


def require_writable_rates() -> None:
    """See that rates can be kept, before minutes are spent on measuring them.

    Raises:
        UserError: they cannot.
    """
    file = rates_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritten(file.parent, error) from None
    require_writable(file)


def write_rates(rates: Rates) -> Path:
    """Keep what was measured here.

    Raises:
        UserError: it could not be written; what was there before is as it was.
    """
    require_writable_rates()
    file = rates_file()
    with whole_file(file) as hidden:
        hidden.write_text(json.dumps(asdict(rates), indent=2) + "\n", encoding="utf-8")
    return file
