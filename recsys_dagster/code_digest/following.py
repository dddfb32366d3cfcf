"""Everything that is executed by some names, and its fingerprint."""

import gc
import hashlib
from collections.abc import Iterable
from functools import cache

from recsys_dagster.code_digest.modules import NOT_FOLLOWED, WHOLE, Place, file_of, parsed
from recsys_dagster.code_digest.units import Unit, units_of


def code_digest(places: Iterable[Place]) -> str:
    """A fingerprint of all that is executed by functions, classes or constants.

    Args:
        places: of each its module and its name there; the name `*` is the whole module.

    Returns:
        hexadecimal.

    Raises:
        LookupError: a module has no such name.
    """
    # Nothing of a tree is garbage; looking for some takes as long again as parsing.
    collecting = gc.isenabled()
    gc.disable()
    try:
        reached = _reached(places)
    finally:
        if collecting:
            gc.enable()
    said = sorted((unit.place, unit.digest) for unit in reached)
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _reached(places: Iterable[Place]) -> set[Unit]:
    """The closure of what places use."""
    reached: set[Unit] = set()
    asked: set[str] = set()
    waiting_methods: dict[str, list[Unit]] = {}
    seen: set[tuple[Place, bool]] = set()
    places_left: list[tuple[Place, bool]] = [(place, False) for place in places]
    units_left: list[Unit] = []
    while places_left or units_left:
        while places_left:
            place, as_type = places_left.pop()
            if (place, as_type) in seen:
                continue
            seen.add((place, as_type))
            units, more = _found(place)
            places_left += [(other, as_type) for other in more]
            for unit in units:
                if as_type and not unit.is_class:
                    places_left += [(other, True) for other in unit.as_type]
                else:
                    units_left.append(unit)
        if units_left:
            unit = units_left.pop()
            if unit in reached:
                continue
            reached.add(unit)
            places_left.append(((unit.place[0], ""), False))
            places_left += [(other, False) for other in unit.uses]
            places_left += [(other, True) for other in unit.types]
            for name, methods in unit.methods.items():
                if name in asked:
                    units_left += methods
                else:
                    waiting_methods.setdefault(name, []).extend(methods)
            for name in unit.attributes - asked:
                units_left += waiting_methods.pop(name, [])
            asked |= unit.attributes
    return reached


@cache
def _found(place: Place) -> tuple[tuple[Unit, ...], tuple[Place, ...]]:
    """What defines a name, or the places that it comes from."""
    module, name = place
    if module in NOT_FOLLOWED or f"{module}.{name}" in NOT_FOLLOWED:
        return (), ()
    own = parsed(module)
    if name == WHOLE:
        return (), (*((module, each) for each in own.units), *own.imports.values(), (module, ""))
    if name == "" or name in own.units:
        return units_of(module, name), ()
    if name in own.imports:
        return (), (own.imports[name],)
    if file_of(f"{module}.{name}") is not None:
        return (), ((f"{module}.{name}", WHOLE),)
    raise LookupError(f"{module}: there is no {name}")
