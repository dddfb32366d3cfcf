"""Evaluation in the graph: what is held back stays unknown, and figures are what they say."""

import json
import re

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from recsys_dagster.cli import evaluating
from recsys_dagster.cli.app import evaluate
from recsys_dagster.errors import UserError
from recsys_dagster.resources.model_store import ModelStore
from recsys_dagster.snapshots.evaluations import EVALUATIONS, read
from recsys_dagster.steps.evaluation.comparison import HeldBack
from recsys_dagster.steps.evaluation.splits import parted, split

MEASURED = {"split": "last", "k": [2, 3], "strategies": ["content", "ease"]}


@pytest.fixture
def measured(published):
    """`measured(**settings)`: a copy of the published `tiny` whose evaluation ran; its table."""

    def make(**settings):
        place = published(evaluation=MEASURED | settings)
        stages = ["evaluation_split", "evaluation"]
        instance = dg.DagsterInstance.ephemeral()
        result = place.run("tiny", stages, instance)
        assert result.success
        return place, result, place.warehouse.read("tiny", "evaluation").to_pandas()

    return make


def test_each_strategy_is_named_before_it_is_measured(published):
    place = published(evaluation=MEASURED)
    history = str(place.root)
    result = place.run(
        "tiny", ["evaluation_split", "evaluation"], dg.DagsterInstance.local_temp(history)
    )
    with dg.DagsterInstance.local_temp(history) as instance:
        said = [entry.user_message for entry in instance.all_logs(result.run_id)]
    measuring = [line.split(":")[0] for line in said if line.startswith("measuring")]
    assert measuring == [
        f"measuring {name}, {number} of 4 strategies"
        for number, name in enumerate(["popular", "hybrid", "content", "ease"], start=1)
    ]
    assert "working out intervals of 4 strategies" in said


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"strategies": ["eese"]}, "'eese' is no strategy. Did you mean 'ease'"),
        ({"k": [10, 0]}, r"k: \[10, 0\]: expected places of a list, at least 1"),
        ({"k": [-1]}, "expected places of a list, at least 1"),
    ],
)
def test_a_config_of_the_launchpad_that_cannot_be_measured_is_named(published, config, told):
    definitions = published(evaluation=MEASURED).definitions()
    result = definitions.resolve_job_def("evaluate_tiny").execute_in_process(
        instance=dg.DagsterInstance.ephemeral(),
        run_config={"ops": {"tiny__evaluation": {"config": config}}},
        raise_on_error=False,
    )
    (failure,) = result.get_step_failure_events()
    assert failure.step_failure_data.error.cause.cls_name == "UserError"
    assert re.search(told, failure.step_failure_data.error.cause.message)


def test_popular_and_the_champion_are_measured_in_any_case(measured):
    _, _, table = measured()
    assert set(table["strategy"]) == {"popular", "hybrid", "content", "ease"}
    overall = table[(table["slice"] == "all") & (table["metric"] == "recall@3")]
    assert overall["users"].eq(8).all()
    assert (overall["low"] <= overall["value"]).all()
    assert (overall["value"] <= overall["high"]).all()
    own = overall.set_index("strategy")
    assert np.isclose(
        own.loc["hybrid", "to_popular"], own.loc["hybrid", "value"] - own.loc["popular", "value"]
    )
    assert np.isnan(own.loc["popular", "to_popular"])
    assert np.isnan(own.loc["hybrid", "to_champion"])


def test_the_champion_is_measured_once_more_with_the_rules_that_order_lists(published):
    place = published(evaluation=MEASURED, rules={"deny": ["space1"]})
    file = place.catalogs / "tiny.yaml"

    def figures():
        assert place.run("tiny", ["evaluation_split", "evaluation"]).success
        return place.warehouse.read("tiny", "evaluation").to_pandas()

    plain = figures()
    file.write_text(file.read_text().replace("rules:", "rules:\n  diversity: 0.9"))
    ruled = figures()
    assert set(ruled["strategy"]) - set(plain["strategy"]) == {"hybrid with rules"}
    key = ["strategy", "slice", "metric"]
    value = ruled.set_index(key)["value"]
    assert value["hybrid with rules", "all", "diversity@3"] > value["hybrid", "all", "diversity@3"]
    # What may not be recommended today may well be what somebody went on to have.
    same = ruled[ruled["strategy"] != "hybrid with rules"].set_index(key)["value"]
    pd.testing.assert_series_equal(same, plain.set_index(key)["value"])


