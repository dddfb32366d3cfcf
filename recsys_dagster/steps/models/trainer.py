"""What training needs of the machine that it runs on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from recsys_dagster.compute.blocks import LOCAL, Compute
from recsys_dagster.steps.models.prefixes import put_under, taken_from

CURVE = "curve"
"""The array that says how a training went, float64 (validations × 3): batches, loss, NDCG@20."""
NO_CURVE = np.empty((0, 3))
BEGAN = "began"
"""The array of a checkpoint with the second at which a part of a fit began."""


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes:
        batches: how many were learned from until then.
        loss: mean of those since the validation before.
        ndcg: mean NDCG@20 of the averaged parameters; NaN where nothing is held back.
        best: whether no earlier one was as good.
    """

    batches: int
    loss: float
    ndcg: float
    best: bool


def _ignore(_: object) -> None: ...


@dataclass(frozen=True)
class Trainer:
    """What training needs of the machine that it runs on; by itself one without a clock.

    Attributes:
        device: what torch computes on, cpu or cuda.
        seconds: how long this training has taken, with what it took before it was cut off.
        report: called with each validation.
        resumed: the last checkpoint of this training; empty where there is none.
        checkpoint: keeps what it is given, in the place of the last one.
        say: called with what begins, in words.
        available_bytes: memory that can be had; None where the system does not tell.
        compute: does what comes in blocks.
    """

    device: Callable[[], str] = field(default=lambda: "cpu")
    seconds: Callable[[], float] = field(default=lambda: 0.0)
    report: Callable[[Validation], None] = _ignore
    resumed: Mapping[str, np.ndarray] = field(default_factory=dict)
    checkpoint: Callable[[Mapping[str, np.ndarray]], None] = _ignore
    say: Callable[[str], None] = _ignore
    available_bytes: Callable[[], int | None] = field(default=lambda: None)
    compute: Compute = LOCAL

    def part(self, name: str, kept: Mapping[str, np.ndarray]) -> "Trainer":
        """The trainer of one of several trainings that a fit consists of, with a clock of its own.

        Args:
            name: of the part, another one for each.
            kept: what checkpoints hold besides, by names that do not begin with that of the part.
        """
        prefix = f"{name}/"
        own = taken_from(prefix, self.resumed)
        began = float(own.pop(BEGAN, np.array([self.seconds()]))[0])

        def checkpoint(arrays: Mapping[str, np.ndarray]) -> None:
            self.checkpoint({**kept, **put_under(prefix, {**arrays, BEGAN: np.array([began])})})

        return replace(
            self, seconds=lambda: self.seconds() - began, resumed=own, checkpoint=checkpoint
        )
