"""hybrid: L3AE and GF-CF for the items people know, semantic transfer for the cold ones."""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy import sparse

from recsys_dagster.catalog.base import Settings
from recsys_dagster.compute.blocks import LOCAL, Compute
from recsys_dagster.steps.models.base import (
    MAX_NUMBER,
    ORDER,
    POSITIVES,
    VECTORS,
    Arrays,
    Evidence,
    RecencyPower,
    Search,
    Strategy,
)
from recsys_dagster.steps.models.ease import Dropout, Regularisation
from recsys_dagster.steps.models.gfcf import GraphFilter, gfcf_weights
from recsys_dagster.steps.models.item_weights import (
    Columns,
    ItemWeightsModel,
    kept_arrays,
    model_of,
)
from recsys_dagster.steps.models.l3ae import (
    ItemWeighting,
    Parameters,
    SemanticRegularisation,
    SemanticShare,
    UserWeighting,
    autoencoder_of,
    l3ae_weights,
)
from recsys_dagster.steps.models.long_tail import (
    MAX_TOGETHER,
    Parted,
    Together,
    blocks_of,
    deviation,
    long_tail_arrays,
    mean_largest,
)
from recsys_dagster.steps.models.long_tail import about as about_head
from recsys_dagster.steps.models.memory import head_of
from recsys_dagster.steps.models.pairs import most_of_rows
from recsys_dagster.steps.models.popular import popularity
from recsys_dagster.steps.models.transfer import transfer_shares

SAMPLE_USERS = 1000
ROUNDING = 1e-5
"""Scores of GF-CF that vary less are rounding errors of float32."""
BLOCK_ROWS = 128


class HybridSettings(Settings):
    """How much behaviour, texts, two-hop co-occurrence and popularity say."""

    recency_power: RecencyPower = 0.3
    popularity_weight: Annotated[
        float,
        Field(ge=0, le=MAX_NUMBER),
        Search((0, 0.3, 1, 3, 10), scores_only=True),
    ] = Field(
        default=0.3,
        description="weight of the share of users who like an item, divided by the cube of a "
        "user's positives; 0 leaves it out",
    )
    regularisation: Regularisation = Field(default=250.0, description="λ = λ_X + λ_E of L3AE")
    gfcf_weight: Annotated[
        float, Field(ge=0, le=MAX_NUMBER), Search((0, 0.1, 0.2, 0.4, 0.8, 1.6))
    ] = Field(default=0.2, description="weight of GF-CF's scores beside L3AE's; 0 leaves it out")
    dropout: Dropout = 0.5
    semantic_share: SemanticShare = 0.8
    item_weighting: ItemWeighting = 0.0
    user_weighting: UserWeighting = 0.0
    semantic_regularisation: SemanticRegularisation = 5.0
    cold_boost: Annotated[float, Field(gt=0, le=MAX_NUMBER)] = Field(
        default=1.0, description="factor on the scores of items without interactions"
    )


def learn(evidence: Evidence, settings: HybridSettings) -> Arrays:
    """Weights learned from the warm items, and transferred to the cold ones."""
    behaviour = evidence.behaviour
    known = np.flatnonzero(~behaviour.cold)
    head = head_of(evidence, len(known))
    if head is not None:
        return long_tail(evidence, settings, known, head)
    weights, warm = hybrid_weights(
        behaviour.positives,
        evidence.item_vectors,
        behaviour.cold,
        settings,
        evidence.trainer.compute,
    )
    items = np.arange(len(behaviour.cold))
    X = behaviour.positives[:, warm]
    return kept_arrays(weights, items, len(items), warm, X) | {
        "popularity": popularity(behaviour.positives)
    }


