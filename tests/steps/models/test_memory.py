"""What a dense fit takes is stated before."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from making import L3AE_SETTINGS, evidence_of, histories, settings_of, texts
from scipy import sparse

from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.memory import (
    GIB,
    MAX_HEAD,
    MIN_HEAD,
    fit_bytes,
    head_of,
    head_size,
    is_dense,
    learned_items,
    needed_bytes,
)
from recsys_dagster.steps.models.trainer import Trainer

DENSE = {
    "ease": ("ease", {"regularisation": 10}),
    "l3ae": ("l3ae", L3AE_SETTINGS),
    "gfcf": ("gfcf", {}),
    "hybrid": ("hybrid", L3AE_SETTINGS),
    "blend": ("hybrid", L3AE_SETTINGS | {"gfcf_weight": 0.3}),
}


def learn(name, evidence):
    strategy, settings = DENSE[name]
    return STRATEGIES[strategy].learn(evidence, settings_of(strategy, **settings))


@pytest.mark.parametrize("strategy", DENSE)
@pytest.mark.parametrize("cold_items", [0, 2000])
def test_a_fit_takes_the_memory_it_states(monkeypatch, strategy, cold_items):
    # All else as small beside the matrices as it is where they are large.
    for name in (
        "inverse.LEAF",
        "gram.GRAM_ROWS",
        "gfcf.GRAM_ROWS",
        "hybrid.BLOCK_ROWS",
        "semantic_weights.BLOCK_ROWS",
    ):
        monkeypatch.setattr(f"recsys_dagster.steps.models.{name}", 32)
    monkeypatch.setattr("recsys_dagster.steps.models.transfer.NEIGHBOURS", 10)
    monkeypatch.setattr("recsys_dagster.steps.models.hybrid.SAMPLE_USERS", 10)
    monkeypatch.setattr("recsys_dagster.steps.models.gfcf.LOW_PASS_RANK", 8)
    learned = 1000
    warm = sparse.random(300, learned, density=0.05, format="csr", dtype=np.float32, rng=0)
    warm.data[:] = 1
    positives = sparse.hstack([warm, sparse.csr_matrix((300, cold_items))], format="csr")
    positives = positives.astype(np.float32)
    F = texts(learned + cold_items, 4)
    cold = np.arange(learned + cold_items) >= learned
    # What it imports is not its own.
    few = [0, 1, 2, -1]
    learn(strategy, evidence_of(positives[:, few], F[few], cold[few]))
    evidence = evidence_of(positives, F, cold)
    tracemalloc.start()
    learn(strategy, evidence)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stated = fit_bytes(learned, learned + cold_items)
    # Where nothing is cold, the one matrix that gfcf works on is its result as well.
    least = 0.5 if (strategy, cold_items) == ("gfcf", 0) else 0.8
    assert least * stated < peak < 1.25 * stated


@pytest.mark.parametrize("strategy", ["ease", "l3ae", "gfcf", "hybrid", "neural"])
def test_a_fit_without_the_memory_learns_densely_of_as_many_items_as_there_is_memory_for(strategy):
    said = []
    trainer = Trainer(available_bytes=lambda: 4 * 9 * (9 + 10) - 1, say=said.append)
    evidence = replace(evidence_of(histories(20, 10, density=0.9)), trainer=trainer)
    assert head_of(evidence, learned_items(STRATEGIES[strategy], evidence)) == 9
    assert said == ["learning densely of 9 of 9 items, then of the others"]
    enough = replace(trainer, available_bytes=lambda: 4 * 9 * (9 + 10))
    assert head_of(replace(evidence, trainer=enough), 9) is None


def test_the_head_goes_with_the_memory_in_steps_and_is_never_too_small():
    assert head_size(200_000, None) == head_size(200_000, 100 * GIB) == MAX_HEAD
    assert head_size(200_000, 2 * GIB) == 11_500
    assert head_size(200_000, 2 * GIB) == head_size(200_000, int(2.1 * GIB))
    assert head_size(200_000, 0) == MIN_HEAD
    assert head_size(100, 0) == 100


def test_time_bounds_a_dense_fit_whatever_memory_there_is():
    assert is_dense(30_000, 30_000, None)
    assert not is_dense(30_001, 30_001, None)
    assert not is_dense(20_000, 200_000, 12 * GIB)


def test_more_items_take_no_more_than_their_kept_weights():
    assert needed_bytes(9_000, 9_000, None) == fit_bytes(9_000, 9_000)
    assert needed_bytes(200_000, 200_000, None) < 7 * GIB
    assert needed_bytes(2_000_000, 2_000_000, None) < 7 * GIB


@pytest.mark.parametrize(
    "strategy", [name for name, own in STRATEGIES.items() if own.dense_over is None]
)
def test_what_learns_no_dense_matrix_is_asked_for_nothing(strategy):
    assert learned_items(STRATEGIES[strategy], evidence_of(histories(20, 10))) == 0
