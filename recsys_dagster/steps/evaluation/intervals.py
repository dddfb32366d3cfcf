"""How sure a figure is: one paired bootstrap over users for all strategies and metrics.

Efron & Tibshirani, An Introduction to the Bootstrap, 1993; in evaluation Sakai, Evaluating
Evaluation Metrics based on the Bootstrap, SIGIR 2006.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

BLOCK_USERS = 4096
RESAMPLES = 1000
LEVEL = 0.95
_DECIMALS = 12

Scores = Mapping[tuple[str, str], np.ndarray]
"""Float64 (users,) by slice and metric; NaN for users who do not count."""


@dataclass(frozen=True)
class Bootstrap:
    """Means over users of every strategy and metric, and over the same resampled users.

    Attributes:
        strategies: their names.
        metrics: slice and metric of each figure.
        users: int64 (metrics,), users who count.
        values: float64 (strategies × metrics), means over these users; NaN where there are none.
        resampled: float64 (resamples × strategies × metrics), means over users drawn with
            replacement, the same users for all strategies and metrics.
    """

    strategies: tuple[str, ...]
    metrics: tuple[tuple[str, str], ...]
    users: np.ndarray
    values: np.ndarray
    resampled: np.ndarray

    @classmethod
    def of(
        cls, scores: Mapping[str, Scores], resamples: int = RESAMPLES, seed: int = 0
    ) -> "Bootstrap":
        """Draw users and take the means.

        Users are drawn from all, so the number of those who count in a slice varies as it does
        when users come by chance. Memory is resamples × 4096 numbers, however many users.

        Args:
            scores: of each strategy, the same metrics of the same users.
            resamples: how often to draw.
            seed: of the draws; the same seed and users give the same draws.

        Raises:
            ValueError: strategies do not have the same metrics, users or users who count.
        """
        strategies = tuple(scores)
        metrics = tuple(scores[strategies[0]])
        if any(own.keys() != set(metrics) for own in scores.values()):
            raise ValueError("strategies must have the same metrics")
        columns = [scores[name][metric] for name in strategies for metric in metrics]
        users = len(columns[0])
        if any(len(column) != users for column in columns):
            raise ValueError("strategies must have the same users")

        totals, counts = np.zeros(len(columns)), np.zeros(len(metrics), dtype=np.int64)
        sums, drawn = np.zeros((resamples, len(columns))), np.zeros((resamples, len(metrics)))
        for start, weights in _draws(users, resamples, seed):
            end = start + weights.shape[1]
            block = np.stack([column[start:end] for column in columns])
            counted = ~np.isnan(block).reshape(len(strategies), len(metrics), -1)
            if (counted != counted[0]).any():
                raise ValueError("strategies must have scores of the same users in each metric")
            np.nan_to_num(block, copy=False)
            totals += block.sum(axis=1)
            counts += counted[0].sum(axis=1)
            sums += weights @ block.T
            drawn += weights @ counted[0].T
        shape = (len(strategies), len(metrics))
        return cls(
            strategies,
            metrics,
            counts,
            _ratio(totals.reshape(shape), counts),
            _ratio(sums.reshape(resamples, *shape), drawn[:, None]),
        )

    def intervals(self, level: float = LEVEL) -> pd.DataFrame:
        """Every figure with its percentile interval.

        Returns:
            A row a strategy and metric: strategy, slice, metric, users, value, low, high.
        """
        low, high = self._quantiles(self.resampled, level)
        return self._table(self.strategies, value=self.values, low=low, high=high)

    def differences(self, baseline: str, level: float = LEVEL) -> pd.DataFrame:
        """How much better every other strategy is than one of them, user by user.

        p = 2 min(P(d* ≤ 0), P(d* ≥ 0)) over the resampled differences d*, counting one draw more
        on each side so that it is never 0: p < 1 − level goes with an interval without 0. The
        smallest possible is 2 / (resamples + 1). `p_holm` holds for all the strategies of a metric
        together.

        Args:
            baseline: the strategy to compare with, such as popular or the champion's.
            level: of the intervals.

        Returns:
            A row a strategy and metric: strategy, baseline, slice, metric, users, difference, low,
            high, p_value, p_holm.
        """
        base = self.strategies.index(baseline)
        others = [place for place in range(len(self.strategies)) if place != base]
        # Equal scores may differ in the last bits after a matrix product; they must count as 0.
        difference = np.round(self.values[others] - self.values[[base]], _DECIMALS)
        resampled = np.round(self.resampled[:, others] - self.resampled[:, [base]], _DECIMALS)
        low, high = self._quantiles(resampled, level)
        p_values = two_sided(resampled)
        p_holm = np.stack([holm(column) for column in p_values.T], axis=1)
        return self._table(
            [self.strategies[place] for place in others],
            baseline=baseline,
            difference=difference,
            low=low,
            high=high,
            p_value=p_values,
            p_holm=p_holm,
        )

    def _table(self, strategies: Sequence[str], **figures: np.ndarray | str) -> pd.DataFrame:
        """A row a strategy and metric, of figures (strategies × metrics) or the same for all."""
        slices, metrics = zip(*self.metrics, strict=True)
        times = len(strategies)
        return pd.DataFrame(
            {
                "strategy": np.repeat(np.array(strategies, dtype=object), len(metrics)),
                "slice": slices * times,
                "metric": metrics * times,
                "users": np.tile(self.users, times),
            }
            | {
                name: np.ravel(of) if isinstance(of, np.ndarray) else of
                for name, of in figures.items()
            }
        )

    def _quantiles(self, resampled: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Both ends of the middle `level` of the resamples, each (strategies × metrics)."""
        ends = np.full((2, *resampled.shape[1:]), np.nan)
        some = self.users > 0
        # A resample may miss every user of a small slice.
        ends[:, :, some] = np.nanquantile(
            resampled[:, :, some], [(1 - level) / 2, (1 + level) / 2], axis=0
        )
        return ends[0], ends[1]


