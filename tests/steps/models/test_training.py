"""Learning by gradient: when it ends, what it keeps, and that it goes on where it was cut off."""

from dataclasses import replace

import numpy as np
import pytest

from recsys_dagster.errors import UnfittableError
from recsys_dagster.steps.models.trainer import Trainer
from recsys_dagster.steps.models.training import Plan, train

TARGET = np.array([3.0, -1.0, 0.5], dtype=np.float32)
PLAN = Plan(learning_rate=0.1, max_batches=60, max_seconds=1e9, validate_every=10, patience=1_000)


def fit(
    plan=PLAN,
    trainer=None,
    validate=lambda parts: -abs(float(parts["w"].sum()) - 2.5),
    learned=(0, 1, 2),
):
    """w is drawn to a target, with noise that depends on the number of the batch."""
    import torch

    def batch(number):
        return np.random.default_rng(number).normal(TARGET, 0.1).astype(np.float32)

    def loss(parts, noisy):
        return (parts["w"] - torch.tensor(noisy)).square().sum()

    start = {"w": np.zeros(3, dtype=np.float32)}
    return train(start, batch, loss, validate, plan, trainer or Trainer(), np.array(learned))


def test_it_finds_the_least_loss():
    best, curve = fit(replace(PLAN, max_batches=600))
    np.testing.assert_allclose(best["w"], TARGET, atol=0.1)
    assert curve[-1, 1] < curve[0, 1] / 10
    assert curve[:, 0].tolist() == list(range(10, 610, 10))


def test_the_parameters_that_validate_best_are_kept():
    seen = []

    def validate(parts):
        seen.append(parts["w"].copy())
        return [0.1, 0.3, 0.2, 0.3, 0.1, 0.0][len(seen) - 1]

    best, curve = fit(validate=validate)
    assert best["w"].tolist() == seen[1].tolist()
    assert curve[:, 2].tolist() == [0.1, 0.3, 0.2, 0.3, 0.1, 0.0]


def test_it_ends_when_nothing_better_comes():
    figures = iter([0.5, 0.4, 0.4, 0.4, 0.9])
    _, curve = fit(replace(PLAN, patience=3), validate=lambda _: next(figures))
    assert curve[:, 2].tolist() == [0.5, 0.4, 0.4, 0.4]


def test_it_ends_when_its_time_is_over_and_looks_at_what_it_has():
    seconds = iter(range(100))
    reports = []
    trainer = Trainer(seconds=lambda: float(next(seconds)), report=reports.append)
    _, curve = fit(replace(PLAN, max_seconds=25), trainer)
    assert curve[:, 0].tolist() == [10, 20, 25]
    assert [report.batches for report in reports] == [10, 20, 25]


def test_without_anything_to_validate_with_the_last_parameters_are_kept():
    seen = []

    def validate(parts):
        seen.append(parts["w"].copy())
        return float("nan")

    best, curve = fit(validate=validate)
    assert len(curve) == len(seen) == 6
    assert best["w"].tolist() == seen[-1].tolist()


class Cut(BaseException):
    """A process that was killed."""


@pytest.mark.parametrize("cut_after", [1, 3, 5])
def test_cut_off_and_resumed_it_ends_as_if_it_had_never_been(cut_after):
    whole, curve = fit()
    kept = []

    def checkpoint(arrays):
        kept.append({name: array.copy() for name, array in arrays.items()})
        if len(kept) == cut_after:
            raise Cut

    with pytest.raises(Cut):
        fit(trainer=Trainer(checkpoint=checkpoint))
    again, resumed = fit(trainer=Trainer(resumed=kept[-1]))
    np.testing.assert_array_equal(again["w"], whole["w"])
    np.testing.assert_array_equal(resumed, curve)


def test_of_other_items_it_begins_anew_with_a_clock_of_its_own():
    kept = []
    fit(replace(PLAN, max_batches=30), Trainer(checkpoint=kept.append))
    seconds = iter(range(100, 200))
    again = Trainer(resumed=kept[-1], seconds=lambda: float(next(seconds)))
    _, curve = fit(replace(PLAN, max_seconds=25), again, learned=(0, 1, 7))
    assert curve[:, 0].tolist() == [10, 20, 24]


@pytest.mark.parametrize(("batches", "validations"), [(5, 0), (25, 2)])
def test_a_loss_that_is_no_number_ends_it_with_the_best_until_then(batches, validations):
    import torch

    def loss(parts, number):
        return parts["w"].square().sum() + (float("nan") if number >= batches else 0.0)

    start = {"w": np.ones(2, dtype=np.float32)}

    def run():
        return train(start, lambda n: n, loss, lambda _: 0.5, PLAN, Trainer(), np.arange(2))

    assert torch.isnan(loss({"w": torch.ones(2)}, batches))
    if not validations:
        with pytest.raises(UnfittableError, match="no number after 5 batches: lower learning_rate"):
            run()
        return
    best, curve = run()
    assert len(curve) == validations
    assert np.isfinite(best["w"]).all()
