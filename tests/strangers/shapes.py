"""All shapes, those of text files first."""

from tests.strangers import shapes_broken, shapes_other, shapes_text  # noqa: F401  (each keeps its own)
from tests.strangers.shape import SHAPES

__all__ = ["SHAPES"]