def test_the_figures_are_those_of_lists_made_by_hand(measured):
    """Recall of `popular`, worked out from the split alone."""
    place, _, table = measured(mask="train")
    parts = place.warehouse.read("tiny", "evaluation_split").to_pandas()
    liked = place.warehouse.read("tiny", "interactions").to_pandas()
    pairs = ["user_id", "item_id"]
    train = liked[liked["positive"]].merge(parts.loc[parts["part"] == "train", pairs])
    order = train["item_id"].value_counts()
    items = sorted(place.warehouse.read("tiny", "items")["item_id"].to_pylist())
    ranking = sorted(items, key=lambda item: (-order.get(item, 0), item))
    seen = liked.merge(parts.loc[parts["part"] == "train", pairs])[pairs]
    hits = []
    for row in parts[parts["part"] == "test"].itertuples():
        had = set(seen.loc[seen["user_id"] == row.user_id, "item_id"])
        hits.append(row.item_id in [item for item in ranking if item not in had][:3])
    found = table.set_index(["strategy", "slice", "metric"]).loc[("popular", "all", "recall@3")]
    assert np.isclose(found["value"], np.mean(hits))


def test_models_know_nothing_of_what_is_held_back(measured, monkeypatch):
    fitted = []
    fit_once = ModelStore.fit_once

    def spy(self, request, *others):
        fitted.append(request.evidence)
        return fit_once(self, request, *others)

    monkeypatch.setattr(ModelStore, "fit_once", spy)
    place, _, table = measured()
    assert len(fitted) == table["strategy"].nunique()
    parts = place.warehouse.read("tiny", "evaluation_split").to_pandas()
    for evidence in fitted:
        behaviour = evidence.behaviour
        for part in ("valid", "test"):
            held = parts[parts["part"] == part]
            rows = behaviour.user_ids.get_indexer(held["user_id"])
            columns = behaviour.item_ids.get_indexer(held["item_id"])
            assert len(columns) == (8 if part == "test" else 0)
            assert (columns >= 0).all()
            for matrix in (behaviour.seen, behaviour.positives, behaviour.weights):
                assert not matrix.tocsr()[rows, columns].sum()


def test_a_leak_is_caught(published, monkeypatch):
    """Somebody forgets to take the test pairs out of train."""
    place = published(evaluation=MEASURED)
    monkeypatch.setattr(
        HeldBack,
        "of",
        lambda table: HeldBack(
            table, *(table.loc[table["part"] == part] for part in ("valid", "test"))
        ),
    )
    result = place.run("tiny", ["evaluation_split", "evaluation"])
    assert not result.success
    failures = [event for event in result.all_events if event.is_step_failure]
    (error,) = [event.step_failure_data.error for event in failures]
    assert "a leak" in (error.cause.message if error.cause else error.message)


def test_train_of_a_split_by_time_is_what_was_known_then():
    interactions = pd.DataFrame(
        {
            "user_id": ["a"] * 12,
            "item_id": [f"i{number:02}" for number in range(12)],
            "weight": 1.0,
            "positive": True,
            "first_timestamp": pd.date_range("2024-01-01", periods=12),
            "last_timestamp": pd.date_range("2024-01-01", periods=12),
            "last_position": np.nan,
            "interaction_count": 1,
            "left_out": False,
        }
    )
    interactions.loc[0, "last_timestamp"] = pd.Timestamp("2024-02-01")
    parts = split(interactions, "time")
    held = HeldBack.of(parted(interactions, parts, "time"))
    assert held.train["last_timestamp"].max() < pd.Timestamp("2024-01-12")
    assert not held.train.set_index("item_id").loc["i00", "positive"]


