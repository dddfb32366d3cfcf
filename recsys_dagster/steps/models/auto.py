"""auto: whichever strategy finds what is hidden; the simplest of those that are as good."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, create_model, field_validator
from scipy import sparse

from recsys_dagster.catalog.base import Settings
from recsys_dagster.errors import UnfittableError, UserError
from recsys_dagster.steps.models.base import (
    NOT_RANKED,
    Arrays,
    Evidence,
    Model,
    Strategy,
    UserBlock,
)
from recsys_dagster.steps.models.prefixes import put_under
from recsys_dagster.steps.models.validation import ndcgs_of, users_at_once, without_newest

BLOCK_USERS = 500
COMPETITION = "competition"
"""The array with what the competition found: JSON, as bytes."""
STANDARD_ERRORS = 1.96
"""On either side of a mean difference, of a 95 % interval."""
FOUND = "found."
"""In a checkpoint, before the name of a candidate: the NDCG of each user who is asked."""


class AutoSettings(Settings):
    """Who competes, and for how long."""

    minutes: Annotated[float, Field(gt=0, le=10_000)] = Field(
        default=30.0,
        description="the competition ends after so long; what wins is then fitted on everything",
    )
    candidates: tuple[str, ...] = Field(
        min_length=1, description="strategies that compete, the simplest first"
    )
    settings: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="settings of candidates, where they are to be others than under `models`, as "
        "`{neural: {minutes: 3}}`",
    )


def strategy_of(candidates: Mapping[str, Strategy[Any]], default: Sequence[str]) -> Strategy[Any]:
    """The strategy that chooses.

    Args:
        candidates: all strategies that may compete, by name.
        default: those that do where the YAML names none, the simplest first.
    """
    names = tuple(candidates)

    def settings_are_known(value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, own in value.items():
            if name not in candidates:
                raise ValueError(f"{name!r} is no candidate: expected are {', '.join(names)}")
            candidates[name].settings.model_validate(own)
        return value

    settings: Any = create_model(
        "AutoSettings",
        __base__=AutoSettings,
        __doc__=AutoSettings.__doc__,
        __validators__={"known": field_validator("settings")(settings_are_known)},
        candidates=(
            tuple[Literal[names], ...],  # ty: ignore[invalid-type-form]
            Field(
                default=tuple(default),
                min_length=1,
                description=AutoSettings.model_fields["candidates"].description,
            ),
        ),
    )

    def learn_best(evidence: Evidence, own: AutoSettings) -> Arrays:
        return learn(evidence, own, candidates)

    def load(arrays: Arrays, own: AutoSettings) -> Model:
        chosen = about(arrays)["chosen"]
        return candidates[chosen].load(arrays, candidate_settings(candidates, own, chosen))

    columns = dict.fromkeys(column for own in candidates.values() for column in own.columns)
    return Strategy(
        name="auto",
        settings=settings,
        formula="the simplest of several strategies whose NDCG@20, for the newest positives hidden "
        "from all of them, is within the 95 % interval of the best one's; it is then fitted on "
        "everything",
        columns=tuple(columns),
        learn=learn_best,
        load=load,
        about=about,
    )


def candidate_settings(
    candidates: Mapping[str, Strategy[Any]], settings: AutoSettings, name: str
) -> Settings:
    """The settings that a candidate has."""
    return candidates[name].settings.model_validate(settings.settings.get(name, {}))


def about(arrays: Arrays) -> dict[str, Any]:
    """What was chosen and why.

    Returns:
        `chosen`; `users`, how many were asked; and `candidates`, each with `strategy`, `ndcg`, how
        far it is `behind` the best, `within` which it is as good, and `seconds`; or with a `reason`
        why it took no part.
    """
    return json.loads(arrays[COMPETITION].tobytes())


def learn(
    evidence: Evidence, settings: AutoSettings, candidates: Mapping[str, Strategy[Any]]
) -> Arrays:
    """Let candidates compete on what is hidden from them, and fit the winner on everything.

    Raises:
        UserError: no candidate can be fitted.
    """
    trainer = evidence.trainer
    found, rows = compete(evidence, settings, candidates)
    if not found:
        reasons = "; ".join(f"{row['strategy']}: {row['reason']}" for row in rows)
        raise UserError(f"strategy: auto could fit none of its candidates: {reasons}")
    chosen, best = simplest(found), best_of(found)
    for row in rows:
        if row["strategy"] in found:
            row["behind"], row["within"] = difference(found[best], found[row["strategy"]])
    trainer.say(f"{chosen} is chosen: the simplest within the interval of the best, {best}")
    own = candidates[chosen]
    whole = replace(evidence, trainer=trainer.part("chosen", put_under(FOUND, found)))
    told = {
        "chosen": chosen,
        "users": len(found[best]),
        "candidates": rows,
    }
    return own.learn(whole, candidate_settings(candidates, settings, chosen)) | {
        COMPETITION: np.frombuffer(json.dumps(told).encode(), dtype=np.uint8)
    }


def compete(
    evidence: Evidence, settings: AutoSettings, candidates: Mapping[str, Strategy[Any]]
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """What each candidate finds of what is hidden from all of them.

    A candidate that cannot be fitted takes no part, nor one whose turn comes when time is over.
    Those that are trained share what is left of it.

    Returns:
        NDCG@20 of each user who is asked, float64 (users,), by candidate, in their order; and a
        row for each, as `about` has it.
    """
    trainer = evidence.trainer
    visible, hidden = without_newest(evidence)
    asked = np.flatnonzero(np.diff(hidden.indptr))
    found = {
        name: trainer.resumed[f"{FOUND}{name}"]
        for name in settings.candidates
        if f"{FOUND}{name}" in trainer.resumed
    }
    rows: list[dict[str, Any]] = []
    for place, name in enumerate(settings.candidates):
        part = trainer.part(name, put_under(FOUND, found))
        began = trainer.seconds() - part.seconds()  # before it was cut off, where it was
        left = settings.minutes - began / 60
        if name not in found and found and left <= 0:
            rows.append({"strategy": name, "reason": f"{settings.minutes:g} minutes were over"})
            continue
        if name not in found:
            trainer.say(f"{name} competes: {visible.in_words}")
            own = candidates[name]
            own_settings = candidate_settings(candidates, settings, name)
            if left > 0:
                minutes = left / _trained(settings.candidates[place:], candidates)
                own_settings = _bounded(own_settings, minutes)
            learns_from = replace(visible, trainer=part)
            try:
                found[name] = _ndcgs(own.fit(learns_from, own_settings), visible, asked, hidden)
            except UnfittableError as error:
                rows.append({"strategy": name, "reason": str(error)})
                continue
        ndcg = float(np.mean(found[name])) if len(asked) else None
        rows.append({"strategy": name, "ndcg": ndcg, "seconds": trainer.seconds() - began})
        trainer.checkpoint(put_under(FOUND, found))
    return {name: found[name] for name in settings.candidates if name in found}, rows


def _trained(names: Sequence[str], candidates: Mapping[str, Strategy[Any]]) -> int:
    """How many of some candidates are trained for a time that is set; at least 1."""
    return max(1, sum("minutes" in candidates[name].settings.model_fields for name in names))


def _bounded(settings: Settings, minutes: float) -> Settings:
    """The settings, with which a training takes no longer than so many minutes."""
    own: float | None = getattr(settings, "minutes", None)
    return settings if own is None else settings.model_copy(update={"minutes": min(own, minutes)})


def best_of(found: Mapping[str, np.ndarray]) -> str:
    """The candidate of the highest mean, the first of equals."""
    return max(found, key=lambda name: np.mean(found[name]) if len(found[name]) else 0.0)


def simplest(found: Mapping[str, np.ndarray]) -> str:
    """The first candidate that is not surely behind the best.

    Args:
        found: NDCG of the same users, float64 (users,), by candidate, the simplest first.
    """
    best = best_of(found)
    for name, values in found.items():
        behind, within = difference(found[best], values)
        if behind <= within:
            return name
    return best


def difference(best: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """The mean difference user by user, and half the width of its 95 % interval."""
    if len(best) < 2:
        return 0.0, 0.0
    gains = best - other
    error = float(np.std(gains, ddof=1) / np.sqrt(len(gains)))
    return float(np.mean(gains)), STANDARD_ERRORS * error


def _ndcgs(
    model: Model, visible: Evidence, asked: np.ndarray, hidden: sparse.csr_matrix
) -> np.ndarray:
    """NDCG@20 of the lists of each user who is asked, float64 (users,)."""
    behaviour = visible.behaviour
    nothing = sparse.csr_matrix(behaviour.seen.shape, dtype=np.float32)
    found = [np.empty(0)]
    step = min(BLOCK_USERS, users_at_once(visible.items))
    for start in range(0, len(asked), step):
        users = asked[start : start + step]
        scores = model.score(UserBlock.of(behaviour, nothing, users))
        scores[:, ~behaviour.in_catalogue] = NOT_RANKED
        found.append(ndcgs_of(scores, behaviour.seen[users], hidden[users]))
    return np.concatenate(found)
