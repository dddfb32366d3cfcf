"""A training that is killed goes on where its last checkpoint is."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import sparse

from recsys_dagster.resources import training
from recsys_dagster.resources.model_store import FitRequest, ModelStore
from recsys_dagster.steps.models import STRATEGIES, auto, neural, sequential
from tests.steps.models.making import evidence_of


class Killed(BaseException):
    """A process that was killed."""


TRAINED = {
    "neural": {"width": 4, "epochs": 8},
    "sequential": {"width": 4, "epochs": 8, "negatives": 3},
    "auto": {
        "candidates": ["popular", "neural", "sequential"],
        "settings": {
            "neural": {"width": 4, "epochs": 8},
            "sequential": {"width": 4, "epochs": 8, "negatives": 3},
        },
    },
}


def request_for(strategy: str) -> FitRequest:
    users, items = 30, 9
    X = np.random.default_rng(0).random((users, items)).argsort(axis=1)
    recency = sparse.csr_matrix(np.where(X < 6, 1 / (1 + X), 0).astype(np.float32))
    nothing = sparse.csr_matrix((items, items), dtype=np.float32)
    evidence = evidence_of(sparse.csr_matrix(X < 6, dtype=np.float32), neighbours=nothing)
    behaviour = replace(evidence.behaviour, recency=recency)
    own = STRATEGIES[strategy]
    return FitRequest(
        "shop",
        own,
        own.settings.model_validate(TRAINED[strategy]),
        replace(evidence, behaviour=behaviour),
        {"code": "c1", "histories": "h1"},
    )


@pytest.fixture
def request_() -> FitRequest:
    return request_for("neural")


@pytest.fixture
def often(monkeypatch):
    """Validations and checkpoints whenever there can be one."""
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    for module in (neural, sequential):
        monkeypatch.setattr(module, "validate_every", lambda _: 2)


def parts_of(fit, strategy):
    learned = fit.model(strategy, fit.manifest["settings"]).learned
    return {name: np.array(array) for name, array in learned.items() if name != auto.COMPETITION}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """`uninterrupted(strategy)`: what a training learns that nobody kills; trained once."""

    @cache
    def train(strategy):
        store = ModelStore(folder=str(tmp_path_factory.mktemp("uninterrupted")))
        return parts_of(store.fit_once(request_for(strategy), "run", lambda _: None), strategy)

    return train


def killed_at(monkeypatch, request, store, checkpoint):
    """Fit, and be killed after so many checkpoints; whether there were so many."""
    write, written = training.write_model, []

    def writing(*arguments):
        write(*arguments)
        written.append(arguments)
        if len(written) == checkpoint:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(training, "write_model", writing)
        try:
            store.fit_once(request, "run", lambda _: None)
        except Killed:
            return True
    return False


@pytest.mark.parametrize(
    ("strategy", "checkpoint"),
    [("neural", 2), ("sequential", 2), *(("auto", number) for number in (1, 2, 4, 6, 8, 10))],
)
def test_killed_and_run_again_it_ends_as_if_it_had_never_been(
    tmp_path, monkeypatch, often, uninterrupted, strategy, checkpoint
):
    request, said, whole = request_for(strategy), [], uninterrupted(strategy)
    store = ModelStore(folder=str(tmp_path))
    assert killed_at(monkeypatch, request, store, checkpoint)
    assert not store.holds("shop", request.fingerprint)
    again = parts_of(store.fit_once(request, "run", said.append), strategy)
    assert any("going on with a training that was cut off" in line for line in said)
    assert again.keys() == whole.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(again[name], array)
    # The checkpoint goes when the model is there.
    assert [each.name for each in store.home("shop").iterdir()] == [request.fingerprint]


def test_a_damaged_checkpoint_is_begun_again(tmp_path, request_):
    store = ModelStore(folder=str(tmp_path))
    folder = store.home("shop") / f"{request_.fingerprint}-training"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"format": 1, "seconds": 5}', encoding="utf-8")
    (folder / "arrays.safetensors").write_bytes(b"cut o")
    said = []
    store.fit_once(request_, "run", said.append)
    assert store.holds("shop", request_.fingerprint)
    assert not any("going on" in line for line in said)
    assert any(line.startswith("training: ") for line in said)
