"""A search for a strategy's settings: one knob after the other, judged on validation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import pandas as pd

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.steps.evaluation.comparison import HeldBack, Known, asked_for
from recsys_dagster.steps.evaluation.metrics import accuracy
from recsys_dagster.steps.evaluation.ranked import rank_for_evaluation
from recsys_dagster.steps.models.strategies import SCORING_SETTINGS, Fits

Settings = dict[str, float]

VALUES: dict[str, tuple[float, ...]] = {
    "recent_days": (3, 7, 14, 30, 90, 365),
    "recency_power": (0, 0.15, 0.3, 0.5, 0.8),
    "knn_neighbours": (20, 50, 100, 200, 500),
    "knn_shrinkage": (0, 10, 50, 200, 1000),
    "als_factors": (16, 32, 64, 128),
    "als_regularisation": (1, 3, 10, 30, 100),
    "als_confidence": (2, 5, 10, 40),
    "ease_regularisation": (25, 50, 100, 250, 500, 1000, 2000, 4000),
    "hybrid_regularisation": (25, 50, 100, 250, 500, 1000, 2000, 4000),
    "semantic_share": (0, 0.2, 0.5, 0.8, 0.95),
    "semantic_regularisation": (1, 5, 20),
    "dropout": (0, 0.25, 0.5, 0.65, 0.8),
    "user_weighting": (-1, -0.5, 0, 0.25, 0.5, 0.75),
    "item_weighting": (0, 0.25, 0.5),
    "hybrid_gfcf_weight": (0, 0.1, 0.2, 0.4, 0.8, 1.6),
    "hybrid_popularity_weight": (0, 0.3, 1, 3, 10),
}
"""What a knob may be set to, ascending."""
_L3AE = (
    "hybrid_regularisation",
    "dropout",
    "semantic_share",
    "item_weighting",
    "user_weighting",
    "semantic_regularisation",
)
KNOBS: dict[str, tuple[str, ...]] = {
    "recent": ("recent_days",),
    "item_knn": ("recency_power", "knn_neighbours", "knn_shrinkage"),
    "ease": ("recency_power", "ease_regularisation", "dropout"),
    "gfcf": ("recency_power",),
    "als": ("als_regularisation", "als_confidence", "als_factors"),
    "l3ae": ("recency_power", *_L3AE),
    "hybrid": (*SCORING_SETTINGS, _L3AE[0], "hybrid_gfcf_weight", *_L3AE[1:]),
}
"""The knobs of each strategy that has any: `SCORING_SETTINGS`, which are tried on the first fit,
then those that matter most."""


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes:
        settings: what differs from the settings that the search began with.
        users: float64 (users,), the figure of each validation user; NaN for those who do not
            count.
        seconds: what it took.
    """

    settings: Settings
    users: np.ndarray
    seconds: float

    @property
    def value(self) -> float:
        """The mean over users."""
        return float(np.nanmean(self.users))


def search(
    knobs: Mapping[str, Sequence[float]],
    start: Mapping[str, float],
    score: Callable[[Settings], np.ndarray],
    max_trials: int,
) -> Iterator[Trial]:
    """Climb from `start` along one knob after the other, to the next value as long as it helps.

    Nothing is drawn by chance: the same scores give the same trials. It ends after `max_trials`,
    or when no step from the best settings helps.

    Args:
        knobs: values of each knob, ascending, the knobs that matter most first.
        start: the value of each knob to begin with; it need not be among its values.
        score: settings that differ from `start` → float64 (users,), NaN for who does not count.
        max_trials: at least 1; the first one is `start` itself.
    """

    def attempt(settings: Settings) -> Trial:
        began = perf_counter()
        users = score(settings)
        return Trial(settings, users, perf_counter() - began)

    best = attempt({})
    yield best
    tried = [best.settings]
    moved = True
    while moved:
        moved = False
        for knob, values in knobs.items():
            for following in (_above, _below):
                value = best.settings.get(knob, start[knob])
                while (value := following(values, value)) is not None:
                    settings = {k: v for k, v in best.settings.items() if k != knob}
                    settings |= {} if value == start[knob] else {knob: value}
                    if settings in tried:
                        break
                    if len(tried) == max_trials:
                        return
                    trial = attempt(settings)
                    tried.append(settings)
                    yield trial
                    if trial.value <= best.value:
                        break
                    best, moved = trial, True


