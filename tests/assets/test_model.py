"""The asset `model`: learned once, kept, and used by all that makes lists."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from recsys_dagster.automation.retention import models_in_use
from recsys_dagster.resources.model_store import FitRequest
from recsys_dagster.snapshots.model_files import remove_models
from recsys_dagster.snapshots.reader import Snapshot

MEASURED = {"split": "last", "k": [2, 3], "strategies": ["content", "ease"]}


def model_of(place) -> dict:
    (row,) = place.warehouse.read("tiny", "model").to_pylist()
    return row


def models(place) -> Path:
    return place.home / "models" / "tiny"


@pytest.fixture
def learned(monkeypatch):
    """The strategies that learn, one after the other."""
    names = []
    learn = FitRequest.learn

    def spy(self, trainer):
        names.append(self.strategy.name)
        return learn(self, trainer)

    monkeypatch.setattr(FitRequest, "learn", spy)
    return names


def test_the_manifest_says_what_was_learned_from_what(published):
    place = published()
    row = model_of(place)
    manifest = json.loads((models(place) / row["fingerprint"] / "manifest.json").read_text())
    assert manifest["strategy"] == row["strategy"] == "hybrid"
    assert manifest["settings"] == json.loads(row["settings"])
    assert manifest["newest"] == "2024-01-17T00:00:00Z"
    assert (manifest["users"], manifest["items"]) == (8, 10)
    assert (
        manifest["made_from"]["histories"]
        == place.warehouse.comment("tiny", "histories")["data_version"]
    )
    assert manifest["bytes"] > 0
    assert manifest["peak_memory_bytes"] > 0
    assert manifest["code_version"]


def test_a_snapshot_names_its_model_and_holds_it(published):
    place = published()
    snapshot = Snapshot.current(place.snapshots, "tiny")
    assert snapshot.manifest["model"]["fingerprint"] == model_of(place)["fingerprint"]
    shutil.rmtree(models(place))
    snapshot.verify()
    assert snapshot.fold_in(["space1"], n=3)


def test_what_only_scores_depend_on_learns_nothing_anew(published, learned):
    place = published()
    before = model_of(place)
    place = published_with(place, models={"hybrid": {"recency_power": 0.8}})
    assert place.run("tiny", ["model", "recommendations"]).success
    after = model_of(place)
    assert after["fingerprint"] == before["fingerprint"]
    assert json.loads(after["settings"])["recency_power"] == 0.8
    assert learned == []


def test_what_learning_depends_on_makes_another_model(published, learned):
    place = published()
    before = model_of(place)["fingerprint"]
    place = published_with(place, models={"hybrid": {"regularisation": 3}})
    assert place.run("tiny", ["model"]).success
    assert model_of(place)["fingerprint"] != before
    assert learned == ["hybrid"]


def test_a_refresh_may_begin_from_the_last_model_and_an_evaluation_never_does(
    published, monkeypatch
):
    begun, learn = [], FitRequest.learn

    def spy(self, trainer):
        measured = "train" in self.versions
        begun.append((measured, self.evidence.last and self.evidence.last.fingerprint))
        return learn(self, trainer)

    monkeypatch.setattr(FitRequest, "learn", spy)
    place = published(
        strategy="sequential",
        models={"sequential": {"width": 4, "epochs": 2, "warm_start": True}},
        evaluation=MEASURED | {"strategies": ["sequential"]},
    )
    file = place.data / "interactions.csv"
    table = pd.read_csv(file, dtype="str")
    days = pd.date_range("2024-01-01", periods=len(table)).strftime("%Y-%m-%d")
    table = table.assign(timestamp=days)
    table.to_csv(file, index=False)
    assert place.run("tiny").success
    first = model_of(place)["fingerprint"]
    assert (False, None) in begun
    assert (True, None) in begun

    begun.clear()
    new = table.iloc[[0]].assign(user_id=table["user_id"].iloc[-1], rating="5")
    pd.concat([table, new]).to_csv(file, index=False)
    assert place.run("tiny").success
    assert (False, first) in begun
    assert {last for measured, last in begun if measured} == {None}
    second = model_of(place)["fingerprint"]
    manifest = json.loads((models(place) / second / "manifest.json").read_text())
    assert manifest["warm_start"] == first != second

    begun.clear()
    assert place.run("tiny").success
    assert begun == []
    assert model_of(place)["fingerprint"] == second


@pytest.mark.parametrize("damage", ["gone", "cut off"])
def test_a_model_that_was_lost_is_fitted_again(published, learned, damage):
    place = published()
    row = model_of(place)
    folder = models(place) / row["fingerprint"]
    if damage == "gone":
        shutil.rmtree(folder)
    else:
        arrays = folder / "arrays.safetensors"
        content = arrays.read_bytes()
        arrays.unlink()  # the snapshot holds the same file
        arrays.write_bytes(content[: len(content) // 2])
    assert place.run("tiny").success
    assert learned == ["hybrid"]
    assert model_of(place)["fingerprint"] == row["fingerprint"]
    assert place.run("tiny").success
    assert learned == ["hybrid"]


def test_what_was_measured_on_the_same_train_part_is_not_fitted_again(published, learned):
    place = published(evaluation=MEASURED)
    stages = ["evaluation_split", "evaluation"]
    assert place.run("tiny", stages).success
    first = list(learned)
    assert {"popular", "hybrid", "content", "ease"} == set(first)
    place = published_with(place, evaluation=MEASURED | {"k": [1]})
    assert place.run("tiny", stages).success
    assert learned == first


def test_an_evaluation_forgets_the_models_of_the_one_before(published):
    place = published(evaluation=MEASURED)
    stages = ["evaluation_split", "evaluation"]
    assert place.run("tiny", stages).success
    place = published_with(place, evaluation=MEASURED | {"split": "random"})
    assert place.run("tiny", stages).success
    named = place.warehouse.query("tiny", "select distinct model from evaluation")
    kept = {fingerprint for (fingerprint,) in named} | {model_of(place)["fingerprint"]}
    assert {path.name for path in models(place).iterdir()} == kept


def test_cleaning_up_keeps_what_snapshots_and_tables_name(published):
    place = published()
    first = model_of(place)["fingerprint"]
    place = published_with(place, models={"hybrid": {"regularisation": 3}})
    assert place.run("tiny").success
    (models(place) / "left-over").mkdir()
    used = models_in_use(place.warehouse, place.snapshots, "tiny")
    assert {first, model_of(place)["fingerprint"]} <= used
    now = datetime.now(UTC)
    assert remove_models(models(place), used, now - timedelta(hours=1)) == 0
    assert remove_models(models(place), used, now + timedelta(hours=1)) >= 1
    assert not (models(place) / "left-over").exists()
    assert {path.name for path in models(place).iterdir()} <= used


def published_with(place, **settings):
    """The same place with other settings of its catalog."""
    own = place.catalog("tiny").model_dump(mode="json", exclude_unset=True)
    kept = {key: value for key, value in own.items() if key not in ("name", "folder")}
    place.write_catalog("tiny", kept | settings)
    return place


def test_a_catalog_that_is_too_large_for_a_dense_fit_is_published_and_the_asset_says_so(
    published, monkeypatch
):
    monkeypatch.setattr("recsys_dagster.steps.models.memory.MAX_DENSE", 3)
    monkeypatch.setattr("recsys_dagster.steps.models.memory.MAX_HEAD", 3)
    place = published(max_exact_pairs=0, models={"hybrid": {"regularisation": 10}})
    result = place.run("tiny")
    assert result.success
    (made,) = [
        event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key.path[-1] == "model"
    ]
    assert made["learned_densely"].value == "3 of 10 items"
    snapshot = Snapshot.current(place.snapshots, "tiny")
    assert {row.strategy for row in snapshot.recommend("user-zq-10", 5)} <= {"hybrid", "popular"}
    assert snapshot.recommend("user-zq-10", 5)[0].strategy == "hybrid"
