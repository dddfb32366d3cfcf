"""Whether a model may run in half precision: its vectors beside those of float32.

Asked once for a model, a device and a release of torch; the answer is kept in `$RECSYS_HOME`.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np

from recsys_dagster.errors import UserError
from recsys_dagster.home import encoders_folder
from recsys_dagster.writing import whole_file

LEAST_COSINE = 0.999
LEAST_OVERLAP = 0.98
NEAREST = 10

_known: dict[Path, "Fidelity"] = {}
"""What this process knows, wherever nothing can be kept."""


@dataclass(frozen=True)
class Fidelity:
    """How near vectors are to those of float32.

    Attributes:
        cosine: the least cosine between the two vectors of a text.
        overlap: share of the ten nearest texts that a text keeps, on average.
    """

    cosine: float
    overlap: float

    @property
    def is_enough(self) -> bool:
        """Whether lists made of them would be the same to all intents."""
        return self.cosine >= LEAST_COSINE and self.overlap >= LEAST_OVERLAP

    def __str__(self) -> str:
        return f"cosine {self.cosine:.4f}, overlap of the ten nearest {self.overlap:.3f}"


def probe_texts() -> list[str]:
    """Short texts of several fields and languages."""
    file = files("recsys_dagster.resources").joinpath("probe_texts.txt")
    return file.read_text("utf-8").splitlines()


def fidelity_of(vectors: np.ndarray, exact: np.ndarray) -> Fidelity:
    """Compare vectors with those of float32.

    Args:
        vectors: float32 (n × d), n more than ten.
        exact: float32 (n × d), of the same texts.
    """
    ours, theirs = _unit(vectors), _unit(exact)
    near, near_exactly = _nearest(ours), _nearest(theirs)
    shared = [np.intersect1d(*pair).size for pair in zip(near, near_exactly, strict=True)]
    cosines = (ours * theirs).sum(axis=1)
    return Fidelity(float(cosines.min()), float(np.mean(shared)) / NEAREST)


def kept_fidelity(name: str, measure: Callable[[], Fidelity]) -> Fidelity:
    """What was found before in `$RECSYS_HOME`, or else is measured now and kept.

    Args:
        name: of model, device and number format.
        measure: compares.
    """
    file = encoders_folder() / f"{name}-{version('torch')}.json"
    if file not in _known:
        _known[file] = _read(file) or _measured(file, measure)
    return _known[file]


def _read(file: Path) -> Fidelity | None:
    try:
        return Fidelity(**json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _measured(file: Path, measure: Callable[[], Fidelity]) -> Fidelity:
    found = measure()
    # It is no loss where nothing can be kept: the next process measures again.
    with suppress(OSError, UserError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as hidden:
            hidden.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float64) / np.where(lengths > 0, lengths, 1)


def _nearest(unit: np.ndarray) -> np.ndarray:
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :NEAREST]
