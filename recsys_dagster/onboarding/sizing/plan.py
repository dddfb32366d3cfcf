"""A refresh by stage: hours, memory, storage, machines; arithmetic alone.

Seconds are those of a core that was measured. What BLAS, faiss and torch do is divided by the
cores; all else runs on one. Memory is that of the run's process: what stages hand to each other is
there whole, whoever worked it out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recsys_dagster.onboarding.sizing.rates import Rates
from recsys_dagster.onboarding.sizing.workload import (
    CHARACTERS_A_TOKEN,
    FLOAT,
    Counts,
    Workload,
    counts_of,
)
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.item_weights import BYTES_OF_WEIGHT


@dataclass(frozen=True)
class Device:
    """What encodes texts and looks for the nearest.

    Attributes:
        title: for people.
        float32: multiplications and additions a second, in float32, as its data sheet says.
        bfloat16: the same in bfloat16, of dense matrices.
    """

    title: str
    float32: float
    bfloat16: float


DEVICES = {
    "l4": Device("NVIDIA L4", 30.3e12, 121e12),
    "a10": Device("NVIDIA A10", 31.2e12, 125e12),
    "a100": Device("NVIDIA A100", 19.5e12, 312e12),
    "h100": Device("NVIDIA H100 SXM", 67e12, 989e12),
}
"""By data sheet: none of them was measured."""
CPU = "cpu"
DEVICE_SHARE = 0.3
"""Of what a data sheet says, that is taken to be reached."""
WEIGHTS_OF_ENCODER = 10.6e6
"""Of MiniLM's layers, each multiplied and added once a token."""
STAGES = {
    "read": "Read the sources",
    "prepare": "Prepare tables",
    "encode": "Encode texts",
    "vectors": "User vectors",
    "similarity": "Find the nearest",
    "model": "Learn the model",
    "lists": "Make lists",
    "publish": "Publish",
    "serve": "Serve",
}
ON_DEVICE = ("encode", "similarity")
SHARED = (*ON_DEVICE, "lists")
"""Stages whose work goes by items or users and can be handed to workers."""
BY_ITS_OWN_DEVICE = "similarity"
"""The stage that the run does by itself where it has a GPU."""
OF_ALL_CORES = frozenset(
    {
        "texts",
        "characters",
        "compared",
        "scanned",
        "fit_compared",
        "fit_scanned",
        "cubes",
        "lent",
        "tail",
        "list_cells",
        "scored",
        "scored_sparsely",
    }
)
BASE_BYTES = 2**28
"""Of a process with Arrow, DuckDB and what computes, before it has any work."""
WANTED_HOURS = 8
"""That a stage whose work is shared should end in."""
SPARE = 1.25
"""Of the memory that a stage takes: what a machine should have."""


@dataclass(frozen=True)
class Machine:
    """What a stage runs on.

    Attributes:
        cores: of one machine.
        memory: bytes that a run may take; None for any number.
        device: `cpu`, or one of `DEVICES`.
    """

    cores: int
    memory: int | None
    device: str = CPU


@dataclass(frozen=True)
class StagePlan:
    """What a stage takes.

    Attributes:
        name: of `STAGES`.
        seconds: on one machine; of `serve` until the first answer.
        memory: bytes at the peak.
        storage: bytes that it leaves.
        machines: how many end it in `WANTED_HOURS`, where its work can be shared; else 1.
        fits: whether the machine has the memory.
        can_be_shared: whether its work can be handed to workers.
    """

    name: str
    seconds: float
    memory: float
    storage: float
    machines: int
    fits: bool
    can_be_shared: bool

    @property
    def title(self) -> str:
        """For people."""
        return STAGES[self.name]

    @property
    def is_worth_sharing(self) -> bool:
        """Whether workers can help with what takes long."""
        return self.can_be_shared and self.seconds > WANTED_HOURS * 3600

    @property
    def needed_memory(self) -> float:
        """Bytes that a machine should have, with some to spare."""
        return SPARE * self.memory


