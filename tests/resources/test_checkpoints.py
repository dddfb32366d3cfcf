"""A training that is killed goes on where its last checkpoint is."""

import numpy as np
import pytest
from scipy import sparse

from recsys_dagster.resources import training
from recsys_dagster.resources.model_store import FitRequest, ModelStore
from recsys_dagster.steps.models import STRATEGIES, neural
from recsys_dagster.steps.models.neural import NeuralSettings
from tests.steps.models.making import evidence_of


class Killed(BaseException):
    """A process that was killed."""


@pytest.fixture
def request_() -> FitRequest:
    users, items = 30, 9
    X = np.random.default_rng(0).random((users, items)).argsort(axis=1) < 6
    positives = sparse.csr_matrix(X.astype(np.float32))
    nothing = sparse.csr_matrix((items, items), dtype=np.float32)
    evidence = evidence_of(positives, neighbours=nothing)
    return FitRequest(
        "shop",
        STRATEGIES["neural"],
        NeuralSettings(width=4, epochs=8),
        evidence,
        {"code": "c1", "histories": "h1"},
    )


def parts_of(fit):
    learned = fit.model("neural", fit.manifest["settings"]).learned
    return {name: np.array(array) for name, array in learned.items()}


def test_killed_and_run_again_it_ends_as_if_it_had_never_been(tmp_path, monkeypatch, request_):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(neural, "VALIDATE_EVERY", 2)
    said = []
    whole = parts_of(ModelStore(folder=str(tmp_path / "a")).fit_once(request_, "run", said.append))

    store, written = ModelStore(folder=str(tmp_path / "b")), []
    write = training.write_model

    def killed_at_the_second(*arguments):
        write(*arguments)
        written.append(arguments)
        if len(written) == 2:
            raise Killed

    monkeypatch.setattr(training, "write_model", killed_at_the_second)
    with pytest.raises(Killed):
        store.fit_once(request_, "run", said.append)
    assert not store.holds("shop", request_.fingerprint)
    monkeypatch.setattr(training, "write_model", write)
    said.clear()
    again = parts_of(store.fit_once(request_, "run", said.append))
    assert any("going on with a training that was cut off" in line for line in said)
    assert again.keys() == whole.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(again[name], array)
    # The checkpoint goes when the model is there.
    assert [each.name for each in store.home("shop").iterdir()] == [request_.fingerprint]


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
