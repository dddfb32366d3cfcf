"""What a machine gives to training by gradient: a device, a clock, and checkpoints on disk.

A training that was cut off goes on at its last checkpoint, which lies beside the models under the
fingerprint of what is being fitted, and goes when the model is kept.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from recsys_dagster.errors import UserError
from recsys_dagster.resources.encoder_running import may_have_cuda
from recsys_dagster.resources.machine import available_bytes
from recsys_dagster.snapshots.model_files import read_arrays, read_manifest, write_model
from recsys_dagster.steps.models.trainer import Trainer, Validation

SECONDS_BETWEEN_CHECKPOINTS = 30.0


class Training:
    """A training of one fit, from its first batch or from where an earlier process left it."""

    def __init__(self, home: Path, fingerprint: str, doing: Callable[[str], None]) -> None:
        """Find what there is of it.

        Args:
            home: the folder of a catalog's models.
            fingerprint: of what is fitted.
            doing: called with what is done, in words.
        """
        self._home, self._name, self._doing = home, f"{fingerprint}-training", doing
        self._began = self._written = time.monotonic()
        self._resumed: dict[str, np.ndarray] = {}
        self._before = 0.0
        try:
            seconds = float(read_manifest(home / self._name)["seconds"])
            self._resumed = read_arrays(home / self._name)
        except UserError:
            return
        self._before = seconds  # of a damaged checkpoint neither arrays nor clock
        doing(f"going on with a training that was cut off after {self._before:.0f} s")

    @property
    def trainer(self) -> Trainer:
        """What it gives to the strategy that is trained."""
        return Trainer(
            device,
            self.seconds,
            self._report,
            self._resumed,
            self._keep,
            self._doing,
            available_bytes,
        )

    def seconds(self) -> float:
        """How long it has taken, without the time that it stood still."""
        return self._before + time.monotonic() - self._began

    def end(self) -> None:
        """Remove the checkpoint: the model is kept."""
        shutil.rmtree(self._home / self._name, ignore_errors=True)

    def _report(self, found: Validation) -> None:
        said = "" if np.isnan(found.ndcg) else f", NDCG@20 of what is hidden {found.ndcg:.4f}"
        self._doing(
            f"training: {self.seconds():.0f} s, {found.batches:,} batches, loss {found.loss:.4g}"
            f"{said}{', the best so far' if found.best and said else ''}"
        )

    def _keep(self, arrays: Mapping[str, np.ndarray]) -> None:
        if time.monotonic() - self._written < SECONDS_BETWEEN_CHECKPOINTS:
            return
        write_model(self._home, self._name, arrays, {"seconds": self.seconds()})
        self._written = time.monotonic()


def device() -> str:
    """CUDA where there is a device that torch sees; else the CPU."""
    if not may_have_cuda():
        return "cpu"
    import torch  # late: of all strategies only those that are trained need it

    return "cuda" if torch.cuda.is_available() else "cpu"