def hybrid_weights(
    positives: sparse.csr_matrix,
    item_vectors: np.ndarray,
    cold: np.ndarray,
    settings: HybridSettings,
    compute: Compute = LOCAL,
) -> tuple[np.ndarray, np.ndarray]:
    """B = B_l3ae + w·(σ / σ')·W_gfcf, σ and σ' the standard deviations of the scores of both.

    As one matrix, what scores histories and names contributions need not know of two models. What
    cold items are lent is GF-CF's columns, or L3AE's where there is no GF-CF: they say more of
    items that look alike. A cold item is in nobody's history that models learn from, so B has rows
    for warm items only.

    Args:
        positives: X, csr (users × items).
        item_vectors: float32 (items × d), as the encoder gave them; zero rows have no text.
        cold: bool (items,), items that no interaction says anything of.
        settings: of the strategy.
        compute: does the blocks of XᵀX.

    Returns:
        B, float32 (warm × items), and the warm items, int64.
    """
    warm = np.flatnonzero(~cold)
    X = positives[:, warm]
    learned = l3ae_weights(X, item_vectors[warm], **parameters_of(settings, compute))
    weights = np.zeros((len(warm), len(cold)), dtype=np.float32)
    weights[:, warm] = learned
    if settings.gfcf_weight and X.nnz:
        deviation = score_deviation(X, learned)
        del learned  # two such matrices are all there ever is
        learned = blend_in_gfcf(weights, warm, X, settings.gfcf_weight, deviation, compute)
    if cold.any() and len(warm):
        shares = transfer_shares(item_vectors[cold], item_vectors[warm])
        transfer_to_cold(weights, learned, shares, np.flatnonzero(cold), settings.cold_boost)
    return weights, warm


def parameters_of(settings: HybridSettings, compute: Compute) -> Parameters:
    """Those of L3AE."""
    return Parameters(
        regularisation=settings.regularisation,
        semantic_weight=settings.semantic_share * settings.regularisation,
        semantic_regularisation=settings.semantic_regularisation,
        dropout=settings.dropout,
        user_weighting=settings.user_weighting,
        item_weighting=settings.item_weighting,
        compute=compute,
    )


def long_tail(evidence: Evidence, settings: HybridSettings, warm: np.ndarray, head: int) -> Arrays:
    """The same where weights are learned densely of the head alone; see `steps.models.long_tail`.

    Cold items are lent GF-CF's columns even where it is left out of the others.

    Args:
        evidence: what is learned from.
        settings: of the strategy.
        warm: int64 (warm,), items that interactions say something of.
        head: how many of them are learned of densely.
    """
    positives = evidence.behaviour.positives
    X, F = positives[:, warm], evidence.item_vectors[warm]
    parted = Parted.of(X, head)
    learned = autoencoder_of(X, F, parted, **parameters_of(settings, evidence.trainer.compute))
    graph = GraphFilter(X, parted)
    together = Together(X, parted, [(1.0, learned)], F, evidence.trainer.compute)
    users = X[sample_of(X)]
    scale, other = (deviation(each, users, together) for each in (learned, graph))
    scale = scale / other if other >= ROUNDING else 1.0
    if other >= ROUNDING:
        together = together.with_shares([(1.0, learned), (settings.gfcf_weight * scale, graph)])
    cold = np.flatnonzero(evidence.behaviour.cold)
    lent = lent_columns(evidence.item_vectors[cold], F, graph, together)
    boosted = (
        (cold[places], columns.scaled(settings.cold_boost * scale)) for places, columns in lent
    )
    return long_tail_arrays(together, X, warm, evidence, boosted) | {
        "popularity": popularity(positives)
    }


def lent_columns(
    cold_vectors: np.ndarray, warm_vectors: np.ndarray, graph: GraphFilter, together: Together
) -> Iterator[tuple[np.ndarray, Columns]]:
    """What cold items are lent, as `transfer_to_cold` has it, some of them at a time.

    Args:
        cold_vectors: float32 (m × d).
        warm_vectors: float32 (n × d).
        graph: L, whose columns are lent.
        together: says which items of the tail are asked.

    Yields:
        Positions among the cold ones, and their columns.
    """
    if not len(cold_vectors) or not len(warm_vectors):
        return
    shares = transfer_shares(cold_vectors, warm_vectors)
    itself = np.float32(mean_largest(graph, together))
    parted = together.parted
    for places in blocks_of(np.arange(len(cold_vectors))):
        own = shares[places]
        head, tail = graph.lent(own)
        head += itself * own[:, parted.head].toarray()
        # Of as many of the tail as say something of an item that is learned of.
        said = most_of_rows((tail + itself * own[:, parted.tail]).tocsr(), MAX_TOGETHER)
        yield places, Columns(head, said)


