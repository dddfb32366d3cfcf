"""What a dense fit takes is stated before."""

import tracemalloc

import numpy as np
import pytest
from making import L3AE_SETTINGS, evidence_of, histories, settings_of, texts
from scipy import sparse

from recsys_dagster.errors import UserError
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.memory import GIB, fit_bytes, learned_items, require_memory

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
    for name in ("inverse.LEAF", "gram.GRAM_ROWS", "gfcf.GRAM_ROWS", "hybrid.BLOCK_ROWS"):
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
def test_a_fit_without_the_memory_is_refused_with_the_ways_out(strategy):
    evidence = evidence_of(histories(20, 10, density=0.9))
    learned, needed = learned_items(STRATEGIES[strategy], evidence), 4 * 9 * (9 + 10)
    require_memory(strategy, learned, evidence.items, needed)
    with pytest.raises(UserError) as raised:
        require_memory(strategy, learned, evidence.items, needed - 1)
    for part in (
        f"strategy: {strategy} would learn from 9 of 10 items",
        "interactions.minimum_per_item",
        "strategy: similar_items",
        "strategy: content",
    ):
        assert part in str(raised.value)


def test_the_refusal_says_how_much_is_needed_and_how_much_there_is():
    require_memory("hybrid", 3_200, 32_132, 6 * GIB)
    with pytest.raises(UserError, match=r"32,132 of 32,132 .* 7\.7 GiB .* 6\.0 GiB"):
        require_memory("hybrid", 32_132, 32_132, 6 * GIB)


def test_where_the_system_does_not_tell_nothing_is_refused():
    require_memory("ease", 10**9, 10**9, None)


@pytest.mark.parametrize(
    "strategy", [name for name, own in STRATEGIES.items() if own.dense_over is None]
)
def test_what_learns_no_dense_matrix_is_asked_for_nothing(strategy):
    assert learned_items(STRATEGIES[strategy], evidence_of(histories(20, 10))) == 0
