"""markov: what people went on to from what they liked last."""

from typing import Annotated

import numpy as np
from pydantic import Field
from scipy import sparse

from recsys_dagster.catalog.base import Settings
from recsys_dagster.steps.models.base import (
    MAX_NUMBER,
    MAX_ROWS,
    ORDER,
    POSITIVES,
    Arrays,
    Evidence,
    Search,
    Strategy,
)
from recsys_dagster.steps.models.item_weights import ItemWeightsModel, model_of, weight_arrays
from recsys_dagster.steps.models.sequences import Sequences, require_order


class MarkovSettings(Settings):
    """How far steps go, and which count."""

    recency_power: Annotated[
        float,
        Field(
            ge=0,
            le=10,
            description="a positive counts 1 / (1 + the user's later positives) to this power",
        ),
        Search((0.5, 1, 2, 4), scores_only=True),
    ] = 1.0
    max_steps: Annotated[int, Field(gt=0, le=MAX_ROWS), Search((1, 3, 10, 50))] = Field(
        default=10, description="an item that came so many later is followed too, as 1 / steps"
    )
    shrinkage: Annotated[float, Field(ge=0, le=MAX_NUMBER), Search((0, 3, 10, 30, 100))] = Field(
        default=10.0, description="how far what rests on few steps shrinks"
    )


def learn(evidence: Evidence, settings: MarkovSettings) -> Arrays:
    """The steps from item to item.

    Raises:
        UserError: no history has an order.
    """
    recency = evidence.behaviour.recency
    require_order("markov", recency)
    weights = steps_between(Sequences.of(recency), evidence.items, settings)
    return weight_arrays(weights, np.arange(evidence.items))


def steps_between(sequences: Sequences, items: int, settings: MarkovSettings) -> sparse.csr_matrix:
    """B_ji = n_ji / (√(n_j· n_·i) + shrinkage), float32 csr (items × items).

    n_ji = Σ 1/s over all places in histories where i came s ≤ `max_steps` after j, or together
    with it.
    """
    user_of = np.repeat(np.arange(len(sequences.lengths)), sequences.lengths)
    weights = sparse.csr_matrix((items, items), dtype=np.float32)
    longest = int(sequences.lengths.max(initial=0)) - 1
    for steps in range(1, min(settings.max_steps, longest) + 1):
        same = user_of[steps:] == user_of[:-steps]
        together = same & (sequences.later[steps:] == sequences.later[:-steps])
        first, then = sequences.items[:-steps], sequences.items[steps:]
        for own, before, after in ((same, first, then), (together, then, first)):
            counts = np.full(int(own.sum()), 1 / steps, dtype=np.float32)
            found = (counts, (before[own], after[own]))
            weights = weights + sparse.csr_matrix(found, shape=(items, items))
    out = np.asarray(weights.sum(axis=1)).ravel()
    into = np.asarray(weights.sum(axis=0)).ravel()
    rows = np.repeat(np.arange(items), np.diff(weights.indptr))
    weights.data /= np.sqrt(out[rows] * into[weights.indices]) + np.float32(settings.shrinkage)
    return weights


def load(arrays: Arrays, settings: MarkovSettings) -> ItemWeightsModel:
    """The model of steps."""
    return model_of(arrays, settings.recency_power)


STRATEGY = Strategy(
    name="markov",
    settings=MarkovSettings,
    formula="how often i came after j: `r_ui = Σ_j x_uj n_ji / √(n_j n_i)`, with x the recency of "
    "j (after Rendle, Freudenthaler and Schmidt-Thieme, 2010)",
    columns=(*POSITIVES, *ORDER),
    learn=learn,
    load=load,
    needs_order=True,
)
