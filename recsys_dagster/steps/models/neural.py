"""neural: a denoising autoencoder over items, with the graph of what goes together inside."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from pydantic import Field
from scipy import sparse
from scipy.sparse.linalg import eigsh

from recsys_dagster.catalog.base import Settings
from recsys_dagster.steps.models.augmentation import HiddenShare
from recsys_dagster.steps.models.base import (
    ORDER,
    POSITIVES,
    VECTORS,
    Arrays,
    Epochs,
    Evidence,
    LearningRate,
    Minutes,
    Model,
    Seed,
    Strategy,
)
from recsys_dagster.steps.models.behaviour import ones
from recsys_dagster.steps.models.blend import hybrid_beside, with_hybrid
from recsys_dagster.steps.models.denoiser import (
    DenoiserModel,
    decoded,
    mixed,
    own_part,
    smoothed_by,
)
from recsys_dagster.steps.models.gram import gram
from recsys_dagster.steps.models.item_weights import (
    ItemWeightsModel,
    kept_arrays,
    model_of,
    weight_arrays,
)
from recsys_dagster.steps.models.long_tail import Parted
from recsys_dagster.steps.models.memory import head_of
from recsys_dagster.steps.models.prefixes import put_under, taken_from
from recsys_dagster.steps.models.trainer import CURVE
from recsys_dagster.steps.models.training import Plan, train
from recsys_dagster.steps.models.transfer import lent_to
from recsys_dagster.steps.models.validation import (
    chosen_of,
    ndcg_of,
    newest_of_each,
    parted,
    stored_where,
    validate_every,
)
from recsys_dagster.steps.models.warm_start import Places, WarmStart, begun_from

if TYPE_CHECKING:
    import torch

BATCH_USERS = 100
VALIDATION_USERS = 1_000
HIDDEN_SHARE = 0.2
"""Of the histories of validation users: hidden from training, and asked for."""
MIN_HISTORY = 5
"""Positives of a validation user."""
PATIENCE = 10
POWER_ITERATIONS = 4
SPECTRAL_LENGTH = 3
"""Of the vectors that training begins with, beside those of chance: with 1 it is slower to begin,
with 6 to end."""
FIRST_SHARES = {"code": (1, 1), "score": (1, 0, 1, 0)}
"""What mixers begin with: the sums of their channels with these shares, because silu(v) − silu(−v)
is v. Drawn by chance, two units are as often as not a bad place to begin."""
TINY = 1e-12
GRAPH, NEIGHBOURS, SHARES = "graph.", "neighbours.", "shares."
"""Before the names of the arrays of A, S and w."""


class NeuralSettings(Settings):
    """How large the network is, and how long it is trained."""

    minutes: Minutes = 10.0
    width: Annotated[int, Field(gt=0, le=4096)] = Field(
        default=200, description="numbers of an item's learned vector"
    )
    steps: Annotated[int, Field(gt=0, le=20)] = Field(
        default=3, description="in how many steps a smoothed history is taken back"
    )
    smoothing: Annotated[float, Field(ge=0, le=10)] = Field(
        default=1.5, description="how far the last step smooths over the item-item graph"
    )
    carried_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="of what a step leaves unexplained, carried over to the next"
    )
    hidden_share: HiddenShare = 0.5
    learning_rate: LearningRate = 0.002
    epochs: Epochs = 1_000
    warm_start: WarmStart = False
    seed: Seed = 0


def learn(evidence: Evidence, settings: NeuralSettings) -> Arrays:
    """Train on all histories but what is hidden of some; keep what finds most of the hidden.

    Items without a positive pair are not learned of; cold ones are lent by those whose texts are
    near. So is the long tail of a catalogue that is too large for its graph.
    """
    positives, cold = evidence.behaviour.positives, np.flatnonzero(evidence.behaviour.cold)
    learned = np.flatnonzero(np.bincount(positives.indices, minlength=positives.shape[1]))
    head = head_of(evidence, len(learned))
    if head is not None:
        parted = Parted.of(positives[:, learned], head)
        cold = np.union1d(cold, learned[parted.tail])
        learned = learned[parted.head]
    items = len(learned)
    behaviour, places = evidence.behaviour, None
    item_ids = behaviour.item_ids[learned]
    if settings.warm_start:
        places = Places.of(behaviour.user_ids, behaviour.item_ids, settings.seed)
    known, whole_hidden = hold_back(behaviour.recency, settings.seed, places)
    visible, hidden = ones(known[:, learned]), whole_hidden[:, learned]
    A, masses = graph_of(visible)
    first = begun_from(first_parts(A, settings), item_ids, evidence.last)
    kept = kept_arrays(A, np.arange(items), items, np.arange(items), visible)
    del A
    cold, shares = lent_to(cold, learned, evidence.item_vectors)
    columns = np.concatenate([learned, cold])
    similar = sparse.csr_matrix(evidence.item_neighbours()[learned][:, columns])
    fixed = {"columns": columns, "masses": masses}
    for prefix, arrays in (
        (GRAPH, kept),
        (NEIGHBOURS, weight_arrays(similar, np.arange(items))),
        (SHARES, weight_arrays(shares, np.arange(len(cold)))),
    ):
        fixed |= put_under(prefix, arrays)
    # Where a long tail is not learned of, all that is visible of a user may lie there.
    asked = np.flatnonzero((np.diff(hidden.indptr) > 0) & (np.diff(visible.indptr) > 0))
    learners = np.flatnonzero(np.diff(visible.indptr))
    graph, neighbours = model_of(kept), similar[:, :items]
    nothing = shares[:0]
    batches = -(-len(learners) // BATCH_USERS)

    def model_with(parts: Arrays) -> DenoiserModel:
        return DenoiserModel(
            graph,
            neighbours,
            parts | {"masses": masses},
            settings.smoothing,
            settings.carried_share,
            np.arange(items),
            nothing,
        )

    def validate(parts: Arrays) -> float:
        if not len(asked):
            return float("nan")
        scores = model_with(parts).score_histories(visible[asked])
        return ndcg_of(scores, visible[asked], hidden[asked])

    best, curve = train(
        first,
        lambda number: batch_of(visible, learners, neighbours, masses, number, settings),
        _loss(graph, settings, evidence.trainer.device()),
        validate,
        Plan(
            learning_rate=settings.learning_rate,
            max_batches=settings.epochs * batches,
            max_seconds=60 * settings.minutes,
            validate_every=validate_every(batches),
            patience=PATIENCE,
        ),
        evidence.trainer,
        learned,
    )
    own = np.empty((0, items), dtype=np.float32)
    if len(asked):
        own = model_with(best).score_histories(visible[asked])
    beside = hybrid_beside(evidence, known, whole_hidden, asked, own, learned)
    return fixed | best | {CURVE: curve} | beside


def load(arrays: Arrays, settings: NeuralSettings) -> Model:
    """The model of graph and parameters, with hybrid beside it where that was better."""

    def weights(prefix: str) -> ItemWeightsModel:
        return model_of(taken_from(prefix, arrays))

    denoiser = DenoiserModel(
        weights(GRAPH),
        sparse.csr_matrix(weights(NEIGHBOURS).weights),
        arrays,
        settings.smoothing,
        settings.carried_share,
        arrays["columns"],
        sparse.csr_matrix(weights(SHARES).weights),
    )
    return with_hybrid(denoiser, arrays)


def graph_of(positives: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """A = RᵀR / λ with R = D_U^-¼ X D_I^-½ and λ the largest eigenvalue of RᵀR.

    Histories of many items say less of each pair of theirs, and A keeps the mass of a signal.

    Args:
        positives: X, csr (users × n).

    Returns:
        A, float32 (n × n); and m = D_I^-½ / √λ, float32 (n,).
    """
    of_user, of_item = (np.maximum(positives.sum(axis=axis), 1).A1 for axis in (1, 0))
    R = sparse.csr_matrix(sparse.diags(of_user**-0.25) @ positives @ sparse.diags(of_item**-0.5))
    A = gram(R.astype(np.float32))
    largest = TINY
    if len(A):
        values, _ = eigsh(A, k=1, v0=np.ones(len(A))) if len(A) > 1 else (A[0], None)
        largest = max(float(values[0]), TINY)
    A /= largest
    return A, (of_item**-0.5 / np.sqrt(largest)).astype(np.float32)


def hold_back(
    recency: sparse.csr_matrix, seed: int, places: Places | None = None
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """What training sees, as recent as it then is, and a fifth of some histories, hidden.

    The newest fifth where there is an order, as lists are made for what comes; else by chance.

    Args:
        recency: csr (users × n), as `Behaviour` has it.
        seed: which users, at most 1,000 and a fifth of all with five positives; and of equals,
            which of theirs.
        places: where the same is to be hidden in every fit.

    Returns:
        Csr (users × n) each: recency; and ones.
    """
    generator = np.random.default_rng(seed)
    lengths = np.diff(recency.indptr)
    enough = np.flatnonzero(lengths >= MIN_HISTORY)
    chosen = chosen_of(enough, VALIDATION_USERS, generator, places)
    numbers = np.zeros(len(lengths), dtype=np.int64)
    numbers[chosen] = (HIDDEN_SHARE * lengths[chosen]).astype(np.int64)
    ties = generator.random(recency.nnz) if places is None else places.ties(recency)
    return parted(recency, newest_of_each(recency, numbers, ties))


def first_parts(graph: np.ndarray, settings: NeuralSettings) -> Arrays:
    """The parameters that training begins with, float32.

    Item vectors begin as the top eigenvectors of the graph, each as long as the root of its
    eigenvalue asks for: what many epochs find first is there at once. What a graph of fewer items
    leaves open comes from Glorot's uniform distribution. With the mixers the whole begins as a
    graph filter.

    Args:
        graph: A, float32 (n × n).
        settings: of the strategy.
    """
    # Late: a code location is loaded for every run.
    from sklearn.utils.extmath import randomized_svd

    generator = np.random.default_rng(settings.seed)

    def drawn(*shape: int) -> np.ndarray:
        bound = np.sqrt(6 / (shape[0] + shape[-1]))
        return generator.uniform(-bound, bound, shape).astype(np.float32)

    items = drawn(len(graph), settings.width)
    known = min(items.shape)
    if known:
        _, values, vectors = randomized_svd(
            graph, known, n_iter=POWER_ITERATIONS, random_state=settings.seed
        )
        spectral = vectors.T * np.sqrt(values)
        length = np.linalg.norm(items[:, :known]) / max(float(np.linalg.norm(spectral)), TINY)
        items[:, :known] = SPECTRAL_LENGTH * length * spectral
    parts = {"items": items}
    signs = np.array([1, -1], dtype=np.float32)
    for name, shares in FIRST_SHARES.items():
        parts |= {
            f"{name}_in": signs[:, None] * np.array(shares, dtype=np.float32),
            f"{name}_bias": np.zeros((settings.steps, len(signs)), dtype=np.float32),
            f"{name}_out": signs,
            f"{name}_rest": np.zeros(1, dtype=np.float32),
        }
    return parts


class Batch(NamedTuple):
    """Some users' histories, each at a step.

    Attributes:
        whole: csr (b × n), what is to be found.
        part: csr (b × n), what is left of it, scaled up by what is hidden.
        own: csr (b × n), what A says to that of the history itself.
        similar: float32 (b × n), what texts are similar to that.
        steps: int64 (b,), from 0.
    """

    whole: sparse.csr_matrix
    part: sparse.csr_matrix
    own: sparse.csr_matrix
    similar: np.ndarray
    steps: np.ndarray


def batch_of(
    visible: sparse.csr_matrix,
    learners: np.ndarray,
    neighbours: sparse.csr_matrix,
    masses: np.ndarray,
    number: int,
    settings: NeuralSettings,
) -> Batch:
    """The batch of a number: users in an order of each pass's own.

    Args:
        visible: csr (users × n).
        learners: int64, the users with a history in it.
        neighbours: S, csr (n × n).
        masses: float32 (n,), those of the graph.
        number: from 0.
        settings: of the strategy.
    """
    epoch, place = divmod(number, -(-len(learners) // BATCH_USERS))
    order = np.random.default_rng([settings.seed, epoch]).permutation(learners)
    whole = visible[order[place * BATCH_USERS : (place + 1) * BATCH_USERS]]
    generator = np.random.default_rng([settings.seed, epoch, place])
    kept = generator.random(whole.nnz) >= settings.hidden_share
    part = stored_where(whole, kept)
    part.data *= np.float32(1 / (1 - settings.hidden_share))
    steps = generator.integers(0, settings.steps, whole.shape[0])
    own = own_part(part, whole, masses)
    return Batch(whole, part, own, (part @ neighbours).toarray(), steps)


def _loss(
    graph: ItemWeightsModel, settings: NeuralSettings, device: str
) -> "Callable[[Mapping[str, torch.Tensor], Batch], torch.Tensor]":
    """Squared error over all items, summed: the mean over users."""
    import torch  # late: whoever only reads lists has no use for it

    A = torch.tensor(graph.times(np.eye(len(graph.history_items), dtype=np.float32)), device=device)

    def sums(histories: sparse.csr_matrix, rows: torch.Tensor) -> torch.Tensor:
        """Histories times rows, (b × n) @ (n × d)."""
        return torch.nn.functional.embedding_bag(
            torch.tensor(histories.indices, device=device, dtype=torch.int64),
            rows,
            torch.tensor(histories.indptr[:-1], device=device, dtype=torch.int64),
            mode="sum",
            per_sample_weights=torch.tensor(histories.data, device=device),
        )

    def loss(parts: Mapping[str, torch.Tensor], batch: Batch) -> torch.Tensor:
        steps = torch.tensor(batch.steps, device=device)
        whole = torch.tensor(batch.whole.toarray(), device=device)
        part = torch.tensor(batch.part.toarray(), device=device)
        shares = (settings.smoothing / settings.steps) * (steps[:, None] + 1)
        signal = smoothed_by(shares, whole, sums(batch.whole, A))
        code = sums(batch.part, parts["items"]) / part.sum(dim=1, keepdim=True).clamp(min=1)
        smooth = sums(batch.part, A) - torch.tensor(batch.own.toarray(), device=device)
        similar = torch.tensor(batch.similar, device=device)
        silu = torch.nn.functional.silu
        channels = [decoded(signal, code, parts, steps, silu), part, smooth, similar]
        found = mixed("score", channels, parts, steps, silu)
        return (whole - found).square().sum(dim=1).mean()

    return loss


STRATEGY = Strategy(
    name="neural",
    settings=NeuralSettings,
    formula="a denoising autoencoder over items, trained: a history, smoothed over the graph of "
    "what goes together, is taken back in steps by learned item vectors and a tiny network that "
    "mixes their scores with the history, its neighbours and what texts are similar to it (after "
    "Zhu et al., 2024); beside it hybrid, as much as helps",
    columns=(*POSITIVES, *ORDER, *VECTORS, "item_neighbours.similarity"),
    learn=learn,
    load=load,
    dense_over="positives",
)
