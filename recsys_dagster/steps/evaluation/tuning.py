"""A search for a strategy's settings: one setting after the other, judged on validation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recsys_dagster.catalog.base import Settings
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.compute.blocks import LOCAL, Compute
from recsys_dagster.steps.evaluation.comparison import HeldBack, Known, asked_for
from recsys_dagster.steps.evaluation.metrics import accuracy
from recsys_dagster.steps.evaluation.ranked import rank_for_evaluation
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.fitting import Fits, Learn, learn, settings_of

Values = dict[str, float]


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes:
        settings: what differs from the settings that the search began with.
        users: float64 (users,), the figure of each validation user; NaN for those who do not
            count.
        seconds: what it took.
    """

    settings: Values
    users: np.ndarray
    seconds: float

    @property
    def value(self) -> float:
        """The mean over users."""
        return float(np.nanmean(self.users))


def search(
    ladders: Mapping[str, Sequence[float]],
    start: Mapping[str, float],
    score: Callable[[Values], np.ndarray],
    max_trials: int,
    clock: Callable[[], float] = lambda: 0.0,
) -> Iterator[Trial]:
    """Climb from `start` along one setting after the other, to the next value as long as it helps.

    Nothing is drawn by chance: the same scores give the same trials. It ends after `max_trials`,
    or when no step from the best settings helps.

    Args:
        ladders: values of each setting, ascending, those that matter most first.
        start: the value of each setting to begin with; it need not be among its values.
        score: settings that differ from `start` → float64 (users,), NaN for who does not count.
        max_trials: at least 1; the first one is `start` itself.
        clock: tells seconds.
    """

    def attempt(settings: Values) -> Trial:
        began = clock()
        users = score(settings)
        return Trial(settings, users, clock() - began)

    best = attempt({})
    yield best
    tried = [best.settings]
    moved = True
    while moved:
        moved = False
        for name, values in ladders.items():
            for following in (_above, _below):
                value = best.settings.get(name, start[name])
                while (value := following(values, value)) is not None:
                    settings = {k: v for k, v in best.settings.items() if k != name}
                    settings |= {} if value == start[name] else {name: value}
                    if settings in tried:
                        break
                    if len(tried) == max_trials:
                        return
                    trial = attempt(settings)
                    tried.append(settings)
                    yield trial
                    if not trial.value > best.value:  # nor where it is NaN
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


def in_words(settings: Values) -> str:
    """Settings as a person reads them."""
    if not settings:
        return "the catalog's own settings"
    return ", ".join(f"{name} {value:g}" for name, value in settings.items())


def free_settings(catalog: Catalog, strategy: str) -> dict[str, tuple[float, ...]]:
    """The settings of a strategy that are searched for, with the values to try.

    Those that the catalog's YAML names are left alone.
    """
    named = settings_of(catalog, strategy).model_fields_set
    return {
        name: mark.values
        for name, mark in STRATEGIES[strategy].searched.items()
        if name not in named
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
    clock: Callable[[], float] = lambda: 0.0,
    learn: Learn = learn,
    compute: Compute = LOCAL,
) -> pd.DataFrame:
    """The table `tuning`: all that was tried for each strategy, by NDCG on validation.

    Models learn from train; the test pairs are not looked at.

    Args:
        catalog: its settings; the settings that its YAML names keep their values.
        held_back: train and validation.
        known: texts as vectors.
        strategies: names, each of which gets the same number of trials.
        k: places of a list that count.
        max_trials: for each strategy, at least 1.
        progress: called with strategy, number of the trial and the trial, after each.
        doing: called with what begins, in words, before anything that takes long.
        clock: tells seconds.
        learn: learns, or knows what was learned from the same train part before.
        compute: does the blocks of lists.
    """
    metric = f"ndcg@{k}"
    doing(f"putting together what was known before, from {len(held_back.train):,} interactions")
    question = asked_for(held_back.valid, catalog, held_back, known, compute)
    evidence, users, valid = question.evidence, question.users, question.pairs
    behaviour, fits = evidence.behaviour, Fits(evidence, learn)

    rows = []
    for strategy in strategies:
        free, own = free_settings(catalog, strategy), settings_of(catalog, strategy)
        start = {name: getattr(own, name) for name in free}
        trials: list[Trial] = []

        def score(
            settings: Values,
            strategy: str = strategy,
            own: Settings = own,
            trials: list[Trial] = trials,
        ) -> np.ndarray:
            doing(
                f"trying {strategy}, trial {len(trials) + 1} of at most {max_trials}, with "
                f"{in_words(settings)}: {evidence.in_words}; lists for {len(users):,} users"
            )
            fitted = fits.fit(strategy, own.model_copy(update=settings))
            ranked = rank_for_evaluation(
                fitted,
                behaviour,
                question.similarity_matrix,
                users,
                behaviour.seen,
                k,
                compute=compute,
            )
            return accuracy(ranked, valid, [k])[metric]

        for trial in search(free, start, score, max_trials, clock):
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
