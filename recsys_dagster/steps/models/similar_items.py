"""similar_items: the items whose texts are near those of the user's items."""

import numpy as np

from recsys_dagster.catalog.base import Settings
from recsys_dagster.steps.models.base import Arrays, Evidence, Strategy
from recsys_dagster.steps.models.item_weights import ItemWeightsModel, model_of, weight_arrays


class SimilarItemsSettings(Settings):
    """There is nothing to set here: `neighbours` says how many an item keeps."""


def learn(evidence: Evidence, _: SimilarItemsSettings) -> Arrays:
    """The kept neighbours as they are."""
    neighbours = evidence.item_neighbours()
    return weight_arrays(neighbours, np.arange(neighbours.shape[0]))


def load(arrays: Arrays, _: SimilarItemsSettings) -> ItemWeightsModel:
    """The model of neighbours."""
    return model_of(arrays)


STRATEGY = Strategy(
    name="similar_items",
    settings=SimilarItemsSettings,
    formula="the neighbours by text: `r_ui = Σ S_ji` over the items j that u likes",
    columns=("item_neighbours.similarity",),
    learn=learn,
    load=load,
)
