"""A fitted model as it is kept: what was learned, and what scoring needs of the items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from recsys_dagster.catalog.base import Settings
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.base import Arrays, Evidence, Strategy
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.models.popular import popularity
from recsys_dagster.steps.models.prefixes import put_under, taken_from

LEARNED = "learned."
"""Before the names of the strategy's own arrays."""


@dataclass(frozen=True)
class KeptModel:
    """A strategy's model over items.

    Attributes:
        strategy: whose it is.
        settings: those that it was fitted with.
        learned: what the strategy learned.
        item_ids: of each position, sorted.
        in_catalogue: bool (items,).
        popularity: float32 (items,), share of the users who like an item.
        item_vectors: float32 (items × d), as the encoder gave them; zeros where there is none.
    """

    strategy: Strategy[Any]
    settings: Settings
    learned: Arrays
    item_ids: Sequence[str]
    in_catalogue: np.ndarray
    popularity: np.ndarray
    item_vectors: np.ndarray

    @classmethod
    def of(
        cls, strategy: Strategy[Any], settings: Settings, learned: Arrays, evidence: Evidence
    ) -> "KeptModel":
        """What is kept of a fit."""
        behaviour = evidence.behaviour
        return cls(
            strategy,
            settings,
            learned,
            behaviour.item_ids.tolist(),
            behaviour.in_catalogue,
            popularity(behaviour.positives),
            np.ascontiguousarray(evidence.item_vectors, dtype=np.float32),
        )

    @cached_property
    def fitted(self) -> Fitted:
        """What lists are made with."""
        return Fitted(
            self.strategy, self.strategy.load(self.learned, self.settings), self.popularity
        )

    @property
    def needs_order(self) -> bool:
        """Whether what scores, chosen among others or not, goes by the order of histories alone."""
        chosen = self.strategy.about(self.learned).get("chosen", self.strategy.name)
        return STRATEGIES[chosen].needs_order

    def save(self) -> Arrays:
        """Everything but strategy and settings, as arrays."""
        ids = [item_id.encode() for item_id in self.item_ids]
        return {
            "item_ids": np.frombuffer(b"".join(ids), dtype=np.uint8),
            "item_id_ends": np.cumsum([len(each) for each in ids], dtype=np.int64),
            "in_catalogue": self.in_catalogue.astype(np.uint8),
            "popularity": self.popularity,
            "item_vectors": self.item_vectors,
            **put_under(LEARNED, self.learned),
        }

    @classmethod
    def load(cls, arrays: Arrays, strategy: str, settings: Mapping[str, Any]) -> "KeptModel":
        """The model of what `save` gave.

        Args:
            arrays: they may be mapped from a file.
            strategy: its name.
            settings: its settings, as they are dumped.
        """
        own = STRATEGIES[strategy]
        text, ends = arrays["item_ids"].tobytes(), arrays["item_id_ends"].tolist()
        starts = [0, *ends][: len(ends)]
        return cls(
            own,
            own.settings.model_validate(settings),
            taken_from(LEARNED, arrays),
            [text[start:end].decode() for start, end in zip(starts, ends, strict=True)],
            arrays["in_catalogue"].astype(bool),
            arrays["popularity"],
            arrays["item_vectors"],
        )