@dataclass(frozen=True)
class Total:
    """What a refresh takes, serving left out.

    Attributes:
        seconds: of all stages, one after another on one machine.
        memory: bytes at the peak of the largest stage.
        storage: bytes of all that is left: warehouse, model, one snapshot.
    """

    seconds: float
    memory: float
    storage: float


def in_all(stages: Sequence[StagePlan]) -> Total:
    """What a refresh takes that is made of stages."""
    own = [stage for stage in stages if stage.name != "serve"]
    return Total(
        sum(stage.seconds for stage in own),
        max(stage.memory for stage in own),
        sum(stage.storage for stage in own),
    )


def plan(work: Workload, machine: Machine, rates: Rates) -> list[StagePlan]:
    """What each stage of a refresh takes, and serving what it publishes."""
    counts = counts_of(work, machine.memory, machine.device != CPU)
    stages = []
    for name in STAGES:
        alone, together = _core_seconds(name, counts, rates)
        by_device = machine.device != CPU and name in ON_DEVICE
        cores = machine.cores
        computing = _of_device(name, counts, machine.device) if by_device else together / cores
        seconds = alone + computing + (_training_seconds(work) if name == "model" else 0.0)
        # A worker makes as many parts at once as it has cores.
        shared = computing if by_device else (alone + together) / cores
        can_be_shared = name in SHARED and not (by_device and name == BY_ITS_OWN_DEVICE)
        machines = max(1, math.ceil(shared / (WANTED_HOURS * 3600))) if can_be_shared else 1
        memory = memory_of(name, counts) + _sum(rates.memory.get(name, {}), counts)
        storage = _sum(rates.storage.get(name, {}), counts)
        fits = machine.memory is None or memory <= machine.memory
        stages.append(StagePlan(name, seconds, memory, storage, machines, fits, can_be_shared))
    return stages


def _core_seconds(name: str, counts: Counts, rates: Rates) -> tuple[float, float]:
    """Seconds of a core: of what runs on one, and of what runs on all."""
    alone = together = 0.0
    for key, rate in rates.seconds.get(name, {}).items():
        if key in OF_ALL_CORES:
            together += rate * counts[key]
        else:
            alone += rate * counts[key]
    return alone, together


def _training_seconds(work: Workload) -> float:
    """Of a strategy that is trained for a time; of the one that chooses, its winner's too."""
    settings = STRATEGIES[work.strategy].settings()
    winners = [STRATEGIES[name].settings() for name in getattr(settings, "candidates", ())]
    longest = max((getattr(own, "minutes", 0.0) for own in winners), default=0.0)
    return 60 * (getattr(settings, "minutes", 0.0) + longest)


def _of_device(name: str, counts: Counts, key: str) -> float:
    """Seconds of a GPU's arithmetic."""
    device = DEVICES[key]
    if name == "encode":
        tokens = counts["characters"] / CHARACTERS_A_TOKEN
        return 2 * tokens * WEIGHTS_OF_ENCODER / (DEVICE_SHARE * device.bfloat16)
    return 2 * counts["compared"] / (DEVICE_SHARE * device.float32)


def memory_of(name: str, counts: Counts) -> float:
    """Bytes of a stage that are known without measuring: of the process, and of arrays."""
    users, items = FLOAT * counts["user_floats"], FLOAT * counts["item_floats"]
    weights = BYTES_OF_WEIGHT * counts["weights"]
    known = {
        "encode": 2 * items,
        "vectors": 2 * users + items,
        "similarity": 2 * (users + items),  # as they are read, and projected
        "model": counts["fit_bytes"] + 2 * items,
        "lists": weights + items,
        "serve": weights + items,
    }
    return BASE_BYTES + known.get(name, 0.0)


def _sum(of_stage: Mapping[str, float], counts: Counts) -> float:
    return sum(rate * counts[name] for name, rate in of_stage.items())
