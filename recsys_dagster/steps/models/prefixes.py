"""Arrays of several things in one mapping: each thing's names under a prefix of its own."""

from collections.abc import Mapping

import numpy as np


def put_under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays with a prefix before their names."""
    return {f"{prefix}{name}": array for name, array in arrays.items()}


def taken_from(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
