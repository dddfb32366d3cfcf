"""How long a run takes on this machine and how much memory, before it is started.

Rates are those of plans (`sizing/rates.py`): where none were measured here, a core is taken to be
as fast as the one of the shipped rates. They tell minutes from hours, not one minute from two.
"""

from dataclasses import dataclass

import pandas as pd

from recsys_dagster.catalog.settings import FAST_TOKENS, Catalog
from recsys_dagster.onboarding.sizing.rates import known_rates
from recsys_dagster.onboarding.sizing.workload import (
    CHARACTERS_A_TOKEN,
    DENSE,
    FITTED_DENSELY,
    FROM_POSITIVES,
    TEXT_CHARACTERS,
    dense_items,
)
from recsys_dagster.steps.models.auto import AutoSettings
from recsys_dagster.steps.models.fitting import settings_of
from recsys_dagster.steps.models.memory import GIB, is_dense, needed_bytes

WORTH_SAYING = 60.0
MIN_SHOWN_GIB = 0.1
"""GiB."""


@dataclass(frozen=True)
class Size:
    """How much there is to work on.

    Attributes:
        items: all that are known, of the catalogue or of interactions.
        learned: items that something is learned of.
        likes: pairs of a user and an item.
        texts: items with a text.
        text_length: characters of a text, on average.
    """

    items: int
    learned: int
    likes: int
    texts: int
    text_length: float


def size_of(
    strategy: str, interactions: pd.DataFrame, items: pd.DataFrame, texts: pd.DataFrame | None
) -> Size:
    """What a strategy has to do with tables `interactions` and `items`, and the composed texts."""
    is_learned = (
        interactions["positive"] if strategy in FROM_POSITIVES else ~interactions["left_out"]
    )
    learned = interactions.loc[is_learned, "item_id"].unique()
    known = pd.Index(items["item_id"]).union(pd.Index(interactions["item_id"].unique()))
    lengths = pd.Series(dtype="float64") if texts is None else texts["text"].str.len()
    length = float(lengths.mean()) if len(lengths) else 0.0
    return Size(len(known), len(learned), int(interactions["positive"].sum()), len(lengths), length)


def encoding_seconds(size: Size, cores: int, max_length: int | None = None) -> float:
    """Of the default encoder without a GPU."""
    rates = known_rates().seconds["encode"]
    longest = TEXT_CHARACTERS
    if max_length is not None:
        longest = min(longest, CHARACTERS_A_TOKEN * max_length)
    a_text = rates["texts"] + rates["characters"] * min(size.text_length, longest)
    return size.texts * a_text / cores


def fitting_seconds(strategy: str, size: Size, cores: int, available: int | None = None) -> float:
    """Of the strategy's model; 0 for those that take next to no time.

    Args:
        strategy: its name.
        size: of its tables.
        cores: of the machine.
        available: bytes of memory, or None where the system does not tell.
    """
    rates = known_rates().seconds["model"]
    if strategy in DENSE:
        dense = dense_items(size.learned, size.items, available)
        rest = rates["lent"] * dense * (size.items - size.learned)
        if not is_dense(size.learned, size.items, available):
            rest = rates["tail"] * dense * size.items
        return (rates["cubes"] * dense**3 + rest) / cores + rates["likes"] * size.likes
    return rates["pairs"] * size.items**2 if strategy == "item_knn" else 0.0


def estimate(catalog: Catalog, size: Size, cores: int, available: int | None, gpu: bool) -> str:
    """A line for people: minutes and memory on this machine.

    Args:
        catalog: what would be run.
        size: of its tables.
        cores: of the machine.
        available: bytes of memory, or None where the system does not tell.
        gpu: whether texts are encoded by one.
    """
    parts = []
    encoding = 0.0
    if catalog.encoder.model != "tfidf" and not gpu:
        encoding = _encoding(catalog, size, cores)
        parts.append(f"encoding {size.texts:,} texts {_time(encoding)}")
    bound = _minutes(catalog, catalog.strategy)
    if bound is None:
        fitting, most = fitting_seconds(catalog.strategy, size, cores, available), ""
    else:
        # What is trained has hybrid beside it.
        fitting = 60 * bound + fitting_seconds("hybrid", size, cores, available)
        most = "at most "
    over, memory = f"{size.learned:,} items", ""
    if catalog.strategy in FITTED_DENSELY:
        dense = dense_items(size.learned, size.items, available)
        if not is_dense(size.learned, size.items, available):
            over += f", densely over {dense:,},"
        needed = needed_bytes(size.learned, size.items, available) / GIB
        memory = f" and {max(needed, MIN_SHOWN_GIB):.1f} GiB"
        memory += "" if available is None else f" ({available / GIB:.1f} GiB available)"
    parts.append(f"{catalog.strategy} over {over} {most}{_time(fitting)}")
    about = "about " * (encoding + fitting >= WORTH_SAYING)
    return f"On this machine: {about}{_time(encoding + fitting)}{memory}: {', '.join(parts)}."


def _encoding(catalog: Catalog, size: Size, cores: int) -> float:
    """Seconds of encoding without a GPU, with a catalog's preset."""
    preset, limit = catalog.encoder.preset, catalog.encoder.max_length
    if preset == "tiny":
        rates = known_rates().seconds["encode"]
        return rates["tiny_models"] + rates["tiny_texts"] * size.texts
    if preset == "fast":
        limit = min(FAST_TOKENS, limit or FAST_TOKENS)
    return encoding_seconds(size, cores, limit)


def _minutes(catalog: Catalog, strategy: str) -> float | None:
    """After which a fit has ended at the latest; None where that is not set."""
    own = settings_of(catalog, strategy)
    minutes: float | None = getattr(own, "minutes", None)
    if isinstance(own, AutoSettings):  # the competition, and the winner once more
        return own.minutes + max(_minutes(catalog, name) or 0 for name in own.candidates)
    return minutes


def _time(seconds: float) -> str:
    if seconds < WORTH_SAYING:
        return "under a minute"
    if seconds < 90 * 60:
        minutes = round(seconds / 60)
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    return f"{seconds / 3600:.1f} hours"
