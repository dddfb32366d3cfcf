"""Intervals hold what they promise, pairing helps, and the same seed gives the same figures."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_dagster.steps.evaluation import intervals as module
from recsys_dagster.steps.evaluation.intervals import Bootstrap, holm, two_sided

METRIC = ("all", "recall@20")


def scores_of(**strategies):
    return {name: {METRIC: np.asarray(values)} for name, values in strategies.items()}


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    repeats, users = 400, 60
    covered = 0
    for repeat in range(repeats):
        table = Bootstrap.of(
            scores_of(popular=rng.exponential(size=users)), resamples=300, seed=repeat
        ).intervals()
        covered += table["low"].item() <= 1 <= table["high"].item()
    assert 0.88 < covered / repeats < 0.98


def test_widths_agree_with_the_normal_interval():
    rng = np.random.default_rng(1)
    values = rng.standard_normal(20_000)
    (row,) = Bootstrap.of(scores_of(popular=values)).intervals().itertuples()
    assert row.value == pytest.approx(values.mean())
    assert row.high - row.low == pytest.approx(2 * 1.96 * values.std() / 20_000**0.5, rel=0.1)


def test_pairing_narrows_the_interval_of_a_difference():
    rng = np.random.default_rng(2)
    common = rng.standard_normal(500)
    one, other = (common + 0.3 * rng.standard_normal(500) for _ in range(2))
    paired = Bootstrap.of(scores_of(popular=one, hybrid=other)).differences("popular")
    apart = [Bootstrap.of(scores_of(it=it), seed=place) for place, it in enumerate((one, other))]
    unpaired = apart[1].resampled[:, 0, 0] - apart[0].resampled[:, 0, 0]
    width = paired["high"].item() - paired["low"].item()
    assert width < 0.6 * np.ptp(np.quantile(unpaired, [0.025, 0.975]))
    assert paired["difference"].item() == pytest.approx((other - one).mean())


def test_p_values_are_small_for_what_differs_and_uniform_for_what_does_not():
    rng = np.random.default_rng(3)
    p_values = []
    for seed in range(200):
        one, other = rng.standard_normal((2, 80))
        bootstrap = Bootstrap.of(
            scores_of(popular=one, none=other, much=one + 1 + 0.1 * other), 200, seed
        )
        table = bootstrap.differences("popular").set_index("strategy")
        assert table.loc["much", "p_value"] == 2 / 201
        p_values.append(table.loc["none", "p_value"])
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.1
    assert 0.4 < np.mean(p_values) < 0.6


def test_equal_strategies_do_not_differ():
    values = np.random.default_rng(4).random(1_000)
    table = Bootstrap.of(
        scores_of(popular=values, same=values.copy(), like=1 - (1 - values)), 100
    ).differences("popular")
    assert (table[["difference", "low", "high"]] == 0).all(axis=None)
    assert (table[["p_value", "p_holm"]] == 1).all(axis=None)


@given(st.integers(0, 2**32 - 1))
def test_small_p_values_go_with_intervals_without_zero(seed):
    rng = np.random.default_rng(seed)
    scores = {name: rng.standard_normal(30) + shift for name, shift in (("popular", 0), ("b", 0.5))}
    table = Bootstrap.of(scores_of(**scores), 199, seed).differences("popular")
    outside = (table["low"] > 0) | (table["high"] < 0)
    # Between the two the draws that the p-value adds leave a narrow gap.
    assert not (table["p_value"] < 0.05).item() or outside.item()
    assert not outside.item() or (table["p_value"] < 0.07).item()


def test_two_sided_p_values():
    draws = np.array([[-1, 0, 1, np.nan], [2, 0, 1, np.nan], [3, 0, 1, np.nan]], dtype=float)
    np.testing.assert_array_equal(two_sided(draws), [1, 1, 0.5, np.nan])


# Holm


def test_holm_by_hand():
    # Sorted .005 ·4, .01 ·3, .03 ·2, .04 ·1 = .02, .03, .06, .04, which may not fall again.
    adjusted = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02])


def test_holm_stops_at_one_and_passes_over_what_is_not_known():
    np.testing.assert_allclose(holm(np.array([0.6, np.nan, 0.2])), [0.6, np.nan, 0.4])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1, 1])
    assert holm(np.empty(0)).shape == (0,)


def test_holm_goes_across_strategies_metric_by_metric():
    rng = np.random.default_rng(5)
    scores = {
        name: {("all", metric): rng.random(50) for metric in ("recall@20", "ndcg@20")}
        for name in ("popular", "content", "ease", "hybrid")
    }
    table = Bootstrap.of(scores, 100).differences("ease")
    assert set(table["strategy"]) == {"popular", "content", "hybrid"}
    for _, rows in table.groupby("metric"):
        np.testing.assert_allclose(rows["p_holm"], holm(rows["p_value"].to_numpy()))


# Draws


def test_the_same_seed_gives_the_same_whatever_else_is_compared():
    rng = np.random.default_rng(6)
    one, other = rng.random((2, 10_000))
    alone = Bootstrap.of(scores_of(popular=one), 50, seed=1)
    beside = Bootstrap.of(scores_of(other=other, popular=one), 50, seed=1)
    pd.testing.assert_frame_equal(
        alone.intervals(), Bootstrap.of(scores_of(popular=one), 50, seed=1).intervals()
    )
    np.testing.assert_allclose(beside.resampled[:, 1], alone.resampled[:, 0], rtol=1e-12)
    different = Bootstrap.of(scores_of(popular=one), 50, seed=2)
    assert not np.allclose(different.resampled, alone.resampled)


def test_each_resample_draws_as_many_users_as_there_are(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_USERS", 7)
    counts = np.hstack([weights for _, weights in module._draws(40, 3_000, seed=0)])
    assert (counts.sum(axis=1) == 40).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.1)
    np.testing.assert_allclose(counts.var(axis=0), 1 - 1 / 40, atol=0.15)
    # Multinomial counts of two users are correlated by −1 / (n − 1), within blocks and across.
    correlations = np.corrcoef(counts.T)[np.triu_indices(40, 1)]
    assert correlations.mean() == pytest.approx(-1 / 39, abs=0.005)


def test_resampled_means_are_means_over_the_drawn_users(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_USERS", 4)
    values = np.array([0.1, np.nan, 0.4, 0.9, 0.3, np.nan, 0.7])
    bootstrap = Bootstrap.of(scores_of(popular=values), 20, seed=3)
    counts = np.hstack([weights for _, weights in module._draws(7, 20, seed=3)]).astype(int)
    expected = [np.nanmean(np.repeat(values, row)) for row in counts]
    np.testing.assert_allclose(bootstrap.resampled[:, 0, 0], expected)
    assert bootstrap.users.tolist() == [5]
    assert bootstrap.values.item() == pytest.approx(np.nanmean(values))


def test_a_slice_without_users_has_no_figures():
    scores = {
        name: {METRIC: np.arange(5.0), ("cold_items", "recall@20"): np.full(5, np.nan)}
        for name in ("popular", "content")
    }
    bootstrap = Bootstrap.of(scores, 50)
    values, differences = bootstrap.intervals(), bootstrap.differences("popular")
    empty = values["slice"] == "cold_items"
    assert values.loc[empty, ["value", "low", "high"]].isna().all(axis=None)
    assert (values.loc[empty, "users"] == 0).all()
    assert values.loc[~empty, "value"].notna().all()
    assert differences.loc[differences["slice"] == "cold_items", "p_holm"].isna().all()


def test_a_slice_that_resamples_can_miss():
    (row,) = Bootstrap.of(scores_of(popular=[0.5] + [np.nan] * 9)).intervals().itertuples()
    assert (row.users, row.value, row.low, row.high) == (1, 0.5, 0.5, 0.5)


@pytest.mark.filterwarnings("error")
def test_tables_name_their_rows_also_where_there_is_nothing_to_compare():
    second = ("head_items", "ndcg@20")
    scores = {
        name: {METRIC: np.array([value]), second: np.array([-value])}
        for name, value in [("a", 1.0), ("b", 3.0)]
    }
    bootstrap = Bootstrap.of(scores, 20)
    table = bootstrap.intervals()
    assert table.columns.tolist() == [
        "strategy",
        "slice",
        "metric",
        "users",
        "value",
        "low",
        "high",
    ]
    assert table.iloc[:, :5].to_numpy().tolist() == [
        ["a", *METRIC, 1, 1],
        ["a", *second, 1, -1],
        ["b", *METRIC, 1, 3],
        ["b", *second, 1, -3],
    ]
    differences = bootstrap.differences("b")
    assert differences["difference"].tolist() == [-2, 2]
    alone = Bootstrap.of({"a": scores["a"]}, 20).differences("a")
    assert alone.empty
    assert alone.columns.equals(differences.columns)


def test_strategies_must_be_comparable():
    with pytest.raises(ValueError, match="the same users in each metric"):
        Bootstrap.of(scores_of(a=[1.0, np.nan], b=[np.nan, 1.0]))
    with pytest.raises(ValueError, match=r"the same users$"):
        Bootstrap.of(scores_of(a=[1.0], b=[1.0, 2.0]))
    with pytest.raises(ValueError, match="the same metrics"):
        Bootstrap.of({"a": {METRIC: np.ones(1)}, "b": {("all", "map@5"): np.ones(1)}})