def load(arrays: Arrays, settings: HybridSettings) -> ItemWeightsModel:
    """The model of weights, with what popularity says to users known by little.

    Users known by one or two positives are told much by chance: r = x·B + c·p / n³, with c the
    `popularity_weight`, p the share of users who like an item and n the user's positives.
    """
    prior = np.float32(settings.popularity_weight) * arrays["popularity"]
    return model_of(arrays, settings.recency_power, prior)


def blend_in_gfcf(
    weights: np.ndarray,
    warm: np.ndarray,
    positives: sparse.csr_matrix,
    share: float,
    scale: float,
    compute: Compute = LOCAL,
) -> np.ndarray:
    """Add GF-CF, brought to the scale of the others' scores, to the warm columns in place.

    Args:
        weights: B, float32 (warm × items).
        warm: int64 (warm,), its warm columns.
        positives: X, csr (users × warm).
        share: weight of GF-CF.
        scale: the standard deviation of scores x·B.
        compute: does the blocks of RᵀR.

    Returns:
        What was added, before its weight: float32 (warm × warm). B's own warm columns where GF-CF
        knows of no two items that go together, and nothing is added.
    """
    others = gfcf_weights(positives, compute)
    deviation = score_deviation(positives, others)
    if deviation < ROUNDING:
        return weights[:, warm]
    others *= np.float32(scale / deviation)
    for start in range(0, len(weights), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        weights[rows, warm] += np.float32(share) * others[rows]
    return others


def score_deviation(positives: sparse.csr_matrix, weights: np.ndarray) -> float:
    """The standard deviation of scores x·B over some users: what a model's scores are divided by.

    Args:
        positives: X, csr (users × items), with a user who has a history; at most 1,000 of these
            are looked at, evenly spread.
        weights: B, float32 (items × items).
    """
    return float(np.std(positives[sample_of(positives)] @ weights, dtype=np.float64))


def sample_of(positives: sparse.csr_matrix) -> np.ndarray:
    """At most 1,000 users with a history, evenly spread, int64."""
    users = np.flatnonzero(np.diff(positives.indptr))
    number = min(len(users), SAMPLE_USERS)
    return users[np.linspace(0, len(users) - 1, number, dtype=np.int64)]


def transfer_to_cold(
    weights: np.ndarray,
    learned: np.ndarray,
    shares: sparse.csr_matrix,
    cold: np.ndarray,
    cold_boost: float,
) -> None:
    """Give each cold item the columns of its semantic neighbours, in place.

    B_·i = Σ_j w_ij (L_·j + t·e_j), with t the mean over columns of max |L|: the neighbours
    themselves count as much as the strongest thing ever learned about them.

    Args:
        weights: B, float32 (warm × items), whose cold columns are filled.
        learned: L, the columns that are lent, float32 (warm × warm).
        shares: w, csr (cold × warm).
        cold: int64 (cold,), the columns to fill.
        cold_boost: factor on the transferred columns.
    """
    itself = np.maximum(learned.max(axis=0), -learned.min(axis=0)).mean()
    lent = shares.T.tocsr()
    # By rows of B: all cold columns at once would take the memory of B again.
    for start in range(0, len(weights), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        columns = (shares @ learned[rows].T).T + itself * lent[rows].toarray()
        weights[rows, cold] = cold_boost * columns


STRATEGY = Strategy(
    name="hybrid",
    settings=HybridSettings,
    formula="`r = X·(B_l3ae + w·W_gfcf) + c·p / n³`, n the user's positives; items without "
    "interactions take over the columns of those whose texts are near",
    columns=(*POSITIVES, *ORDER, *VECTORS),
    learn=learn,
    load=load,
    dense_over="seen",
    about=about_head,
)
