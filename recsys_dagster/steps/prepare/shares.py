"""Figures for people that never cross a bound when they are rounded."""

MAX_DECIMALS = 12


def percent(share: float, bound: float | None = None) -> str:
    """A share such as "94.96%": as many decimals as it takes to be on its own side of the bound.

    Nothing but all is "100%" with any decimals, and nothing but nothing "0.0%".
    """
    bounds = (0.0, 1.0) if bound is None else (0.0, 1.0, bound)
    return f"{beside(100 * share, tuple(100 * each for each in bounds), decimals=1)}%"


def expected(bound: float) -> str:
    """A bound for people, as it is in the YAML: "95%", "99.5%"."""
    return f"{round(100 * bound, MAX_DECIMALS - 2):g}%"


def beside(figure: float, bounds: tuple[float, ...], decimals: int) -> str:
    """A figure with so many decimals, or as many more as leave it on its side of each bound."""
    for more in range(decimals, MAX_DECIMALS):
        text = f"{figure:.{more}f}"
        if all(_side(float(text), bound) == _side(figure, bound) for bound in bounds):
            return text
    return f"{figure:g}"


def _side(figure: float, bound: float) -> int:
    difference = round(figure - bound, MAX_DECIMALS - 2)
    return (difference > 0) - (difference < 0)
