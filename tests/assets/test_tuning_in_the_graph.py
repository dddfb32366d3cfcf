"""Searching for settings in the graph: what is found is kept, used from then on, and shown."""

import json

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from recsys_dagster.cli.app import tune
from recsys_dagster.errors import UserError
from recsys_dagster.resources.model_store import ModelStore
from recsys_dagster.steps.evaluation import tuning

EVALUATION = {"split": "column", "column": "part", "k": [3], "strategies": ["ease"]}


@pytest.fixture(scope="module")
def split_once(shared):
    """`tiny`, published, with one of each user's three likes for every part."""

    def split(place) -> None:
        file = place.data / "interactions.csv"
        table = pd.read_csv(file, dtype="str")
        parts = np.array(["train", "valid", "test"])
        table = table.assign(rating=5, part=parts[table.groupby("user_id").cumcount()])
        table.to_csv(file, index=False)
        assert place.run("tiny").success

    return shared(split, evaluation=EVALUATION, strategy="ease")


@pytest.fixture
def place(split_once, copy_of, monkeypatch):
    place = copy_of(split_once)
    place.environment(monkeypatch)
    return place


def search(
    place, instance: dg.DagsterInstance | None = None, **config
) -> dg.ExecuteInProcessResult:
    job = place.definitions().resolve_job_def("tune_tiny")
    return job.execute_in_process(
        instance=instance or dg.DagsterInstance.ephemeral(),
        run_config={"ops": {"tiny__tuning": {"config": config}}},
    )


def found(place) -> pd.DataFrame:
    return place.warehouse.read("tiny", "tuning").to_pandas()


@pytest.fixture
def better(monkeypatch):
    """Validation likes the largest dropout."""

    def accuracy(ranked, held_back, ks):
        users = np.arange(held_back.shape[0]) / 100
        return {f"ndcg@{ks[0]}": users + fitted[-1].dropout}

    fitted = []
    fit = tuning.Fits.fit

    def spy(self, name, settings):
        fitted.append(settings)
        return fit(self, name, settings)

    monkeypatch.setattr(tuning.Fits, "fit", spy)
    monkeypatch.setattr(tuning, "accuracy", accuracy)


def test_each_strategy_has_its_trials_and_one_that_is_chosen(place):
    assert search(place, strategies=["ease", "item_knn"], trials=4).success
    table = found(place)
    trials = table.groupby("strategy")["trial"].apply(list).to_dict()
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in trials.values())
    assert set(trials) == {"ease", "item_knn"}
    assert (table["strategy"].value_counts() <= 4).all()
    assert table.groupby("strategy")["chosen"].sum().eq(1).all()
    assert table.loc[table["trial"] == 1, "settings"].eq("{}").all()


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"trials": 0}, "trials: 0: expected at least 1"),
        ({"trials": -3}, "trials: -3: expected at least 1"),
        ({"strategies": ["eese"]}, "'eese' is no strategy. Did you mean 'ease'"),
    ],
)
def test_a_config_of_the_launchpad_that_cannot_be_searched_for_is_named(place, config, told):
    """No trials used to be no bound: the search went on for as long as anything helped."""
    with pytest.raises(UserError, match=told):
        search(place, **config)
    assert found(place).empty


def test_what_is_found_is_used_from_then_on(place, better, run_facts):
    _, figures = run_facts
    first = fitted_with(place)
    result = place.run("tiny")
    assert result.success
    assert figures(result, "tiny", "model")["unchanged"]
    assert search(place).success
    result = place.run("tiny")
    assert result.success
    assert fitted_with(place)["dropout"] == 0.8
    assert figures(result, "tiny", "model")["tuned"] == {"dropout": 0.8}
    place.write_catalog("tiny", place_settings(place) | {"models": {"tuned": False}})
    result = place.run("tiny")
    assert result.success
    assert fitted_with(place) == first
    assert first["dropout"] == 0.5
    assert figures(result, "tiny", "model")["tuned"] == {}


def fitted_with(place) -> dict:
    """The settings of the model that lists are made with."""
    (row,) = place.warehouse.read("tiny", "model").to_pylist()
    return json.loads(row["settings"])


def place_settings(place) -> dict:
    settings = place.catalog("tiny").model_dump(mode="json", exclude_unset=True)
    return {key: value for key, value in settings.items() if key not in ("name", "folder")}


