"""sequential: what comes next in a history, by a transformer over its order."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from pydantic import Field
from scipy import sparse

from recsys_dagster.catalog.base import Settings
from recsys_dagster.steps.models.augmentation import (
    CroppedShare,
    HiddenShare,
    Noise,
    ReplacedShare,
    cropped,
    nearest_by_text,
    replaced,
    thinned,
)
from recsys_dagster.steps.models.base import (
    MAX_ROWS,
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
from recsys_dagster.steps.models.blend import best_scale, hybrid_beside, with_hybrid
from recsys_dagster.steps.models.item_weights import model_of, weight_arrays
from recsys_dagster.steps.models.markov import MarkovSettings, steps_between
from recsys_dagster.steps.models.prefixes import put_under, taken_from
from recsys_dagster.steps.models.sequences import Sequences, padded, require_order
from recsys_dagster.steps.models.trainer import CURVE
from recsys_dagster.steps.models.training import Plan, train
from recsys_dagster.steps.models.transfer import lent_to
from recsys_dagster.steps.models.transformer import SequentialModel, encoded
from recsys_dagster.steps.models.validation import (
    chosen_of,
    ndcg_of,
    newest_of_each,
    parted,
    users_at_once,
    validate_every,
)
from recsys_dagster.steps.models.warm_start import Places, WarmStart, begun_from

if TYPE_CHECKING:
    import torch

BATCH_SEQUENCES = 128
BATCHES_OF_LIKE_LENGTH = 20
"""Among so many batches sequences are put beside those of their length."""
VALIDATION_USERS = 5_000
"""Whose last positive is hidden from training, and asked for."""
MIN_HISTORY = 3
"""Positives of a validation user."""
PATIENCE = 5
SECOND_MOMENT_DECAY = 0.98
"""Items that few batches have learn too fast with .999, as validation says."""
FIRST_LENGTH = 0.02
"""Standard deviation of what item vectors begin with, as BERT's (Devlin et al., 2019)."""
SAME_TEXTS = 1e-4
"""Of vectors of length 1: where they deviate less, they are one and the same."""
STEPS = MarkovSettings()
STEP_SHARES = (0, 0.025, 0.05, 0.1, 0.2)
"""Of steps beside what the transformer says, both brought to one standard deviation."""
SHARES, STEPS_PREFIX = "shares.", "steps."
"""Before the names of the arrays of w and B."""


class SequentialSettings(Settings):
    """How large the transformer is, and how long it is trained."""

    minutes: Minutes = 10.0
    width: Annotated[int, Field(gt=0, le=4096)] = Field(
        default=256, description="numbers of an item's learned vector"
    )
    blocks: Annotated[int, Field(gt=0, le=48)] = Field(
        default=1, description="how often attention looks over a history"
    )
    max_length: Annotated[int, Field(gt=0, le=MAX_ROWS)] = Field(
        default=50, description="how many of a user's newest positives are looked at"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.5, description="share of what is computed that is left out in training, by chance"
    )
    negatives: Annotated[int, Field(gt=0, le=1_000_000)] = Field(
        default=1_024, description="items drawn for each batch that are not what comes next"
    )
    hidden_share: HiddenShare = 0.0
    cropped_share: CroppedShare = 0.0
    replaced_share: ReplacedShare = 0.0
    noise: Noise = 0.0
    learning_rate: LearningRate = 0.0005
    epochs: Epochs = 1_000
    warm_start: WarmStart = False
    seed: Seed = 0


