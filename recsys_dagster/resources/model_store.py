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
from recsys_dagster.compute.blocks import LOCAL, Compute
from recsys_dagster.errors import UserError
from recsys_dagster.resources.machine import available_bytes, peak_bytes
from recsys_dagster.resources.training import Training, device
from recsys_dagster.snapshots.model_files import (
    is_as_written,
    read_arrays,
    read_manifest,
    write_model,
)
from recsys_dagster.steps.models.base import Arrays, Evidence, LastModel, Strategy
from recsys_dagster.steps.models.fitting import learned_with
from recsys_dagster.steps.models.kept import KeptModel
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


@dataclass(frozen=True)
class FitRequest:
    """What is to be learned, and all that it is known by.

    Attributes:
        catalog: whose.
        strategy: what is fitted.
        settings: of the strategy.
        evidence: what it learns from.
        versions: of the code and of all that `evidence` is made of: where they, the strategy and
            the settings that learning depends on are as before, so is what is learned.
        compute: does what comes in blocks; what is learned does not depend on it.
    """

    catalog: str
    strategy: Strategy[Any]
    settings: Settings
    evidence: Evidence
    versions: Mapping[str, str]
    compute: Compute = LOCAL

    @property
    def fingerprint(self) -> str:
        """What the fit is known by: all that what is learned depends on."""
        last = self.evidence.last
        return digest(
            self.strategy.name,
            json.dumps(learned_with(self.strategy, self.settings), sort_keys=True),
            json.dumps(dict(self.versions), sort_keys=True),
            *([last.fingerprint] if last else []),
        )

    def learn(self, trainer: Trainer) -> Arrays:
        """Learn.

        Args:
            trainer: what the machine has.

        Raises:
            UserError: a package is missing.
        """
        evidence = replace(self.evidence, trainer=replace(trainer, compute=self.compute))
        return self.strategy.learn(evidence, self.settings)


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
        """Whether a model is there, and is what was written: snapshots link to its file."""
        try:
            fit = self.find(catalog, fingerprint)
            return bool(read_arrays(fit.folder)) and is_as_written(fit.folder, fit.manifest)
        except UserError:
            return False

    def fit_once(self, request: FitRequest, run_id: str, doing: Callable[[str], None]) -> Fit:
        """Fit a strategy and keep the model, or find the one that was fitted before.

        Args:
            request: what is fitted, and on what.
            run_id: the Dagster run.
            doing: called with what begins, in words.

        Raises:
            UserError: more memory is needed than there is, a package is missing, or the model
                could not be written.
        """
        catalog, strategy, settings = request.catalog, request.strategy, request.settings
        evidence, fingerprint = request.evidence, request.fingerprint
        if self.holds(catalog, fingerprint):
            doing(f"{strategy.name} was fitted on this before: {fingerprint}")
            return self.find(catalog, fingerprint)
        doing(f"fitting {strategy.name}: {evidence.in_words}")
        began = time.monotonic()
        training = Training(self.home(catalog), fingerprint, doing)
        kept = KeptModel.of(strategy, settings, request.learn(training.trainer), evidence)
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
                "learned": strategy.about(kept.learned),
                "warm_start": evidence.last.fingerprint if evidence.last else None,
                "made_from": dict(request.versions),
                "code_version": request.versions["code"],
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

    def fit_from(
        self, last: str | None, request: FitRequest, run_id: str, doing: Callable[[str], None]
    ) -> Fit:
        """As `fit_once`, beginning from the last model where only tables have changed since.

        With other settings or code the fit begins anew, and where histories have no order: then
        nobody can tell what the last model did not see. Where not even tables have changed, the
        last model is what is asked for.

        Args:
            last: the fingerprint of the catalog's last model; None where there is none.
            request: what is fitted, and on what.
            run_id: the Dagster run.
            doing: called with what begins, in words.

        Raises:
            UserError: as `fit_once`.
        """
        own, settings = request.strategy, request.settings
        in_order = bool((request.evidence.behaviour.recency.data < 1).any())
        if last is None or not in_order or not self.holds(request.catalog, last):
            return self.fit_once(request, run_id, doing)
        fit = self.find(request.catalog, last)
        about = fit.manifest
        # The code first: another version may have had other settings.
        as_before = (
            about["strategy"] == own.name
            and about["made_from"]["code"] == request.versions["code"]
            and learned_with(own, own.settings.model_validate(about["settings"]))
            == learned_with(own, settings)
        )
        if not as_before:
            return self.fit_once(request, run_id, doing)
        if about["made_from"] == dict(request.versions):
            doing(f"{own.name} was fitted on this before: {last}")
            return fit
        model = fit.model(own.name, about["settings"])
        begins_from = LastModel(last, model.item_ids, model.learned)
        doing(f"{own.name} begins from the last model: {last}")
        evidence = replace(request.evidence, last=begins_from)
        return self.fit_once(replace(request, evidence=evidence), run_id, doing)

    def forget(self, catalog: str, fingerprints: Iterable[str]) -> None:
        """Remove models that nothing names any more."""
        for fingerprint in fingerprints:
            shutil.rmtree(self.home(catalog) / fingerprint, ignore_errors=True)

    def learned(self, request: FitRequest) -> Arrays:
        """What a strategy learns, as `fit_once`; nothing is kept of it.

        Raises:
            UserError: a package is missing.
        """
        fingerprint = request.fingerprint
        if not self.holds(request.catalog, fingerprint):
            began = time.monotonic()
            return request.learn(
                Trainer(device, lambda: time.monotonic() - began, available_bytes=available_bytes)
            )
        fit = self.find(request.catalog, fingerprint)
        return fit.model(request.strategy.name, request.settings.model_dump(mode="json")).learned
