"""A search that climbs: few trials, none twice, and no luck taken for merit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.steps.evaluation.tuning import Trial, chosen, free_settings, search
from recsys_dagster.steps.models import SEARCHED, STRATEGIES
from recsys_dagster.steps.models.fitting import settings_of, tuned_settings

LADDER = {"a": (1, 2, 3, 4), "b": (10, 20)}


def catalog(**settings) -> Catalog:
    smallest = {
        "name": "shop",
        "interactions": {"source": "i.csv"},
        "items": {"source": "m.csv", "text": "title"},
    }
    return Catalog.model_validate(smallest | settings)


def trials_of(height, start=None, most=50) -> list[Trial]:
    """Trials of a search where `height` says how good the whole of the settings is."""
    start = start or {"a": 1, "b": 10}
    return list(search(LADDER, start, lambda own: np.array([height(start | own)]), most))


def test_it_climbs_to_the_top_of_a_hill_one_knob_after_the_other():
    trials = trials_of(lambda own: own["a"] + own["b"])
    assert trials[0].settings == {}
    assert max(trials, key=lambda trial: trial.value).settings == {"a": 4, "b": 20}


def test_it_goes_on_in_a_direction_only_as_long_as_that_helps():
    tried = [trial.settings for trial in trials_of(lambda own: -abs(own["a"] - 2))]
    assert tried == [{}, {"a": 2}, {"a": 3}, {"a": 2, "b": 20}]


def test_a_start_between_the_values_is_left_in_both_directions():
    tried = trials_of(lambda own: -own["a"], start={"a": 2.5, "b": 20})
    assert {"a": 3} in [trial.settings for trial in tried]
    assert max(tried, key=lambda trial: trial.value).settings == {"a": 1}


@given(
    st.lists(st.integers(0, 5), min_size=8, max_size=8),
    st.integers(1, 12),
    st.sampled_from([1, 2, 3, 4]),
)
def test_never_twice_never_too_many_never_worse(heights, most, first):
    places = {
        (a, b): heights[4 * j + i]
        for i, a in enumerate(LADDER["a"])
        for j, b in enumerate(LADDER["b"])
    }
    trials = trials_of(lambda own: places[own["a"], own["b"]], {"a": first, "b": 10}, most)
    tried = [tuple(sorted(trial.settings.items())) for trial in trials]
    assert len(tried) == len(set(tried)) <= most
    best = max(trial.value for trial in trials)
    assert best >= trials[0].value
    if len(trials) < most:
        top = max(trials, key=lambda trial: trial.value).settings
        a, b = ({"a": first, "b": 10} | top).values()
        steps = [(a + 1, b), (a - 1, b), (a, 20 if b == 10 else 10)]
        assert all(places[step] <= best for step in steps if step in places)


def test_the_same_scores_give_the_same_trials():
    def tried() -> list[dict]:
        return [trial.settings for trial in trials_of(lambda own: own["a"] * own["b"] % 7)]

    assert tried() == tried()


def test_a_gain_within_its_standard_error_is_not_chosen():
    first = Trial({}, np.array([0.5, 0.5, 0.5, 0.5]), 0.0)
    lucky = Trial({"a": 2}, np.array([1.0, 0.0, 1.0, 0.1]), 0.0)
    better = Trial({"a": 3}, np.array([0.6, 0.6, 0.6, 0.7]), 0.0)
    assert chosen([first, lucky]) is first
    assert chosen([first, lucky, better]) is better
    assert chosen([first]) is first


def test_a_setting_that_the_yaml_names_is_left_alone():
    own = catalog(models={"ease": {"dropout": 0.1}, "hybrid": {"dropout": 0.1}})
    free = free_settings(own, "ease")
    assert "dropout" not in free
    assert free["regularisation"] == STRATEGIES["ease"].searched["regularisation"].values
    assert free_settings(own, "content") == {}
    tuned = {"hybrid": {"dropout": 0.8, "semantic_share": 0.5}, "ease": {"dropout": 0.8}}
    used = tuned_settings(own, "hybrid", tuned)
    assert (used.dropout, used.semantic_share) == (0.1, 0.5)
    untouched = catalog(models={"tuned": False})
    assert tuned_settings(untouched, "hybrid", tuned) == settings_of(untouched, "hybrid")


@pytest.mark.parametrize("strategy", SEARCHED)
def test_every_value_is_one_that_the_catalog_accepts(strategy):
    for name, mark in STRATEGIES[strategy].searched.items():
        assert list(mark.values) == sorted(mark.values)
        for value in mark.values:
            own = catalog(models={strategy: {name: value}})
            assert getattr(settings_of(own, strategy), name) == value
