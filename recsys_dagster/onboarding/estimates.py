"""How long a run takes on this machine and how much memory, before it is started.

The rates were measured on two cores of a shared x86 server with bfloat16 instructions; another
machine is taken to be as fast a core. They tell minutes from hours, not one minute from two.
"""

from dataclasses import dataclass

import pandas as pd

from recsys_dagster.catalog.settings import FAST_TOKENS, Catalog
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.auto import AutoSettings
from recsys_dagster.steps.models.fitting import settings_of
from recsys_dagster.steps.models.memory import GIB, head_size, is_dense, needed_bytes

MEASURED_CORES = 2
TEXT_SECONDS, CHARACTER_SECONDS = 5e-4, 9e-6
"""Of all-MiniLM-L6-v2: 1,580 texts of 60 characters a second, 390 of 250, 110 of 1,000."""
STATIC_SECONDS, STATIC_TEXT_SECONDS = 10.0, 3e-5
"""Of the preset tiny: once of its model, and of a text."""
MAX_LENGTH = 1_000
"""Characters: the model's 256 tokens, what follows is cut off."""
CHARACTERS_A_TOKEN = 4
CUBE_SECONDS, LIKE_SECONDS, LENT_SECONDS = 1.2e-11, 1.7e-6, 1e-7
"""Of hybrid and l3ae, by items³, likes, and items × cold items: 3.5 s for 5,000 items and 400,000
likes, 9.6 s for 9,000, 14.1 s for these with 3 million likes; to lend the columns of 4,000 items
to 2,000 cold ones 0.6 s, those of 2,000 to 3,000 0.3 s."""
TAIL_SECONDS = 1e-7
"""Of the same where weights are learned densely of a part of the items, by these × all items."""
PAIR_SECONDS = 1e-8
"""Of item_knn, by items²: 0.8 s for 9,000 items."""
FROM_POSITIVES, DENSE = (
    tuple(name for name, strategy in STRATEGIES.items() if strategy.dense_over in over)
    for over in (("positives",), ("positives", "seen"))
)
"""Strategies whose memory is asked for before they are fitted, and those of them that learn of
items with positives alone."""
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
    longest = MAX_LENGTH if max_length is None else min(MAX_LENGTH, CHARACTERS_A_TOKEN * max_length)
    a_text = TEXT_SECONDS + CHARACTER_SECONDS * min(size.text_length, longest)
    return size.texts * a_text * MEASURED_CORES / cores


def fitting_seconds(strategy: str, size: Size, cores: int, available: int | None = None) -> float:
    """Of the strategy's model; 0 for those that take next to no time.

    Args:
        strategy: its name.
        size: of its tables.
        cores: of the machine.
        available: bytes of memory, or None where the system does not tell.
    """
    if strategy in DENSE:
        dense = dense_items(size, available)
        cold = size.items - size.learned
        arithmetic = CUBE_SECONDS * dense**3 + LENT_SECONDS * dense * cold
        if not is_dense(size.learned, size.items, available):
            arithmetic = CUBE_SECONDS * dense**3 + TAIL_SECONDS * dense * size.items
        return arithmetic * MEASURED_CORES / cores + LIKE_SECONDS * size.likes
    return PAIR_SECONDS * size.items**2 if strategy == "item_knn" else 0.0


def dense_items(size: Size, available: int | None) -> int:
    """How many items weights are learned of densely."""
    if is_dense(size.learned, size.items, available):
        return size.learned
    return head_size(size.learned, available)


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
    if catalog.strategy in DENSE:
        dense = dense_items(size, available)
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
        return STATIC_SECONDS + STATIC_TEXT_SECONDS * size.texts
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
