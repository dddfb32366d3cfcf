"""The strategy's name → the fitted model."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys_dagster.catalog import Catalog
from recsys_dagster.steps.matrices import Behaviour
from recsys_dagster.steps.models.base import Model
from recsys_dagster.steps.models.content import ContentModel
from recsys_dagster.steps.models.ease import fit_ease
from recsys_dagster.steps.models.hybrid import fit_hybrid
from recsys_dagster.steps.models.popular import PopularModel, popularity
from recsys_dagster.steps.models.similar_items import fit_similar_items
from recsys_dagster.steps.similarity import Space


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


def fit(catalog: Catalog, evidence: Evidence) -> Model:
    """The catalog's strategy, fitted."""
    positives, settings = evidence.behaviour.positives, catalog.models
    match catalog.strategy:
        case "popular":
            return PopularModel(popularity(positives))
        case "content":
            # Only the catalogue's items have vectors and take part in the mean.
            known = evidence.behaviour.in_catalogue
            space = Space.of(evidence.item_vectors[known], catalog.similarity, catalog.centre)
            projected = np.zeros_like(evidence.item_vectors)
            projected[known] = space.project(evidence.item_vectors[known])
            return ContentModel(evidence.similarity_matrix, projected)
        case "similar_items":
            return fit_similar_items(evidence.item_neighbours)
        case "ease":
            return fit_ease(positives, settings.ease_regularisation)
        case "hybrid":
            return fit_hybrid(
                positives,
                evidence.item_vectors,
                cold=evidence.behaviour.cold,
                regularisation=settings.hybrid_regularisation,
                semantic_weight=settings.semantic_weight,
                semantic_regularisation=settings.semantic_regularisation,
                cold_boost=settings.cold_boost,
            )