def test_a_search_knows_nothing_of_test(place, monkeypatch):
    seen = []
    learned = ModelStore.learned

    def spy(self, request):
        seen.append(request.evidence.behaviour)
        return learned(self, request)

    monkeypatch.setattr(ModelStore, "learned", spy)
    assert search(place, trials=2).success
    parts = place.warehouse.read("tiny", "evaluation_split").to_pandas()
    held = parts[parts["part"].isin(["valid", "test"])]
    assert seen
    for behaviour in seen:
        rows = behaviour.user_ids.get_indexer(held["user_id"])
        columns = behaviour.item_ids.get_indexer(held["item_id"])
        assert not behaviour.seen.tocsr()[rows, columns].sum()


def test_without_validation_nothing_is_tuned_and_it_says_so(published, monkeypatch):
    place = published(evaluation={"split": "last"})
    place.environment(monkeypatch)
    with pytest.raises(UserError, match="nothing was held back for validation"):
        tune("tiny", strategy=None, trials=3, as_json=False)


def test_without_items_of_what_is_held_back_nothing_is_tuned_nor_measured(place, run_facts):
    file = place.data / "interactions.csv"
    table = pd.read_csv(file, dtype="str")
    held_back = table["part"] != "train"
    table.loc[held_back, "item_id"] = "gone-" + table["item_id"]
    table.to_csv(file, index=False)
    result = place.run("tiny")
    assert result.success
    _, figures = run_facts
    said = "all that was held back is of items that the catalogue lacks"
    assert figures(result, "tiny", "evaluation")["not_measured"] == said
    with pytest.raises(UserError, match=said):
        tune("tiny", strategy=None, trials=3, as_json=False)


def test_a_search_for_one_strategy_forgets_nothing_of_another(place, capsys):
    assert search(place, trials=2, strategies=["ease"]).success
    before = found(place)
    tune("tiny", strategy=["item_knn"], trials=2, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert {row["strategy"] for row in printed} == {"item_knn"}
    after = found(place)
    pd.testing.assert_frame_equal(after[after["strategy"] == "ease"], before)
    assert set(after["strategy"]) == {"ease", "item_knn"}


def test_a_search_takes_what_was_fitted_to_measure(place, monkeypatch):
    kept, holds = [], ModelStore.holds

    def noted(own, catalog, fingerprint):
        kept.append(holds(own, catalog, fingerprint))
        return kept[-1]

    monkeypatch.setattr(ModelStore, "holds", noted)
    assert search(place, trials=1, strategies=["ease"]).success
    assert kept == [True]


class TestCommand:
    def test_a_table_says_what_was_tried_and_what_comes_of_it(self, place, better, capsys):
        tune("tiny", strategy=None, trials=8, as_json=False)
        out = capsys.readouterr().out
        assert "ndcg@3 on validation" in out
        assert "its own settings" in out
        assert "ease: dropout 0.8 from now on" in out
        assert "recsys run tiny" in out

    def test_json_is_all_there_is_on_the_output(self, place, capsys):
        tune("tiny", strategy=["item_knn"], trials=2, as_json=True)
        rows = json.loads(capsys.readouterr().out)
        assert rows[0]["settings"] == {}
        assert {row["strategy"] for row in rows} == {"item_knn"}

    def test_a_strategy_without_settings_to_search_for_is_named(self, place):
        with pytest.raises(UserError, match="'content' is no strategy with settings to search for"):
            tune("tiny", strategy=["content"], trials=2, as_json=False)


def test_each_trial_is_named_before_it_begins_and_has_a_figure_after_it(place):
    with dg.DagsterInstance.ephemeral() as instance:
        result = search(place, instance, strategies=["ease"], trials=2)
        said = [entry.user_message for entry in instance.all_logs(result.run_id)]
    lines = [line for line in said if "ease, trial" in line]
    assert [line.split(",")[0] for line in lines] == ["trying ease", "ease"] * 2
    assert "trial 1 of at most 2, with the catalog's own settings: 8 positives" in lines[0]
    assert "trial 2 of at most 2, with recency_power 0.5: 8 positives" in lines[2]
    assert lines[3].startswith("ease, trial 2 of at most 2: ")
    assert "with recency_power 0.5, in " in lines[3]