def test_the_labels_of_a_column_decide(tiny, no_pictures):
    place = tiny(evaluation={"split": "column", "column": "part", "k": [3]})
    file = place.data / "interactions.csv"
    table = pd.read_csv(file, dtype="str")
    table["part"] = np.where(table.groupby("user_id").cumcount() == 0, "test", "train")
    table.to_csv(file, index=False)
    assert place.run("tiny").success
    parts = place.warehouse.read("tiny", "evaluation_split").to_pandas()
    joined = parts.merge(table, on=["user_id", "item_id"])
    liked = joined["rating"].astype(float) >= 4
    assert (joined.loc[liked, "part_x"] == joined.loc[liked, "part_y"]).all()


def test_too_little_to_measure_does_not_stop_what_can_be_recommended(tiny, run_facts):
    place = tiny(evaluation={"split": "time"})
    file = place.data / "interactions.csv"
    table = pd.read_csv(file, dtype="str").assign(timestamp="2024-01-01")
    table.to_csv(file, index=False)
    result = place.run("tiny")
    assert result.success
    _, figures = run_facts
    assert (
        "needs 3 different timestamps"
        in figures(result, "tiny", "evaluation_split")["not_measured"]
    )
    assert (place.snapshots / "tiny" / "CURRENT").exists()
    assert read(place.snapshots, "tiny") == []


def test_what_the_ui_shows_names_strategies_and_no_user(measured, run_facts):
    _, result, _ = measured()
    _, figures = run_facts
    shown = figures(result, "tiny", "evaluation")
    assert shown["split"] == "last"
    strategies = [record.data["strategy"] for record in shown["strategies"].records]
    assert set(strategies) >= {"hybrid", "popular"}
    assert shown["ndcg@3"] >= 0
    assert "user-zq" not in str(shown)


def test_what_was_measured_is_kept_beside_the_snapshots(measured):
    place, result, table = measured()
    *_, entry = read(place.snapshots, "tiny")
    assert entry["run_id"] == result.run_id
    assert (entry["split"], entry["champion"]) == ("last", "hybrid")
    overall = table[table["slice"] == "all"]
    assert set(entry["strategies"]) == set(overall["strategy"])
    figures = overall.set_index(["strategy", "metric"]).loc[("ease", "ndcg@3")]
    assert entry["strategies"]["ease"]["ndcg@3"] == {
        "value": figures["value"],
        "low": figures["low"],
        "high": figures["high"],
        "users": 8,
    }
    assert "user-zq" not in (place.snapshots / "tiny" / EVALUATIONS).read_text()
    # Left alone, nothing was measured.
    kept = read(place.snapshots, "tiny")
    assert place.run("tiny", ["evaluation_split", "evaluation"]).success
    assert read(place.snapshots, "tiny") == kept


class TestCommand:
    @pytest.fixture
    def place(self, published, monkeypatch):
        place = published(evaluation=MEASURED)
        place.environment(monkeypatch)
        return place

    def test_json_is_all_there_is_on_the_output(self, place, capsys):
        evaluate("tiny", strategy=["similar_items"], k="1,2", as_json=True, html=None)
        found = json.loads(capsys.readouterr().out)
        assert (found["catalog"], found["split"]) == ("tiny", "last")
        assert set(found["strategies"]) == {"popular", "hybrid", "similar_items"}
        assert set(found["strategies"]["hybrid"]["recall@2"]) == {"value", "low", "high"}

    def test_a_page_stands_alone(self, place, tmp_path, capsys):
        evaluate("tiny", strategy=None, k=None, as_json=False, html=tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text()
        assert "<td>hybrid</td>" in page
        assert "http" not in page
        assert "ndcg@3" in capsys.readouterr().out

    def test_mistakes_are_named(self, place, tmp_path):
        with pytest.raises(UserError, match="expected numbers of at least 1"):
            evaluate("tiny", strategy=None, k="ten", as_json=False, html=None)
        with pytest.raises(UserError, match="does not exist"):
            evaluating.write_page(tmp_path / "no" / "page.html", "tiny", {}, pd.DataFrame())
