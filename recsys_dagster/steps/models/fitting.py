"""Which settings a catalog's strategies are fitted with, and fits that need not be made again."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from recsys_dagster.catalog.base import Settings
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.auto import AutoSettings
from recsys_dagster.steps.models.base import Arrays, Evidence, Strategy
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.models.popular import popularity

Tuned = Mapping[str, Mapping[str, float]]
"""What the search for settings found: strategy → setting → value."""
Learn = Callable[[Strategy[Any], Settings, Evidence], Arrays]
"""What learns, or knows what was learned before."""


def tuned_of(tuning: pd.DataFrame) -> Tuned:
    """What the table `tuning` says to use; nothing where nothing was ever searched for."""
    if tuning.empty:
        return {}
    chosen = tuning[tuning["chosen"]]
    return {
        strategy: json.loads(settings)
        for strategy, settings in zip(chosen["strategy"], chosen["settings"], strict=True)
    }


def settings_of(catalog: Catalog, strategy: str) -> Settings:
    """The settings that the catalog has for a strategy."""
    return getattr(catalog.models, strategy, None) or STRATEGIES[strategy].settings()


def used_of(tuned: Tuned, catalog: Catalog, strategy: str) -> dict[str, float]:
    """What is used of what was found for a strategy: no setting that the YAML names."""
    if not catalog.models.tuned:
        return {}
    named = settings_of(catalog, strategy).model_fields_set
    found = tuned.get(strategy, {})
    return {name: value for name, value in found.items() if name not in named}


def tuned_settings(catalog: Catalog, strategy: str, tuned: Tuned) -> Settings:
    """A strategy's settings with what is used of what was found for it.

    One that chooses among others has theirs, as they would be fitted with.
    """
    own = settings_of(catalog, strategy)
    if not isinstance(own, AutoSettings):
        return own.model_copy(update=used_of(tuned, catalog, strategy))
    of_candidates = {
        name: tuned_settings(catalog, name, tuned).model_dump(mode="json")
        | own.settings.get(name, {})
        for name in own.candidates
    }
    return own.model_copy(update={"settings": of_candidates})


def learned_with(strategy: Strategy[Any], settings: Settings) -> dict[str, Any]:
    """The settings that what is learned depends on."""
    scores_only = {name for name, mark in strategy.searched.items() if mark.scores_only}
    return settings.model_dump(mode="json", exclude=scores_only)


def learn(strategy: Strategy[Any], settings: Settings, evidence: Evidence) -> Arrays:
    """Learn, whatever was learned before.

    Raises:
        UserError: the strategy needs a package that is missing.
    """
    return strategy.learn(evidence, settings)


class Fits:
    """Fits on the same evidence, one after the other, that learn again only where they have to."""

    def __init__(self, evidence: Evidence, learn: Learn = learn) -> None:
        self._evidence = evidence
        self._popularity = popularity(evidence.behaviour.positives)
        self._learn = learn
        self._learned_with: tuple[str, dict[str, Any]] | None = None
        self._arrays: Arrays = {}

    def fit(self, name: str, settings: Settings) -> Fitted:
        """A strategy with settings; where only what scores depend on is another, at once.

        Raises:
            UserError: the strategy needs a package that is missing.
        """
        strategy = STRATEGIES[name]
        asked = (name, learned_with(strategy, settings))
        if asked != self._learned_with:
            self._arrays = {}  # memory is asked for one model, not for two
            self._arrays = self._learn(strategy, settings, self._evidence)
            self._learned_with = asked
        return Fitted(strategy, strategy.load(self._arrays, settings), self._popularity)
