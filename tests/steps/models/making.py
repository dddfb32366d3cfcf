"""Small matrices, and strategies fitted on them."""

import numpy as np
import pandas as pd
from scipy import sparse

from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.base import Evidence, Model, UserBlock
from recsys_dagster.steps.models.behaviour import Behaviour
from recsys_dagster.steps.similarity.space import Space

PLAIN = {
    "recency_power": 0,
    "dropout": 0,
    "gfcf_weight": 0,
    "popularity_weight": 0,
    "epochs": 5,
    "settings": {"neural": {"epochs": 5}, "sequential": {"epochs": 5}},
}
"""Settings that take away all but a strategy's formula, and all but the beginning of training."""
L3AE = {"regularisation": 50.0, "semantic_weight": 20.0, "semantic_regularisation": 5.0}
"""Of the function."""
L3AE_SETTINGS = {"regularisation": 50.0, "semantic_share": 0.4, "semantic_regularisation": 5.0}
"""The same, of the strategies."""


def csr(rows):
    return sparse.csr_matrix(np.array(rows, dtype=np.float32))


def histories(users, items, seed=0, density=0.2):
    """Random X, csr float32 of ones; the last user and the last item have none."""
    X = np.random.default_rng(seed).random((users, items)) < density
    X[-1] = X[:, -1] = False
    return sparse.csr_matrix(X.astype(np.float32))


def texts(items, dimension, seed=0):
    F = np.random.default_rng(seed + 1).standard_normal((items, dimension))
    return (F / np.linalg.norm(F, axis=1, keepdims=True)).astype(np.float32)


def block_of(positives, weights=None, recency=None, similar=None):
    """Histories in no order, similar to nothing, where nothing else is given."""
    return UserBlock(
        positives,
        positives if weights is None else weights,
        positives if recency is None else recency,
        sparse.csr_matrix(positives.shape, dtype=np.float32) if similar is None else similar,
    )


def contributions(model, positives, rows, items):
    """One array (history,) a pair."""
    block = block_of(positives)
    parts = model.contributions(block, np.asarray(rows), np.asarray(items))
    return np.split(parts, np.cumsum(block.lengths[rows])[:-1])


def assert_near(found, expected, tolerance=1e-5):
    """Equal relative to the scale of the whole."""
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def evidence_of(positives, F=None, cold=None, ages=None, neighbours=None) -> Evidence:
    """Histories of ones whose items are all in the catalogue; vectors of zero where none are
    given."""
    users, items = positives.shape
    everywhere = np.ones(items, dtype=bool)
    behaviour = Behaviour(
        user_ids=pd.RangeIndex(users).astype("str"),
        item_ids=pd.RangeIndex(items).astype("str"),
        seen=positives.astype(bool),
        weights=positives,
        recency=positives,
        ages=positives * np.float32(np.nan) if ages is None else ages,
        in_catalogue=everywhere,
        recommendable=everywhere,
        cold=np.bincount(positives.indices, minlength=items) == 0 if cold is None else cold,
        first_seen=np.full(items, np.datetime64("NaT", "us")),
        newest=pd.NaT,
    )
    vectors = np.zeros((items, 1), dtype=np.float32) if F is None else F
    return Evidence(behaviour, vectors, Space("cosine", None), lambda: neighbours)


def settings_of(strategy, **settings):
    """Settings of a strategy, with what is plain where nothing else is said."""
    own = STRATEGIES[strategy].settings
    plain = {name: value for name, value in PLAIN.items() if name in own.model_fields}
    return own.model_validate(plain | settings)


def fitted(strategy, positives, F=None, cold=None, *, ages=None, kept=None, **settings) -> Model:
    """A strategy learned from histories; `kept` are the neighbours that items keep."""
    evidence = evidence_of(positives, F, cold, ages, kept)
    return STRATEGIES[strategy].fit(evidence, settings_of(strategy, **settings))


def direct_l3ae(X, F, regularisation, semantic_weight, semantic_regularisation):
    """The paper's two inverses, in float64."""
    X, F, identity = X.astype(np.float64), F.astype(np.float64), np.eye(len(F))
    P1 = np.linalg.inv(F @ F.T + semantic_regularisation * identity)
    C = -P1 / np.diag(P1)
    np.fill_diagonal(C, 0)
    P = np.linalg.inv(X.T @ X + regularisation * identity)
    PC = P @ C
    B = semantic_weight * PC - P * ((1 + semantic_weight * np.diag(PC)) / np.diag(P))
    np.fill_diagonal(B, 0)
    return B, C
