"""What a strategy and a model are: a strategy learns arrays, a model scores with them.

A model scores every item for a block of users, and says which part of a history did it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from pydantic import Field
from scipy import sparse

from recsys_dagster.catalog.base import Settings
from recsys_dagster.steps.models.behaviour import Behaviour, ones
from recsys_dagster.steps.models.trainer import Trainer
from recsys_dagster.steps.similarity.space import Space

NOT_RANKED = np.float32(-np.inf)
"""The score of an item that a model has no opinion on; such items are filled from `popular`."""
MAX_ROWS = 10_000
"""Of a list or of neighbours: more is a slip of the hand that takes all memory."""
MAX_EXACT_PAIRS = 1e10
"""Pairs of vectors up to which all are compared where nobody says another number."""
MAX_DAYS = 36_500
MAX_NUMBER = 1e9
"""Of a setting that any number may be: beyond it sums overflow."""

Arrays = dict[str, np.ndarray]
"""What was learned, by name: all that is kept of a fit."""

POSITIVES = ("histories.item_ids", "histories.positives")
ORDER = ("histories.recencies",)
VECTORS = ("item_embeddings.embedding",)
SIMILARITIES = "similarity_matrix.similarity"


@dataclass(frozen=True)
class Search:
    """Marks a setting as one that a search tries.

    Attributes:
        values: what to try, ascending.
        scores_only: nothing that is learned depends on it: with another value nothing is learned
            anew.
    """

    values: tuple[float, ...]
    scores_only: bool = False


RecencyPower = Annotated[
    float,
    Field(
        ge=0,
        le=10,
        description="a positive counts 1 / (1 + the user's later positives) to this power; 0 "
        "counts all alike",
    ),
    Search((0, 0.15, 0.3, 0.5, 0.8), scores_only=True),
]


Minutes = Annotated[
    float,
    Field(
        gt=0,
        le=10_000,
        description="training ends after so long, where it has not ended by itself",
    ),
]
LearningRate = Annotated[float, Field(gt=0, le=1, description="of Adam")]
Epochs = Annotated[
    int, Field(gt=0, le=100_000, description="passes over all histories, at the most")
]
Seed = Annotated[
    int,
    Field(ge=0, le=2**31, description="of all chance: another seed gives another model, as good"),
]


@dataclass(frozen=True)
class LastModel:
    """What the catalog's last model knew.

    Attributes:
        fingerprint: of its fit.
        item_ids: of each position.
        learned: what the strategy learned, over these positions.
    """

    fingerprint: str
    item_ids: Sequence[str]
    learned: Arrays


@dataclass(frozen=True)
class Evidence:
    """All that a strategy may learn from, aligned to the positions of `behaviour`.

    Attributes:
        behaviour: who interacted with what.
        item_vectors: float32 (items × d), as the encoder gave them; zeros for items that the
            catalogue lacks.
        space: where vectors are compared.
        item_neighbours: gives float32 csr (items × items), row j the similarities of j's
            neighbours; only strategies that need them ask.
        trainer: what strategies that are trained by gradient have of the machine.
        last: what training may begin from. Whoever hides something from a strategy must not give
            it: the last model may have seen that.
    """

    behaviour: Behaviour
    item_vectors: np.ndarray
    space: Space
    item_neighbours: Callable[[], sparse.csr_matrix]
    trainer: Trainer = field(default_factory=Trainer)
    last: LastModel | None = None

    @property
    def items(self) -> int:
        """How many items there are."""
        return len(self.behaviour.item_ids)

    @property
    def projected(self) -> np.ndarray:
        """The item vectors in the space, float32 (items × d); zeros for items without one."""
        known = self.behaviour.in_catalogue
        projected = np.zeros_like(self.item_vectors, dtype=np.float32)
        projected[known] = self.space.project(self.item_vectors[known])
        return projected

    @property
    def in_words(self) -> str:
        """How much it is: what a fit takes goes by that."""
        users, items = self.behaviour.positives.shape
        positives = self.behaviour.positives.nnz
        return f"{positives:,} positives, {users:,} users, {items:,} items"


@dataclass(frozen=True)
class UserBlock:
    """Some users' histories.

    Models score these histories and not the users: one that was not in the fit is scored by the
    same call, and alike.

    Attributes:
        positives: float32 csr (b × items) of ones.
        weights: float32 csr (b × items), decayed weights of the same pairs, in the same order.
        recency: float32 csr (b × items), how recent the same pairs are, as `Behaviour` has it.
        similar: float32 csr (b × items), the users' rows of the similarity matrix; a kept
            similarity of 0 is an explicit entry.
    """

    positives: sparse.csr_matrix
    weights: sparse.csr_matrix
    recency: sparse.csr_matrix
    similar: sparse.csr_matrix

    @classmethod
    def of(
        cls, behaviour: Behaviour, similarity_matrix: sparse.csr_matrix, users: np.ndarray
    ) -> "UserBlock":
        """The histories of users.

        Args:
            behaviour: of all users.
            similarity_matrix: float32 csr (users × items).
            users: int64 (b,), positions.
        """
        weights = behaviour.weights[users]
        return cls(ones(weights), weights, behaviour.recency[users], similarity_matrix[users])

    @property
    def lengths(self) -> np.ndarray:
        """How many items each history has, int (b,)."""
        return np.diff(self.positives.indptr)

    def discounted(self, power: float) -> sparse.csr_matrix:
        """The histories with each pair as recency ** power, float32 csr (b × items)."""
        if not power:
            return self.positives
        histories = self.recency.copy()
        histories.data **= np.float32(power)
        return histories

    def entries(self, rows: np.ndarray) -> np.ndarray:
        """Where the histories of the users `rows`, one after the other, lie in the csr arrays.

        Returns:
            int64 (e,) with e = lengths[rows].sum(), positions in `positives.indices`.
        """
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        return np.arange(lengths.sum()) + np.repeat(
            self.positives.indptr[rows] - (ends - lengths), lengths
        )


class Model(Protocol):
    """A fitted strategy, ready to score."""

    def score(self, block: UserBlock) -> np.ndarray:
        """Scores, float32 (b × items), `NOT_RANKED` where the model has none."""
        ...

    def contributions(self, block: UserBlock, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """What each history item of a user adds to the score of an item, pair by pair.

        Args:
            block: the users.
            rows: int64 (p,), users as rows of the block, ascending.
            items: int64 (p,), the item of each pair.

        Returns:
            float32 (e,), aligned to `block.entries(rows)`; zeros where the strategy does not rest
            on a history.
        """
        ...


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Strategy(Generic[S]):
    """All that there is to know of a strategy.

    Attributes:
        name: from the YAML key to the rows of lists.
        settings: its settings, in the order in which a search tries those marked with `Search`.
        formula: what it does, in a sentence with its formula, as Markdown.
        columns: `table.column` of all that it looks at.
        learn: evidence and settings → what was learned. Settings that are `scores_only` must not
            matter.
        load: what was learned and settings → the model. Arrays may be mapped from a file.
        needs_history: whether users without positives are ranked by their profile text instead.
        dense_over: the items between which a dense matrix is learned: those with positives, or
            all that were seen; None where no such matrix is made.
        needs_order: whether it goes by the order of histories alone.
        about: what was learned → what a manifest says of it, as JSON has it.
    """

    name: str
    settings: type[S]
    formula: str
    columns: tuple[str, ...]
    learn: Callable[[Evidence, S], Arrays]
    load: Callable[[Arrays, S], Model]
    needs_history: bool = True
    dense_over: Literal["positives", "seen"] | None = None
    needs_order: bool = False
    about: Callable[[Arrays], dict[str, Any]] = lambda _arrays: {}

    @property
    def searched(self) -> dict[str, Search]:
        """The settings that a search tries, in its order."""
        return {
            name: mark
            for name, field in self.settings.model_fields.items()
            for mark in field.metadata
            if isinstance(mark, Search)
        }

    @property
    def without_history(self) -> str:
        """The strategy that ranks for users without positives where this one makes the lists."""
        return "content" if self.needs_history else self.name

    def fit(self, evidence: Evidence, settings: S) -> Model:
        """Learn, and be ready to score.

        Raises:
            UserError: a package is missing.
        """
        return self.load(self.learn(evidence, settings), settings)
