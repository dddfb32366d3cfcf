"""What evaluations found, as charts: dots with whiskers, and over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from recsys_dagster.serving.page.charts import Axis

RANKED = {
    "ndcg": "How much of the best possible order the lists reach; places near the top count more.",
    "recall": "Share of what users liked later that is in their lists.",
}
OF_CATALOGUE = {
    "coverage": "Share of the items that are in anybody's list.",
    "gini": "How unevenly items are shown: 0 all alike, 1 always the same.",
}
NAMES = {"ndcg": "NDCG", "recall": "Recall", "coverage": "Coverage", "gini": "Gini"}


@dataclass(frozen=True)
class Figure:
    """A number that was measured; without an interval where there is none."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Measured:
    """A metric of every strategy.

    Attributes:
        title: of the metric, with its k.
        why: what it says.
        axis: of its values and intervals.
        figures: by strategy, None where it could not be measured.
    """

    title: str
    why: str
    axis: Axis
    figures: Mapping[str, Figure | None]


@dataclass(frozen=True)
class Moment:
    """What one evaluation found of a strategy."""

    made_at: datetime
    strategy: str
    figure: Figure


@dataclass(frozen=True)
class Quality:
    """What is known of the quality of a catalog's lists.

    Attributes:
        made_at: when it was measured last.
        split: what was held back by.
        champion: the strategy that makes the lists.
        users: that it was measured on.
        strategies: the best first.
        metrics: of the lists' order.
        catalogue: of what the lists show of the catalogue.
        trend: the champion's NDCG over time, the oldest first.
        trend_axis: of it.
    """

    made_at: datetime
    split: str
    champion: str
    users: int
    strategies: Sequence[str]
    metrics: Sequence[Measured]
    catalogue: Sequence[Measured]
    trend: Sequence[Moment]
    trend_axis: Axis | None


def quality(entries: Sequence[Mapping[str, Any]]) -> Quality | None:
    """The last evaluation, and those before; None where nothing was measured."""
    if not entries:
        return None
    last = entries[-1]
    of_strategies: Mapping[str, Mapping[str, Any]] = last["strategies"]
    metrics = {name for figures in of_strategies.values() for name in figures}
    ks = [int(name.partition("@")[2]) for name in metrics if name.startswith("ndcg@")]
    if not ks:
        return None
    main = f"ndcg@{max(ks)}"
    values = {name: figures.get(main, {}).get("value") for name, figures in of_strategies.items()}
    strategies = sorted(values, key=lambda name: -(values[name] or 0.0))
    trend = [
        Moment(datetime.fromisoformat(entry["made_at"]), entry["champion"], found)
        for entry in entries
        if (found := _figure(entry["strategies"].get(entry["champion"], {}).get(main)))
    ]
    return Quality(
        datetime.fromisoformat(last["made_at"]),
        last["split"],
        last["champion"],
        max((own[main]["users"] for own in of_strategies.values() if main in own), default=0),
        strategies,
        [_measured(name, why, max(ks), strategies, last) for name, why in RANKED.items()],
        [_measured(name, why, max(ks), strategies, last) for name, why in OF_CATALOGUE.items()],
        trend,
        _axis([moment.figure for moment in trend]) if len(trend) > 1 else None,
    )


def _measured(
    name: str, why: str, k: int, strategies: Sequence[str], entry: Mapping[str, Any]
) -> Measured:
    figures = {
        own: _figure(entry["strategies"].get(own, {}).get(f"{name}@{k}")) for own in strategies
    }
    axis = (
        Axis(0.0, 1.0, (0.0, 0.5, 1.0))
        if name in OF_CATALOGUE
        else _axis([figure for figure in figures.values() if figure])
    )
    return Measured(f"{NAMES[name]}@{k}", why, axis, figures)


def _figure(found: Mapping[str, Any] | None) -> Figure | None:
    if not found or found["value"] is None:
        return None
    return Figure(found["value"], found["low"], found["high"])


def _axis(figures: Sequence[Figure]) -> Axis:
    ends = [each for one in figures for each in (one.value, one.low, one.high) if each is not None]
    return Axis.over(ends or [1.0])
