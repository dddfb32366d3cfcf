"""The error a person can act on; everything else is a bug and keeps its traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Bad input or settings: the message says what was found, what was expected, what to do."""


class UnknownNameError(UserError):
    """Something was asked for by a name that nothing has; the nearest names are in the message."""


class UnfittableError(UserError):
    """A strategy cannot be fitted on this machine, or to these data; another one may be."""


def install(extra: str) -> str:
    """What to type where an extra is missing: the project is on no index of packages."""
    return f"pip install -e '.[{extra}]' in the folder of recsys_dagster"


def nearest(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """The names most like `name`, best first, compared without regard to case."""
    by_folded: dict[str, str] = {}
    for candidate in names:
        by_folded.setdefault(candidate.casefold(), candidate)
    matches = get_close_matches(name.casefold(), by_folded, n=limit, cutoff=0.6)
    return [by_folded[match] for match in matches]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A sentence with the nearest names, or the known ones where none is near, or nothing.

    Nearest to a structure are its fields, which are columns such as `user.id`.
    """
    known = list(names)
    if not known:
        return ""
    matches = [other for other in known if other.startswith(f"{name}.")] or nearest(name, known)
    if matches:
        return f" Did you mean {' or '.join(repr(match) for match in matches)}?"
    shown = ", ".join(repr(candidate) for candidate in known[:10])
    return f" Known: {shown}{', …' if len(known) > 10 else ''}."
