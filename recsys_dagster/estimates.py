"""How long a run takes on this machine and how much memory, before it is started."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """How much there is to work on.

    Attributes:
        users: with an interaction.
        items: all that are known, of the catalogue or of interactions.
        learned: items that somebody likes.
        likes: pairs of a user and an item.
        texts: items with a text.
        text_length: characters of a text, on average.
    """

    users: int
    items: int
    learned: int
    likes: int
    texts: int
    text_length: float