def two_sided(resampled: np.ndarray) -> np.ndarray:
    """Bootstrap p-values of differences from 0; NaN where there are none.

    Args:
        resampled: float64 (resamples × …), NaN where a resample tells nothing.
    """
    told = np.count_nonzero(~np.isnan(resampled), axis=0)
    least = np.minimum((resampled <= 0).sum(axis=0), (resampled >= 0).sum(axis=0))
    return np.where(told > 0, np.minimum(1, 2 * (least + 1) / (told + 1)), np.nan)


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values that hold for all of a family together; NaN stay and do not count.

    In ascending order p̃_i = max_{j≤i} min(1, (m − j + 1) p_j). (Holm, A Simple Sequentially
    Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 1979.)

    Args:
        p_values: float64 (m,).
    """
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * p_values[order]))
    return adjusted


def _draws(users: int, resamples: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """How often each resample draws each user, a block of users at a time.

    Multinomial counts of `users` draws: first how many fall into each block, then, within it, on
    whom. Blocks make the memory small and the products fast.

    Yields:
        The first user of a block, and float64 (resamples × block).
    """
    random = np.random.default_rng(seed)
    starts = np.arange(0, users, BLOCK_USERS)
    sizes = np.diff(starts, append=users)
    if not users:
        return
    falls = random.multinomial(users, sizes / users, size=resamples)
    for start, size, draws in zip(starts.tolist(), sizes.tolist(), falls.T.tolist(), strict=True):
        weights = np.empty((resamples, size))
        # A row at a time stays in the cache; 16 bits are enough for the users of a block.
        for row, drawn in enumerate(draws):
            picked = random.integers(size, size=drawn, dtype=np.uint16)
            weights[row] = np.bincount(picked, minlength=size)
        yield start, weights


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means; NaN where nobody counts."""
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
