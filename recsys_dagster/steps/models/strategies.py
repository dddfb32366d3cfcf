"""The strategy's name → the fitted model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import sparse

from recsys_dagster.catalog.settings import Catalog, ModelSettings
from recsys_dagster.steps.models.als import fit_als
from recsys_dagster.steps.models.base import ItemWeightsModel, Model
from recsys_dagster.steps.models.behaviour import Behaviour
from recsys_dagster.steps.models.content import ContentModel
from recsys_dagster.steps.models.ease import fit_ease
from recsys_dagster.steps.models.gfcf import fit_gfcf
from recsys_dagster.steps.models.hybrid import fit_hybrid
from recsys_dagster.steps.models.item_knn import fit_item_knn
from recsys_dagster.steps.models.l3ae import fit_l3ae
from recsys_dagster.steps.models.popular import PopularModel, popularity
from recsys_dagster.steps.models.profiles import WithProfiles
from recsys_dagster.steps.models.recent import fit_recent
from recsys_dagster.steps.models.similar_items import fit_similar_items
from recsys_dagster.steps.similarity.nearest import Space


@dataclass(frozen=True)
class Evidence:
    """All that a strategy may learn from, aligned to the positions of `behaviour`.

    Attributes:
        behaviour: who interacted with what.
        item_vectors: float32 (items × d), as the encoder gave them.
        similarity_matrix: float32 csr (users × items).
        item_neighbours: float32 csr (items × items), row j the similarities of j's neighbours.
    """

    behaviour: Behaviour
    item_vectors: np.ndarray
    similarity_matrix: sparse.csr_matrix
    item_neighbours: sparse.csr_matrix

    @property
    def in_words(self) -> str:
        """How much it is: what a fit takes goes by that."""
        users, items = self.behaviour.positives.shape
        return f"{self.behaviour.positives.nnz:,} likes, {users:,} users, {items:,} items"


Tuned = Mapping[str, Mapping[str, float]]
"""What the search for settings found: strategy → knob → value."""


def used_of(tuned: Tuned, catalog: Catalog) -> dict[str, float]:
    """What is used of what was found for the catalog's strategy: no knob that its YAML names."""
    if not catalog.models.tuned:
        return {}
    named = catalog.models.model_fields_set
    found = tuned.get(catalog.strategy, {})
    return {knob: value for knob, value in found.items() if knob not in named}


def with_tuned(catalog: Catalog, tuned: Tuned) -> Catalog:
    """The catalog with what is used of what was found for its strategy."""
    models = catalog.models.model_copy(update=used_of(tuned, catalog))
    return catalog.model_copy(update={"models": models})


SCORING_SETTINGS = ("recency_power", "hybrid_popularity_weight")
"""Settings that nothing learned depends on: with other values of them no model is learned anew."""


def fit(catalog: Catalog, evidence: Evidence) -> Model:
    """The catalog's strategy, fitted.

    Raises:
        UserError: the strategy needs more memory than there is, or a package that is missing.
    """
    return ready_to_score(learn(catalog, evidence), catalog, evidence)


def learn(catalog: Catalog, evidence: Evidence) -> Model:
    """The part of a fit that takes long, the same whatever the `SCORING_SETTINGS` are.

    Raises:
        UserError: the strategy needs more memory than there is, or a package that is missing.
    """
    behaviour, settings = evidence.behaviour, catalog.models
    match catalog.strategy:
        case "popular":
            return PopularModel(popularity(behaviour.positives))
        case "recent":
            return fit_recent(behaviour.positives, behaviour.ages, settings.recent_days)
        case "content":
            # Only the catalogue's items have vectors and take part in the mean.
            known = behaviour.in_catalogue
            space = Space.of(evidence.item_vectors[known], catalog.similarity, catalog.centre)
            projected = np.zeros_like(evidence.item_vectors)
            projected[known] = space.project(evidence.item_vectors[known])
            return ContentModel(evidence.similarity_matrix, projected)
        case "similar_items":
            return fit_similar_items(evidence.item_neighbours)
        case "als":
            return fit_als(
                behaviour.positives,
                settings.als_factors,
                settings.als_regularisation,
                settings.als_confidence,
            )
        case learned:
            return _learn_item_weights(learned, evidence, settings)


def ready_to_score(model: Model, catalog: Catalog, evidence: Evidence) -> Model:
    """A model that `learn` made, with the catalog's `SCORING_SETTINGS`, for all of its users.

    Users known by one or two likes are told much by chance, so the hybrid's scores are
    r = x·B + c·p / n³, with c the `hybrid_popularity_weight`, p the share of users who like an item
    and n the user's likes (steam-reviews, where seven in ten users wrote one or two reviews: .201
    against .192 of N@20 on validation; by n³ sets of longer histories stay as they are).
    """
    settings = catalog.models
    match model:
        case ItemWeightsModel(strategy="hybrid"):
            shares = popularity(evidence.behaviour.positives)
            prior = np.float32(settings.hybrid_popularity_weight) * shares
            model = replace(model, recency_power=settings.recency_power, prior=prior)
        case ItemWeightsModel(strategy="item_knn" | "ease" | "l3ae" | "gfcf"):
            model = replace(model, recency_power=settings.recency_power)
    if catalog.strategy in ("popular", "recent", "content"):
        return model
    return WithProfiles(model, evidence.similarity_matrix)


class Fits:
    """Fits on the same evidence, one after the other, that learn again only where they have to."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._learned_with: Catalog | None = None
        self._model: Model | None = None

    def fit(self, catalog: Catalog) -> Model:
        """What `fit` gives; where the last catalog had other `SCORING_SETTINGS` alone, at once.

        Raises:
            UserError: the strategy needs more memory than there is, or a package that is missing.
        """
        unscored = catalog.models.model_copy(update=dict.fromkeys(SCORING_SETTINGS))
        learned_with = catalog.model_copy(update={"models": unscored})
        if self._model is None or learned_with != self._learned_with:
            self._model = None  # memory is asked for one model, not for two
            self._model, self._learned_with = learn(catalog, self._evidence), learned_with
        return ready_to_score(self._model, catalog, self._evidence)


def without_history(strategy: str) -> str:
    """What ranks for users without a history where this strategy makes the lists."""
    return strategy if strategy in ("popular", "recent") else "content"


def _learn_item_weights(
    strategy: Literal["item_knn", "ease", "l3ae", "gfcf", "hybrid"],
    evidence: Evidence,
    settings: ModelSettings,
) -> ItemWeightsModel:
    positives, cold = evidence.behaviour.positives, evidence.behaviour.cold
    l3ae = {
        "regularisation": settings.hybrid_regularisation,
        "semantic_weight": settings.semantic_share * settings.hybrid_regularisation,
        "semantic_regularisation": settings.semantic_regularisation,
        "dropout": settings.dropout,
        "user_weighting": settings.user_weighting,
        "item_weighting": settings.item_weighting,
    }
    match strategy:
        case "item_knn":
            return fit_item_knn(positives, settings.knn_neighbours, settings.knn_shrinkage)
        case "ease":
            return fit_ease(positives, settings.ease_regularisation, settings.dropout)
        case "gfcf":
            return fit_gfcf(positives)
        case "l3ae":
            return fit_l3ae(positives, evidence.item_vectors, cold, **l3ae)
        case "hybrid":
            return fit_hybrid(
                positives,
                evidence.item_vectors,
                cold,
                gfcf_weight=settings.hybrid_gfcf_weight,
                cold_boost=settings.cold_boost,
                **l3ae,
            )
