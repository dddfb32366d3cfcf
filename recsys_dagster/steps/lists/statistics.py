"""Numbers that say whether lists and texts look as they should: the gate's arithmetic."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

NO_LETTERS = "no letters"
JAPANESE = "Japanese"
_NAMES_OF_SCRIPTS = {
    "Cjk": "Han",
    "Ideographic": "Han",
    "Hiragana": "Kana",
    "Katakana": "Kana",
    "Modifier": "",  # letters of every script, such as the apostrophe of Ukrainian
}


@dataclass(frozen=True)
class Spread:
    """How recommendations spread over the items.

    Attributes:
        recommended: distinct items that are in some list.
        reachable: items that could be in some list: a catalogue of a million items and ten rows
            of lists have room for ten, and no strategy could do better.
        coverage: recommended over reachable. With room for all items it is the catalogue
            coverage of Ge, Delgado-Battenfeld and Jannach, "Beyond accuracy: evaluating
            recommender systems by coverage and serendipity" (RecSys 2010).
        concentration: Gini coefficient of how often the reachable items are recommended, 0: all
            alike; near 1: a few items are everywhere. As a measure of recommenders: Fleder and
            Hosanagar, "Blockbuster culture's next rise or fall" (Management Science, 2009).
    """

    recommended: int
    reachable: int
    coverage: float
    concentration: float

    @classmethod
    def of(cls, times_recommended: np.ndarray, items: int) -> "Spread":
        """The spread of some lists.

        Args:
            times_recommended: int (n,), how many lists hold each item that is in any, above 0.
            items: how many items may be recommended at all.
        """
        recommended = len(times_recommended)
        rows = int(times_recommended.sum())
        reachable = max(recommended, min(items, rows))
        never = np.zeros(reachable - recommended, dtype=np.int64)
        return cls(
            recommended,
            reachable,
            recommended / reachable if reachable else 0.0,
            gini(np.concatenate([times_recommended, never])),
        )


def gini(values: np.ndarray) -> float:
    """The Gini coefficient of non-negative values, in [0, 1); 0 where there is nothing to share.

    G = Σ_i (2i − n − 1) x_i / (n Σ_i x_i) with x ascending and i = 1..n (Damgaard and Weiner,
    "Describing inequality in plant size or fecundity", Ecology 2000). It is half the mean
    absolute difference of all pairs over the mean, without computing a pair.
    """
    ascending = np.sort(np.asarray(values, dtype=np.float64))
    n, total = len(ascending), ascending.sum()
    if total <= 0:
        return 0.0
    ranks = np.arange(1, n + 1)
    return float(((2 * ranks - n - 1) @ ascending) / (n * total))


def spaced_ranks(n: int, wanted: int) -> list[int]:
    """At most `wanted` ranks of 1..n, evenly spaced on a logarithmic scale, both ends included.

    Popularity falls about as a power of the rank: evenly spaced ranks would nearly all lie in the
    tail, where nobody knows the items.
    """
    if n < 1:
        return []
    return sorted({round(rank) for rank in np.geomspace(1, n, wanted).tolist()})


def script_shares(texts: Iterable[str]) -> dict[str, float]:
    """The share of texts in each script, the most frequent script first."""
    counts = Counter(map(script_of, texts))
    total = counts.total()
    return {
        script: count / total
        for script, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    }


def script_of(text: str) -> str:
    """The script that most letters of a text belong to, such as Latin, Han, Cyrillic or Arabic.

    Python knows no script property (Unicode Standard Annex #24), but the name of a letter begins
    with its script. A text with kana is Japanese, its Han letters with it, as in the script sets
    of Unicode Technical Standard #39.
    """
    counts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        script = _script_of_letter(character)
        if script:
            counts[script] += count
    if "Kana" in counts:
        counts[JAPANESE] = counts.pop("Kana") + counts.pop("Han", 0)
    return max(sorted(counts), key=counts.__getitem__, default=NO_LETTERS)


@lru_cache(maxsize=65_536)
def _script_of_letter(character: str) -> str:
    """The script of a letter; "" for what is no letter, or is one of every script."""
    if not unicodedata.category(character).startswith("L"):
        return ""
    words = unicodedata.name(character, "").replace("-", " ").split()
    script = words[0].title() if words else ""
    return _NAMES_OF_SCRIPTS.get(script, script)
