"""`auto`: the simplest of those that are as good as the best, fitted on everything."""

from dataclasses import replace

import numpy as np
import pytest
from making import block_of, evidence_of
from test_sequential import cycles, in_order, recency_of

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.steps.models import STRATEGIES, auto
from recsys_dagster.steps.models.fitting import tuned_settings
from recsys_dagster.steps.models.trainer import Trainer

AUTO = STRATEGIES["auto"]
QUICK = {
    "sequential": {"epochs": 60, "width": 16, "dropout": 0.1, "max_length": 8},
    "neural": {"epochs": 5, "width": 4},
}


def settings_of(*candidates, **own):
    return AUTO.settings.model_validate({"candidates": candidates, "settings": QUICK} | own)


def catalog(**models):
    return Catalog.model_validate(
        {
            "name": "shop",
            "interactions": {"source": "x.csv"},
            "items": {"source": "y.csv", "text": "{title}"},
            "strategy": "auto",
            "models": models,
        }
    )


def test_the_simplest_within_the_interval_of_the_best_is_chosen():
    generator = np.random.default_rng(0)
    best = generator.random(200)
    near = best + generator.normal(-0.001, 0.1, 200)
    behind = best - 0.2
    assert auto.simplest({"a": behind, "b": near, "c": best}) == "b"
    assert auto.simplest({"a": behind, "b": best, "c": near}) == "b"
    assert auto.simplest({"a": best}) == "a"


def test_where_nobody_can_be_asked_the_simplest_is_chosen():
    nobody = np.empty(0)
    assert auto.simplest({"a": nobody, "b": nobody}) == "a"


def test_what_goes_by_order_wins_where_order_is_all_there_is():
    arrays = AUTO.learn(in_order(cycles(400), 12), settings_of("popular", "markov", "sequential"))
    told = auto.about(arrays)
    assert told["chosen"] == "markov"
    found = {row["strategy"]: row for row in told["candidates"]}
    assert found["popular"]["behind"] > found["popular"]["within"]
    assert found["markov"]["ndcg"] == 1 > found["popular"]["ndcg"]


@pytest.mark.parametrize("winner", ["markov", "sequential"])
def test_the_model_is_that_of_the_winner_fitted_on_everything(winner):
    histories = cycles(60)
    evidence, own = in_order(histories, 12), settings_of(winner)
    recency = recency_of(histories, 12)
    block = block_of(recency.sign(), recency=recency)
    alone = STRATEGIES[winner].settings.model_validate(QUICK.get(winner, {}))
    rows, items = np.array([0, 1]), np.array([7, 3])
    chosen, expected = AUTO.fit(evidence, own), STRATEGIES[winner].fit(evidence, alone)
    np.testing.assert_array_equal(chosen.score(block), expected.score(block))
    np.testing.assert_array_equal(
        chosen.contributions(block, rows, items), expected.contributions(block, rows, items)
    )


def test_who_cannot_be_fitted_takes_no_part_and_why_is_said():
    told = auto.about(
        AUTO.learn(evidence_of(recency_of(cycles(30), 12).sign()), settings_of("popular", "markov"))
    )
    assert told["chosen"] == "popular"
    assert "learns from the order" in told["candidates"][1]["reason"]
    no_order = evidence_of(recency_of(cycles(30), 12).sign())
    with pytest.raises(UserError, match=r"none of its candidates: markov: .*learns from the order"):
        AUTO.learn(no_order, settings_of("markov"))


def test_another_error_is_no_reason_to_go_on_without_a_candidate():
    def lost():
        raise UserError("the table item_neighbours was made anew by another run")

    evidence = replace(in_order(cycles(30), 12), item_neighbours=lost)
    with pytest.raises(UserError, match="made anew by another run"):
        AUTO.learn(evidence, settings_of("popular", "neural"))


def test_a_candidate_learns_densely_of_what_there_is_memory_for(monkeypatch):
    monkeypatch.setattr("recsys_dagster.steps.models.memory.MIN_HEAD", 5)
    said = []
    poor = Trainer(available_bytes=lambda: 100, say=said.append)
    evidence = replace(in_order(cycles(30), 12), trainer=poor)
    told = auto.about(AUTO.learn(evidence, settings_of("popular", "hybrid")))
    assert [row.get("reason") for row in told["candidates"]] == [None, None]
    assert "learning densely of 5 of 12 items, then of the others" in said


def test_it_ends_when_its_time_is_over():
    now = iter(range(0, 100_000, 20))
    evidence = replace(in_order(cycles(30), 12), trainer=Trainer(seconds=lambda: float(next(now))))
    told = auto.about(AUTO.learn(evidence, settings_of("popular", "markov", "ease", minutes=0.5)))
    reasons = [row.get("reason") for row in told["candidates"]]
    assert reasons[0] is None
    assert reasons[-1] == "0.5 minutes were over"


def test_a_competition_that_was_cut_off_goes_on():
    kept, evidence = {}, in_order(cycles(60), 12)
    evidence = replace(evidence, item_neighbours=lambda: recency_of([[]] * 12, 12))
    longer = QUICK["sequential"] | {"epochs": 150}
    own = settings_of("popular", "neural", "sequential", settings=QUICK | {"sequential": longer})
    whole = AUTO.learn(evidence, own)

    class KilledError(Exception):
        pass

    def checkpoint(arrays):
        kept.clear()
        kept.update(arrays)
        if any(name.startswith("sequential/") for name in arrays):
            raise KilledError

    with pytest.raises(KilledError):
        AUTO.learn(replace(evidence, trainer=Trainer(checkpoint=checkpoint)), own)
    said = []
    trainer = Trainer(resumed=dict(kept), say=said.append)
    again = AUTO.learn(replace(evidence, trainer=trainer), own)
    assert not any(line.startswith(("popular", "neural")) for line in said)
    for name in set(whole) - {auto.COMPETITION}:
        np.testing.assert_array_equal(again[name], whole[name])


def test_candidates_have_the_settings_of_the_catalog_and_what_was_found_for_them():
    own = catalog(
        ease={"regularisation": 7},
        auto={"candidates": ["ease", "item_knn"], "settings": {"item_knn": {"neighbours": 3}}},
    )
    tuned = {"ease": {"regularisation": 1, "dropout": 0.1}, "item_knn": {"neighbours": 9}}
    found = tuned_settings(own, "auto", tuned).settings
    assert found["ease"]["regularisation"] == 7
    assert found["ease"]["dropout"] == 0.1
    assert found["item_knn"]["neighbours"] == 3


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"auto": {"candidates": ["eese"]}}, "eese|candidates"),
        ({"auto": {"candidates": []}}, "candidates"),
        ({"auto": {"candidates": ["content"]}}, "candidates"),
        ({"auto": {"settings": {"eese": {}}}}, "'eese' is no candidate"),
        ({"auto": {"settings": {"neural": {"widht": 3}}}}, "widht"),
    ],
)
def test_what_is_unknown_is_refused_when_the_yaml_is_read(models, message):
    with pytest.raises(ValueError, match=message):
        catalog(**models)
