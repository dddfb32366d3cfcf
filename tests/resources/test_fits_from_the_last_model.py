"""When a fit begins from the last model, and that it is known by that."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from recsys_dagster.resources.model_store import FitRequest, ModelStore
from recsys_dagster.steps.models import STRATEGIES
from tests.steps.models.making import evidence_of

OWN = STRATEGIES["sequential"]
NOW, THEN = {"code": "c1", "histories": "h2"}, {"code": "c1", "histories": "h1"}


def request_of(versions, users=40, *, in_order=True, **settings):
    X = np.random.default_rng(0).random((users, 9)).argsort(axis=1)
    recency = np.where(X < 6, 1 / (1 + X) if in_order else 1, 0).astype(np.float32)
    evidence = evidence_of(sparse.csr_matrix(X < 6, dtype=np.float32))
    behaviour = replace(evidence.behaviour, recency=sparse.csr_matrix(recency))
    own = {"width": 4, "epochs": 2, "negatives": 3, "warm_start": True} | settings
    return FitRequest(
        "shop",
        OWN,
        OWN.settings.model_validate(own),
        replace(evidence, behaviour=behaviour),
        versions,
    )


@pytest.fixture
def store(tmp_path):
    return ModelStore(folder=str(tmp_path))


@pytest.fixture
def said():
    return []


def refreshed(store, said, last, request):
    return store.fit_from(last, request, "run", said.append)


def fingerprint(fit):
    return fit.manifest["fingerprint"]


def test_it_begins_from_the_last_model_and_is_known_by_it(store, said):
    first = refreshed(store, said, None, request_of(THEN))
    assert first.manifest["warm_start"] is None
    request = request_of(NOW, users=50)
    second = refreshed(store, said, fingerprint(first), request)
    assert second.manifest["warm_start"] == fingerprint(first)
    assert f"sequential begins from the last model: {fingerprint(first)}" in said
    cold = refreshed(store, said, None, request)
    assert fingerprint(cold) == request.fingerprint != fingerprint(second)
    learned = [fit.model("sequential", fit.manifest["settings"]).learned for fit in (second, cold)]
    assert not np.array_equal(learned[0]["items"], learned[1]["items"])


def test_where_nothing_changed_nothing_is_fitted_again(store, said, monkeypatch):
    first = refreshed(store, said, None, request_of(THEN))
    second = refreshed(store, said, fingerprint(first), request_of(NOW))
    monkeypatch.setattr(FitRequest, "learn", None)
    for last in (second, first):
        request = request_of(NOW if last is second else THEN)
        assert fingerprint(refreshed(store, said, fingerprint(last), request)) == fingerprint(last)
    # Broken off before the table named it, the same fit is found again.
    again = refreshed(store, said, fingerprint(first), request_of(NOW))
    assert fingerprint(again) == fingerprint(second)


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        ("other width", {"width": 6}),
        ("another seed hides from others", {"seed": 1}),
        ("other code", {}),
        ("no order", {"in_order": False}),
        ("a model that was not to be gone on from", {}),
        ("lost", {}),
    ],
)
def test_else_it_begins_anew(store, said, monkeypatch, change, settings):
    monkeypatch.setattr("recsys_dagster.steps.models.sequential.require_order", lambda *_: None)
    plain = {"warm_start": False} if change.startswith("a model") else {}
    last = refreshed(store, said, None, request_of(THEN, **plain))
    if change == "lost":
        store.forget("shop", [fingerprint(last)])
    versions = NOW | ({"code": "c2"} if change == "other code" else {})
    request = request_of(versions, **settings)
    found = refreshed(store, said, fingerprint(last), request)
    assert found.manifest["warm_start"] is None
    assert fingerprint(found) == request.fingerprint
