"""Where fitted models are kept, and the one way to fit: what was fitted is not fitted again."""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from recsys_dagster.catalog.base import Settings
from recsys_dagster.errors import UserError
from recsys_dagster.resources.machine import available_bytes, peak_bytes
from recsys_dagster.resources.training import Training, device
from recsys_dagster.snapshots.model_files import read_arrays, read_manifest, write_model
from recsys_dagster.steps.models.base import Arrays, Evidence, Strategy
from recsys_dagster.steps.models.fitting import learned_with
from recsys_dagster.steps.models.kept import KeptModel
from recsys_dagster.steps.models.memory import learned_items, require_memory
from recsys_dagster.steps.models.trainer import Trainer
from recsys_dagster.versions import digest


@dataclass(frozen=True)
class Fit:
    """A kept model.

    Attributes:
        folder: where it lies.
        manifest: what is known of it.
    """

    folder: Path
    manifest: Mapping[str, Any]

    def model(self, strategy: str, settings: Mapping[str, Any]) -> KeptModel:
        """The model with its arrays mapped from the folder.

        Args:
            strategy: its name.
            settings: those of now, as they are dumped: what only scores depend on may differ from
                the manifest.

        Raises:
            UserError: it is not there, or damaged.
        """
        return KeptModel.load(read_arrays(self.folder), strategy, settings)


class ModelStore(dg.ConfigurableResource):
    """A folder with one folder of models a catalog."""

    folder: str

    def home(self, catalog: str) -> Path:
        """The folder of a catalog's models."""
        return Path(self.folder) / catalog

    def find(self, catalog: str, fingerprint: str) -> Fit:
        """A model that was kept.

        Raises:
            UserError: it is not there, or damaged.
        """
        folder = self.home(catalog) / fingerprint
        return Fit(folder, read_manifest(folder))

    def holds(self, catalog: str, fingerprint: str) -> bool:
        """Whether a model is there, and whole as far as its files tell."""
        try:
            return bool(read_arrays(self.find(catalog, fingerprint).folder))
        except UserError:
            return False

    def fit_once(
        self,
        catalog: str,
        strategy: Strategy[Any],
        settings: Settings,
        evidence: Evidence,
        versions: Mapping[str, str],
        run_id: str,
        doing: Callable[[str], None],
    ) -> Fit:
        """Fit a strategy and keep the model, or find the one that was fitted before.

        Args:
            catalog: whose.
            strategy: what is fitted.
            settings: of the strategy.
            evidence: what it learns from.
            versions: of the code and of all that `evidence` is made of: where they, the strategy
                and the settings that learning depends on are as before, so is what is learned.
            run_id: the Dagster run.
            doing: called with what begins, in words.

        Raises:
            UserError: more memory is needed than there is, a package is missing, or the model
                could not be written.
        """
        fingerprint = fingerprint_of(strategy, settings, versions)
        if self.holds(catalog, fingerprint):
            doing(f"{strategy.name} was fitted on this before: {fingerprint}")
            return self.find(catalog, fingerprint)
        doing(f"fitting {strategy.name}: {evidence.in_words}")
        began = time.monotonic()
        training = Training(self.home(catalog), fingerprint, doing)
        learned = _learn(strategy, settings, replace(evidence, trainer=training.trainer))
        kept = KeptModel.of(strategy, settings, learned, evidence)
        seconds = time.monotonic() - began
        newest = evidence.behaviour.newest
        write_model(
            self.home(catalog),
            fingerprint,
            kept.save(),
            {
                "fingerprint": fingerprint,
                "strategy": strategy.name,
                "settings": settings.model_dump(mode="json"),
                "made_from": dict(versions),
                "code_version": versions["code"],
                "newest": None if pd.isna(newest) else newest.isoformat() + "Z",
                "users": len(evidence.behaviour.user_ids),
                "items": evidence.items,
                "positives": int(evidence.behaviour.weights.nnz),
                "seconds": seconds,
                "peak_memory_bytes": peak_bytes(),
                "run_id": run_id,
                "made_at": pd.Timestamp.now("UTC").isoformat(),
            },
        )
        training.end()
        return self.find(catalog, fingerprint)

    def forget(self, catalog: str, fingerprints: Iterable[str]) -> None:
        """Remove models that nothing names any more."""
        for fingerprint in fingerprints:
            shutil.rmtree(self.home(catalog) / fingerprint, ignore_errors=True)

    def learned(
        self,
        catalog: str,
        strategy: Strategy[Any],
        settings: Settings,
        evidence: Evidence,
        versions: Mapping[str, str],
    ) -> Arrays:
        """What a strategy learns, as `fit_once`; nothing is kept of it."""
        fingerprint = fingerprint_of(strategy, settings, versions)
        if not self.holds(catalog, fingerprint):
            began = time.monotonic()
            clock = Trainer(device, lambda: time.monotonic() - began)
            return _learn(strategy, settings, replace(evidence, trainer=clock))
        fit = self.find(catalog, fingerprint)
        return fit.model(strategy.name, settings.model_dump(mode="json")).learned


def _learn(strategy: Strategy[Any], settings: Settings, evidence: Evidence) -> Arrays:
    """Learn, where there is memory for it.

    Raises:
        UserError: more memory is needed than there is, or a package is missing.
    """
    learned = learned_items(strategy, evidence)
    require_memory(strategy.name, learned, evidence.items, available_bytes())
    return strategy.learn(evidence, settings)


def fingerprint_of(strategy: Strategy[Any], settings: Settings, versions: Mapping[str, str]) -> str:
    """What a fit is known by: all that what is learned depends on."""
    return digest(
        strategy.name,
        json.dumps(learned_with(strategy, settings), sort_keys=True),
        json.dumps(dict(versions), sort_keys=True),
    )