def _above(values: Sequence[float], value: float) -> float | None:
    return min((other for other in values if other > value), default=None)


def _below(values: Sequence[float], value: float) -> float | None:
    return max((other for other in values if other < value), default=None)


def chosen(trials: Sequence[Trial]) -> Trial:
    """The best trial, or the first one where the best is not surely better.

    Surely: ahead by more than one standard error of the difference user by user. The best of many
    trials looks better on validation than it is (the one-standard-error rule of Breiman, Friedman,
    Olshen & Stone, Classification and Regression Trees, 1984).
    """
    first = trials[0]
    best = max(trials, key=lambda trial: trial.value)
    return best if best.value - first.value > gain_error(best, first) else first


def gain_error(trial: Trial, first: Trial) -> float:
    """The standard error of the difference between two trials, user by user."""
    gains = trial.users - first.users
    counting = np.count_nonzero(~np.isnan(gains))
    return float(np.nanstd(gains, ddof=1) / np.sqrt(counting)) if counting > 1 else np.inf


def in_words(settings: Settings) -> str:
    """Settings as a person reads them."""
    if not settings:
        return "the catalog's own settings"
    return ", ".join(f"{knob} {value:g}" for knob, value in settings.items())


def free_knobs(catalog: Catalog, strategy: str) -> dict[str, tuple[float, ...]]:
    """The knobs of a strategy that the catalog's YAML does not name, with the values to try."""
    return {
        knob: VALUES[knob]
        for knob in KNOBS.get(strategy, ())
        if knob not in catalog.models.model_fields_set
    }


def tune(
    catalog: Catalog,
    held_back: HeldBack,
    known: Known,
    strategies: Sequence[str],
    k: int,
    max_trials: int,
    progress: Callable[[str, int, Trial], None] | None = None,
    doing: Callable[[str], None] = lambda _what: None,
) -> pd.DataFrame:
    """The table `tuning`: all that was tried for each strategy, by NDCG on validation.

    Models learn from train; the test pairs are not looked at.

    Args:
        catalog: its settings; the knobs that its YAML names keep their values.
        held_back: train and validation.
        known: texts as vectors.
        strategies: names, each of which gets the same number of trials.
        k: places of a list that count.
        max_trials: for each strategy, at least 1.
        progress: called with strategy, number of the trial and the trial, after each.
        doing: called with what begins, in words, before anything that takes long.
    """
    metric = f"ndcg@{k}"
    doing(f"putting together what was known before, from {len(held_back.train):,} interactions")
    evidence, users, valid = asked_for(held_back.valid, catalog, held_back, known)
    behaviour, fits = evidence.behaviour, Fits(evidence)

    rows = []
    for strategy in strategies:
        knobs = free_knobs(catalog, strategy)
        start = {knob: getattr(catalog.models, knob) for knob in knobs}
        trials: list[Trial] = []

        def score(
            settings: Settings, strategy: str = strategy, trials: list[Trial] = trials
        ) -> np.ndarray:
            doing(
                f"trying {strategy}, trial {len(trials) + 1} of at most {max_trials}, with "
                f"{in_words(settings)}: {evidence.in_words}; lists for {len(users):,} users"
            )
            models = catalog.models.model_copy(update=settings)
            own = catalog.model_copy(update={"strategy": strategy, "models": models})
            ranked = rank_for_evaluation(fits.fit(own), behaviour, users, behaviour.seen, k)
            return accuracy(ranked, valid, [k])[metric]

        for trial in search(knobs, start, score, max_trials):
            trials.append(trial)
            if progress:
                progress(strategy, len(trials), trial)
        winner = chosen(trials)
        rows += [
            {
                "strategy": strategy,
                "trial": number,
                "settings": trial.settings,
                "metric": metric,
                "users": np.count_nonzero(~np.isnan(trial.users)),
                "value": trial.value,
                "gain": trial.value - trials[0].value,
                "gain_error": gain_error(trial, trials[0]) if number > 1 else 0.0,
                "chosen": trial is winner,
                "seconds": trial.seconds,
            }
            for number, trial in enumerate(trials, start=1)
        ]
    return pd.DataFrame(rows)
