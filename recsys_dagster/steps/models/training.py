"""Learning by gradient: what every trained strategy does alike, whatever its network."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recsys_dagster.errors import UnfittableError
from recsys_dagster.steps.models.base import Arrays
from recsys_dagster.steps.models.trainer import CURVE, Trainer, Validation

if TYPE_CHECKING:
    import torch

LEARNED = "learned"
"""The array of a checkpoint with the items that are learned of."""
FIRST_MOMENT_DECAY = 0.9
"""β₁ of Adam."""
AVERAGE_DECAY = 0.998
"""Of the moving average of parameters, which is what is validated and kept: it stands for the
falling learning rate that a training of unknown length cannot have."""


@dataclass(frozen=True)
class Plan:
    """How long to train, and how fast.

    Attributes:
        learning_rate: of Adam.
        max_batches: an end at the latest.
        max_seconds: another one.
        validate_every: batches between two validations.
        patience: validations without a better one after which it ends.
        second_moment_decay: β₂ of Adam: the nearer to 1, the larger are the steps of what has a
            gradient in few batches.
    """

    learning_rate: float
    max_batches: int
    max_seconds: float
    validate_every: int
    patience: int
    second_moment_decay: float = 0.999


@dataclass
class _State:
    """Where a training stands."""

    batches: int
    curve: list[list[float]]
    best: Arrays

    @property
    def figures(self) -> list[float]:
        return [ndcg for _, _, ndcg in self.curve]

    def ended(self, plan: Plan, seconds: float) -> bool:
        figures = np.array(self.figures)
        told = len(figures) > 0 and not np.isnan(figures).any()
        since_best = len(figures) - 1 - int(figures.argmax()) if told else 0
        return (
            self.batches >= plan.max_batches
            or seconds >= plan.max_seconds
            or since_best >= plan.patience
        )


def train(
    start: Arrays,
    batch: Callable[[int], Any],
    loss: "Callable[[Mapping[str, torch.Tensor], Any], torch.Tensor]",
    validate: Callable[[Arrays], float],
    plan: Plan,
    trainer: Trainer,
    learned: np.ndarray,
) -> tuple[Arrays, np.ndarray]:
    """Minimise a loss with Adam, and keep the averaged parameters that validate best.

    A batch depends on its number alone, so a training that was cut off goes on as if nothing had
    happened; but of other items it begins anew: how many are learned of may go by the memory that
    there is. On a CUDA device products are taken in bfloat16.

    Args:
        start: the parameters, float32, that it begins with.
        batch: what `loss` takes, of each batch by its number, from 0.
        loss: of parameters on the device and a batch, a scalar.
        validate: what parameters are worth, the higher the better; NaN where nobody can tell, and
            then the last ones are kept.
        plan: how long and how fast.
        trainer: the machine.
        learned: int64 (n,), the items that are learned of.

    Returns:
        The parameters kept; and the curve, float64 (validations × 3): batches, loss and NDCG@20.

    Raises:
        UnfittableError: the loss was no number before anything could be kept.
    """
    import torch  # late: whoever only reads lists has no use for it

    resumed, device, before = trainer.resumed, trainer.device(), 0.0
    if resumed and not np.array_equal(resumed.get(LEARNED, ()), learned):
        resumed, before = {}, trainer.seconds()

    def tensors(part: str) -> "dict[str, torch.Tensor]":
        arrays = {name: resumed.get(f"{part}.{name}", array) for name, array in start.items()}
        return {name: torch.tensor(array, device=device) for name, array in arrays.items()}

    current = {name: each.requires_grad_() for name, each in tensors("current").items()}
    average = tensors("average")
    optimiser = torch.optim.Adam(
        list(current.values()), plan.learning_rate, (FIRST_MOMENT_DECAY, plan.second_moment_decay)
    )
    state = _State(0, [], start)
    if resumed:
        curve = resumed[CURVE].tolist()
        best = {name: np.array(resumed[f"best.{name}"]) for name in start}
        state = _State(int(curve[-1][0]), curve, best)
        first, second = tensors("first_moment"), tensors("second_moment")
        for name, parameter in current.items():
            optimiser.state[parameter] = {
                "step": torch.tensor(float(state.batches)),
                "exp_avg": first[name],
                "exp_avg_sq": second[name],
            }
    autocast = torch.autocast("cuda", dtype=torch.bfloat16) if device == "cuda" else nullcontext()
    losses: list[float] = []
    while not state.ended(plan, trainer.seconds() - before):
        with autocast:
            value = loss(current, batch(state.batches))
        if not torch.isfinite(value):
            if not state.curve:
                raise UnfittableError(
                    f"models: the loss is no number after {state.batches:,} batches: lower "
                    "learning_rate"
                )
            trainer.say("the loss is no number any more: the best until then is kept")
            losses.clear()
            break
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(float(value.detach()))
        state.batches += 1
        weight = 1 - min(AVERAGE_DECAY, (1 + state.batches) / (10 + state.batches))
        with torch.no_grad():
            for name, parameter in current.items():
                average[name].lerp_(parameter, weight)
        if state.batches % plan.validate_every == 0:
            _validate(state, _arrays(average), float(np.mean(losses)), validate, trainer)
            losses.clear()
            moments = {name: optimiser.state[own] for name, own in current.items()}
            parts = {
                "current": _arrays(current),
                "average": _arrays(average),
                "best": state.best,
                "first_moment": _arrays({n: own["exp_avg"] for n, own in moments.items()}),
                "second_moment": _arrays({n: own["exp_avg_sq"] for n, own in moments.items()}),
            }
            trainer.checkpoint(
                {
                    f"{part}.{name}": each
                    for part, own in parts.items()
                    for name, each in own.items()
                }
                | {CURVE: np.array(state.curve), LEARNED: learned}
            )
    if losses:
        _validate(state, _arrays(average), float(np.mean(losses)), validate, trainer)
    return state.best, np.array(state.curve, dtype=np.float64).reshape(-1, 3)


def _validate(
    state: _State,
    average: Arrays,
    loss: float,
    validate: Callable[[Arrays], float],
    trainer: Trainer,
) -> None:
    ndcg = validate(average)
    best = not state.figures or np.isnan(ndcg) or ndcg > max(state.figures)
    if best:
        state.best = average
    state.curve.append([state.batches, loss, ndcg])
    trainer.report(Validation(state.batches, loss, ndcg, bool(best)))


def _arrays(parameters: "Mapping[str, torch.Tensor]") -> Arrays:
    return {name: each.detach().cpu().numpy().copy() for name, each in parameters.items()}