def learn(evidence: Evidence, settings: SequentialSettings) -> Arrays:
    """Train on all histories but the last positive of some; keep what finds most of these.

    Items without a positive pair are not learned of; cold ones are lent by those whose texts are
    near.

    Raises:
        UserError: no history has an order.
    """
    behaviour = evidence.behaviour
    require_order("sequential", behaviour.recency)
    counts = np.bincount(behaviour.recency.indices, minlength=evidence.items)
    learned, cold = np.flatnonzero(counts), np.flatnonzero(behaviour.cold)
    cold, shares = lent_to(cold, learned, evidence.item_vectors)
    places = None
    if settings.warm_start:
        places = Places.of(behaviour.user_ids, behaviour.item_ids, settings.seed)
    known, whole_hidden = hold_back_last(behaviour.recency, settings.seed, places)
    visible, hidden = known[:, learned], whole_hidden[:, learned]
    asked = np.flatnonzero(np.diff(hidden.indptr))
    windows = windows_of(
        Sequences.of(visible, np.random.default_rng(settings.seed)), settings.max_length
    )
    batches = -(-len(windows) // BATCH_SEQUENCES)
    no_steps = sparse.csr_matrix((len(learned),) * 2, dtype=np.float32)

    def scores_of(parts: Arrays) -> np.ndarray:
        model = SequentialModel(parts, no_steps, np.arange(len(learned)), shares[:0])
        return model.warm_scores(visible[asked])

    def validate(parts: Arrays) -> float:
        if not len(asked):
            return float("nan")
        return ndcg_of(scores_of(parts), visible[asked], hidden[asked])

    vectors = evidence.projected[learned]
    nearest = np.empty((0, 0), dtype=np.int64)
    if settings.replaced_share:
        nearest = nearest_by_text(evidence.item_neighbours()[learned][:, learned])
    best, curve = train(
        begun_from(first_parts(vectors, settings), behaviour.item_ids[learned], evidence.last),
        batches_of(windows, nearest, len(learned), settings),
        _loss(settings, evidence.trainer.device()),
        validate,
        Plan(
            learning_rate=settings.learning_rate,
            max_batches=settings.epochs * batches,
            max_seconds=60 * settings.minutes,
            validate_every=validate_every(batches),
            patience=PATIENCE,
            second_moment_decay=SECOND_MOMENT_DECAY,
        ),
        evidence.trainer,
        learned,
    )
    scale, own = 0.0, np.empty((0, len(learned)), dtype=np.float32)
    if len(asked):
        followed = steps_between(Sequences.of(visible), len(learned), STEPS)
        found, own = (visible[asked] @ followed).toarray(), scores_of(best)
        scale = best_scale(own, found, STEP_SHARES, visible[asked], hidden[asked])
        own += np.float32(scale) * found
    beside = hybrid_beside(evidence, known, whole_hidden, asked, own, learned)
    steps = no_steps
    if scale:
        steps = steps_between(Sequences.of(behaviour.recency[:, learned]), len(learned), STEPS)
        steps.data *= np.float32(scale)
    fixed = {"columns": np.concatenate([learned, cold]), CURVE: curve}
    for prefix, matrix in ((SHARES, shares), (STEPS_PREFIX, steps)):
        fixed |= put_under(prefix, weight_arrays(matrix, np.arange(matrix.shape[0])))
    return best | fixed | beside


def load(arrays: Arrays, settings: SequentialSettings) -> Model:
    """The model of the parameters, with hybrid beside it where that was better."""

    def matrix(prefix: str) -> sparse.csr_matrix:
        return sparse.csr_matrix(model_of(taken_from(prefix, arrays)).weights)

    model = SequentialModel(arrays, matrix(STEPS_PREFIX), arrays["columns"], matrix(SHARES))
    return with_hybrid(model, arrays)


def hold_back_last(
    recency: sparse.csr_matrix, seed: int, places: Places | None = None
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """What training sees, as recent as it then is, and the last positive of some users.

    Args:
        recency: csr (users × n).
        seed: which users, at most 5,000 and a fifth of all with three positives, and no more than
            can be scored at once; and of what came together, what is last.
        places: where the same is to be hidden in every fit.

    Returns:
        Csr (users × n) each: recency; and ones.
    """
    generator = np.random.default_rng(seed)
    lengths = np.diff(recency.indptr)
    enough = np.flatnonzero(lengths >= MIN_HISTORY)
    most = min(VALIDATION_USERS, users_at_once(recency.shape[1]))
    chosen = chosen_of(enough, most, generator, places)
    numbers = np.zeros(len(lengths), dtype=np.int64)
    numbers[chosen] = 1
    ties = generator.random(recency.nnz) if places is None else places.ties(recency)
    return parted(recency, newest_of_each(recency, numbers, ties))


def windows_of(sequences: Sequences, max_length: int) -> list[np.ndarray]:
    """Sequences cut from their ends on, so that each step from an item to the next is in one.

    Args:
        sequences: of positions.
        max_length: of what is looked at; a window has the item that follows, too.
    """
    windows = []
    for start, end in zip(sequences.starts[:-1], sequences.starts[1:], strict=True):
        for last in range(int(end), int(start) + 1, -max_length):
            windows.append(sequences.items[max(int(start), last - max_length - 1) : last])
    return windows


def first_parts(vectors: np.ndarray, settings: SequentialSettings) -> Arrays:
    """The parameters that training begins with, float32.

    Item vectors begin as the principal components of their texts' vectors, where there are any,
    and by chance for the rest; matrices with the deviation of Glorot & Bengio (AISTATS 2010).

    Args:
        vectors: float32 (n × d'), of the items' texts; zeros where there are none.
        settings: of the strategy.
    """
    generator = np.random.default_rng(settings.seed)
    width, blocks = settings.width, settings.blocks

    def drawn(*shape: int, deviation: float) -> np.ndarray:
        return (deviation * generator.standard_normal(shape)).astype(np.float32)

    items = drawn(len(vectors), width, deviation=FIRST_LENGTH)
    has_text = np.flatnonzero(vectors.any(axis=1))
    if len(has_text):
        centred = vectors[has_text] - vectors[has_text].mean(axis=0)
        _, axes = np.linalg.eigh(centred.T @ centred)
        said = centred @ axes[:, ::-1][:, :width]
        deviation = float(np.sqrt(np.mean(said**2)))
        if deviation > SAME_TEXTS:
            items[has_text, : said.shape[1]] = said * (FIRST_LENGTH / deviation)
    matrices = ("query", "key", "value", "output", "forward_in", "forward_out")
    glorot = float(np.sqrt(1 / width))
    return (
        {"items": items, "places": drawn(settings.max_length, width, deviation=FIRST_LENGTH)}
        | {name: drawn(blocks, width, width, deviation=glorot) for name in matrices}
        | {
            name: np.full((blocks, width), value, dtype=np.float32)
            for name, value in (
                ("attention_scale", 1),
                ("attention_shift", 0),
                ("forward_scale", 1),
                ("forward_shift", 0),
                ("forward_in_bias", 0),
                ("forward_out_bias", 0),
            )
        }
        | {
            "last_scale": np.ones(width, dtype=np.float32),
            "last_shift": np.zeros(width, dtype=np.float32),
        }
    )


class Batch(NamedTuple):
    """Some windows of histories.

    Attributes:
        items: int64 (b × t), from the oldest on; −1 after the end.
        following: int64 (b × t), what came after each; −1 after the end.
        negatives: int64 (k,), items drawn by chance; all where there are no more.
        seed: of what is dropped.
    """

    items: np.ndarray
    following: np.ndarray
    negatives: np.ndarray
    seed: int


def batches_of(
    windows: list[np.ndarray], nearest: np.ndarray, items: int, settings: SequentialSettings
) -> Callable[[int], Batch]:
    """Gives the batch of a number: windows in an order of each pass's own, beside those as long.

    Args:
        windows: of `windows_of`.
        nearest: of `nearest_by_text`, where items are replaced.
        items: n, those that there are.
        settings: of the strategy.
    """
    lengths = np.array([len(window) for window in windows])
    batches = -(-len(windows) // BATCH_SEQUENCES)

    @lru_cache(maxsize=1)
    def order_of(epoch: int) -> list[np.ndarray]:
        generator = np.random.default_rng([settings.seed, epoch])
        order = generator.permutation(len(windows))
        pool = BATCH_SEQUENCES * BATCHES_OF_LIKE_LENGTH
        for start in range(0, len(order), pool):
            own = order[start : start + pool]
            order[start : start + pool] = own[np.argsort(lengths[own], kind="stable")]
        cut = np.split(order, range(BATCH_SEQUENCES, len(order), BATCH_SEQUENCES))
        return [cut[place] for place in generator.permutation(len(cut))]

    def batch(number: int) -> Batch:
        epoch, place = divmod(number, batches)
        own = [windows[window] for window in order_of(epoch)[place]]
        # A generator of its own: without augmentation a batch is as if there were none.
        chance = np.random.default_rng([settings.seed, epoch, place, 1])
        if settings.replaced_share:
            share = settings.replaced_share
            own = [replaced(each, nearest, share, chance) for each in own]
        if settings.cropped_share:
            own = cropped(own, settings.cropped_share, chance)
        if settings.hidden_share:
            own = thinned(own, settings.hidden_share, chance)
        generator = np.random.default_rng([settings.seed, epoch, place])
        return Batch(
            padded([window[:-1] for window in own]),
            padded([window[1:] for window in own]),
            np.arange(items)
            if settings.negatives >= items
            else generator.integers(0, items, settings.negatives),
            int(generator.integers(2**62)),
        )

    return batch


def _loss(
    settings: SequentialSettings, device: str
) -> "Callable[[Mapping[str, torch.Tensor], Batch], torch.Tensor]":
    """Cross-entropy of what came next among the items drawn: the mean over places."""
    import torch  # late: whoever only reads lists has no use for it

    functional = torch.nn.functional

    def loss(parts: Mapping[str, torch.Tensor], batch: Batch) -> torch.Tensor:
        generator = torch.Generator(device).manual_seed(batch.seed)

        def dropped(values: torch.Tensor) -> torch.Tensor:
            if not settings.dropout:
                return values
            kept = torch.empty_like(values).bernoulli_(1 - settings.dropout, generator=generator)
            return values * kept / (1 - settings.dropout)

        items = torch.tensor(batch.items, device=device).clamp(min=0)
        following = torch.tensor(batch.following, device=device)
        negatives = torch.tensor(batch.negatives, device=device)
        vectors = functional.embedding(items, parts["items"])
        if settings.noise:
            deviation = settings.noise * parts["items"].detach().square().mean().sqrt()
            vectors = vectors + deviation * torch.empty_like(vectors).normal_(generator=generator)
        everywhere = torch.arange(items.shape[1], device=device)[None, :]
        there = following >= 0
        said = encoded(parts, vectors, everywhere, torch, functional.silu, dropped)[there]
        following = following[there]
        right = (said * functional.embedding(following, parts["items"])).sum(dim=1)
        drawn = said @ functional.embedding(negatives, parts["items"]).T
        drawn = drawn.masked_fill(negatives[None, :] == following[:, None], -torch.inf)
        return (torch.logsumexp(torch.cat([right[:, None], drawn], dim=1), dim=1) - right).mean()

    return loss


STRATEGY = Strategy(
    name="sequential",
    settings=SequentialSettings,
    formula="a transformer over the order of a history, trained to say what comes next: "
    "`r_ui = h_u·e_i + w markov_ui`, with h the history by attention and e an item's vector, which "
    "begins as that of its text (after Kang and McAuley, 2018); beside it hybrid, as much as helps",
    columns=(*POSITIVES, *ORDER, *VECTORS, "item_neighbours.similarity"),
    learn=learn,
    load=load,
    needs_order=True,
)
