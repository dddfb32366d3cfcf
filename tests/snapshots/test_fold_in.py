"""A history folded in gets the list that a run gives to somebody with that history."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import count

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy import sparse

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.schemas import INTERACTIONS
from recsys_dagster.snapshots import fold_in as module
from recsys_dagster.snapshots.model_files import write_model
from recsys_dagster.snapshots.reader import Snapshot
from recsys_dagster.snapshots.writer import publish
from recsys_dagster.steps.evaluation.comparison import Known, train_evidence
from recsys_dagster.steps.lists.recommendations import (
    popular_items,
    recommend,
    recommendations_table,
)
from recsys_dagster.steps.lists.reranking import Reranking
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.fitting import tuned_settings
from recsys_dagster.steps.models.kept import KeptModel
from recsys_dagster.steps.similarity.space import Space
from recsys_dagster.steps.similarity.tables import item_neighbours

LENGTH = 6
START = datetime(2026, 1, 1)
CATALOGUE = [f"i{place:02}" for place in range(14)]
GONE = "x"
"""Interacted with, and not in the catalogue."""
VECTORS = np.random.default_rng(3).standard_normal((len(CATALOGUE), 5)).astype(np.float32)
ITEMS = pd.DataFrame(
    {
        "item_id": pd.Series(CATALOGUE, dtype="str"),
        "title": pd.Series([f"Title {item}" for item in CATALOGUE], dtype="str"),
        "category": pd.Series([*(["A", "B", "C"] * 4), None, None], dtype="str"),
        "available": [item != "i05" for item in CATALOGUE],
        "created_at": pd.to_datetime([START + timedelta(days=3 * n) for n in range(14)]),
    }
)
RULES = {
    "none": {},
    "diverse": {"diversity": 0.4},
    "capped": {"max_per_category": 1},
    "fresh": {"freshness_boost": 0.5, "freshness_half_life_days": 10},
    "all": {"diversity": 0.3, "max_per_category": 2, "freshness_boost": 0.3},
}
NOTHING = pa.table({"item_id": pa.array([], pa.string())})
"""A table that folding in does not look at."""
runs = count()


@dataclass(frozen=True)
class Like:
    """A row of a history."""

    item: str
    weight: float
    day: int


History = list[Like]


def table_of(histories: dict[str, History], timed: bool) -> pd.DataFrame:
    """The table `interactions`; rows without times are in no order."""
    rows = [
        (user, like.item, like.weight, START + timedelta(days=like.day) if timed else pd.NaT)
        for user, history in histories.items()
        for like in history
    ]
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "weight", "last_timestamp"])
    table = table.astype(
        {"user_id": "str", "item_id": "str", "weight": float, "last_timestamp": "datetime64[us]"}
    )
    return table.assign(
        positive=True,
        first_timestamp=table["last_timestamp"],
        last_position=np.nan,
        interaction_count=1,
        left_out=False,
    )[INTERACTIONS.column_names]


def neighbours_of(item_ids: pd.Index) -> sparse.csr_matrix:
    entries = item_neighbours(Space("cosine", None).project(VECTORS), 4, "cosine")
    places = item_ids.get_indexer(CATALOGUE)
    return sparse.csr_matrix(
        (entries.similarities, (places[entries.rows], places[entries.columns])),
        shape=(len(item_ids), len(item_ids)),
    )


def published(folder, strategy, interactions, rules, **catalog) -> Snapshot:
    """What a run publishes of the interactions, step by step."""
    if strategy == "als":
        pytest.importorskip("implicit")
    own = Catalog.model_validate(
        {
            "name": "shop",
            "interactions": {"source": "x.csv"},
            "items": {"source": "y.csv", "text": "{title}"},
            "strategy": strategy,
            "rules": rules,
            "matrix_width": 3,
            "list_length": LENGTH,
            "models": {
                "als": {"factors": 4},
                "recent": {"days": 20},
                "neural": {"epochs": 3, "width": 4},
                "sequential": {"epochs": 3, "width": 4, "negatives": 3, "max_length": 4},
                "auto": {"candidates": ["popular", "item_knn", "sequential"]},
            },
            **catalog,
        }
    )
    users = pd.Series(sorted(interactions["user_id"].unique()), dtype="str")
    known = Known(users, ITEMS, VECTORS, None, neighbours_of)
    evidence, similar = train_evidence(own, interactions, known, users)
    available = ITEMS.loc[ITEMS["available"], "item_id"]
    recommendable = evidence.behaviour.item_ids.isin(available)
    behaviour = replace(evidence.behaviour, recommendable=recommendable)
    strategy_ = STRATEGIES[strategy]
    chosen = tuned_settings(own, strategy, {})
    kept = KeptModel.of(strategy_, chosen, strategy_.learn(evidence, chosen), evidence)
    popular = popular_items(behaviour, kept.popularity, ITEMS)
    listed = popular[popular["rank"].notna()]
    reranking = Reranking.of(
        own.rules,
        behaviour.item_ids,
        listed,
        evidence.item_vectors,
        behaviour.in_catalogue,
        own.centre,
    )
    blocks = recommend(kept.fitted, behaviour, similar, LENGTH, None, reranking)
    made_at = START + timedelta(seconds=next(runs))
    lists = recommendations_table(blocks, behaviour, strategy_, "run", pd.Timestamp(made_at))
    tables = {
        "recommendations": lists,
        "histories": NOTHING,
        "item_neighbours": NOTHING,
        "item_map": NOTHING,
        "popular_items": pa.Table.from_pandas(listed, preserve_index=False),
        "items": pa.Table.from_pandas(
            ITEMS[["item_id", "title", "category"]], preserve_index=False
        ),
    }
    model = write_model(folder / "models", "f1", kept.save(), {"strategy": strategy})
    about = {"settings": own.model_dump(mode="json"), "encoder": {"fingerprint": "e1"}}
    path = publish(
        folder / "snapshots",
        "shop",
        f"run-{next(runs)}",
        pd.Timestamp(made_at),
        tables,
        about,
        model,
        chosen.model_dump(mode="json"),
    )
    snapshot = Snapshot.current(folder / "snapshots", "shop")
    assert snapshot.path == path
    return snapshot


def folded_in(snapshot: Snapshot, history: History, timed: bool = True, n: int = LENGTH):
    return snapshot.fold_in(
        [like.item for like in history],
        [like.weight for like in history],
        [START + timedelta(days=like.day) for like in history] if timed else None,
        n=n,
    )


def assert_same(found, expected):
    """The same rows, numbers to the precision of float32; what ties may change places."""
    assert [(row.rank, row.strategy) for row in found] == [
        (row.rank, row.strategy) for row in expected
    ]
    largest = max((abs(row.score) for row in expected), default=0.0)
    assert_same_order(
        {(row.item_id, row.title): row.score for row in found},
        {(row.item_id, row.title): row.score for row in expected},
        rel=1e-5,
        # A small one is the difference of parts as large as the largest, and rounded as they are.
        abs=1e-6 * max(1.0, largest),
    )
    twins = {row.item_id: row for row in expected}
    for row in found:
        if row.item_id in twins:
            assert_same_order(
                {(each.item_id, each.title): each.share for each in row.because},
                {(each.item_id, each.title): each.share for each in twins[row.item_id].because},
                rel=1e-4,
                # A part is rounded as the largest scores are that it is worked out beside.
                abs=2e-5 * max(1.0, largest / max(abs(row.score), 1e-9)),
            )


def assert_same_order(found, expected, rel, abs):
    """The same numbers in the same order, of the same keys but for ties at the end."""
    values = list(expected.values())
    assert list(found.values()) == pytest.approx(values, rel=rel, abs=abs)
    for key, value in found.items():
        assert value == pytest.approx(expected.get(key, values[-1]), rel=rel, abs=abs), key


def in_an_order(histories: dict[str, History]) -> bool:
    return any(len({like.day for like in history}) > 1 for history in histories.values())


likes = st.builds(
    Like,
    item=st.sampled_from([*CATALOGUE, GONE]),
    weight=st.sampled_from([0.5, 1.0, 2.0, 7.0]),
    day=st.integers(0, 60),
)
some_histories = st.lists(
    st.lists(likes, min_size=1, max_size=8, unique_by=lambda like: like.item),
    min_size=1,
    max_size=8,
).map(lambda lists: {f"u{place}": history for place, history in enumerate(lists)})
many = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("strategy", STRATEGIES)
@many
@given(histories=some_histories, timed=st.booleans(), rules=st.sampled_from(list(RULES)))
def test_a_folded_in_history_gets_the_rows_of_the_run(tmp_path, strategy, histories, timed, rules):
    assume(timed or not STRATEGIES[strategy].needs_order)
    assume(not STRATEGIES[strategy].needs_order or in_an_order(histories))
    snapshot = published(tmp_path, strategy, table_of(histories, timed), RULES[rules])
    for user, history in histories.items():
        if snapshot.knows(user):
            assert_same(folded_in(snapshot, history, timed), snapshot.recommend(user, LENGTH))
        else:
            assert folded_in(snapshot, history, timed) == []


@pytest.fixture(scope="module")
def histories() -> dict[str, History]:
    rng = np.random.default_rng(5)
    return {
        f"u{user:02}": [
            Like(CATALOGUE[item], float(rng.integers(1, 4)), int(rng.integers(0, 60)))
            for item in rng.choice(len(CATALOGUE), size=rng.integers(1, 6), replace=False)
        ]
        for user in range(40)
    }


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_everybody_of_a_larger_run(tmp_path, histories, strategy, rules):
    snapshot = published(tmp_path, strategy, table_of(histories, True), RULES[rules])
    for user, history in histories.items():
        assert_same(folded_in(snapshot, history), snapshot.recommend(user, LENGTH))


@pytest.mark.parametrize("similarity", ["cosine", "euclidean", "dot"])
@pytest.mark.parametrize("centre", [True, False])
def test_every_similarity(tmp_path, histories, similarity, centre):
    interactions = table_of(histories, True)
    snapshot = published(
        tmp_path, "content", interactions, {}, similarity=similarity, centre=centre
    )
    for user, history in histories.items():
        assert_same(folded_in(snapshot, history), snapshot.recommend(user, LENGTH))


@pytest.fixture(scope="module")
def shop(tmp_path_factory, histories) -> Snapshot:
    folder = tmp_path_factory.mktemp("shop")
    return published(folder, "hybrid", table_of(histories, True), {})


class TestHistories:
    def test_the_order_of_a_history_is_that_of_its_times(self, shop, histories):
        history = histories["u03"]
        assert_same(folded_in(shop, history[::-1]), folded_in(shop, history))

    def test_titles_are_items_too(self, shop):
        assert shop.fold_in(["title I02", "i04"]) == shop.fold_in(["i02", "i04"])

    def test_weights_of_a_repeated_item_add_up_and_its_newest_time_counts(self, shop):
        days = [START, START + timedelta(days=9), START + timedelta(days=4)]
        repeated = shop.fold_in(["i02", "i02", "i04"], [1, 2, 1], days)
        assert repeated == shop.fold_in(["i02", "i04"], [3, 1], days[1:])

    def test_aware_times_are_moments_and_naive_ones_are_utc(self, shop):
        naive = [START, START + timedelta(hours=1)]
        tokyo = timezone(timedelta(hours=9))
        expected = shop.fold_in(["i02", "i04"], times=naive)
        for zone in (UTC, tokyo):
            aware = [time.replace(tzinfo=UTC).astimezone(zone) for time in naive]
            assert shop.fold_in(["i02", "i04"], times=aware) == expected
        mixed = [naive[0].replace(tzinfo=UTC).astimezone(tokyo), naive[1]]
        assert shop.fold_in(["i02", "i04"], times=mixed) == expected

    def test_nothing_of_the_history_is_in_the_list(self, shop):
        found = shop.fold_in(["i02", "i04"])
        assert not {row.item_id for row in found} & {"i02", "i04", "i05"}

    def test_a_shorter_list_is_the_beginning_of_a_longer_one(self, shop):
        assert shop.fold_in(["i02"], n=3) == shop.fold_in(["i02"], n=9)[:3]


class TestFaults:
    def test_an_unknown_item_is_an_error_with_the_nearest(self, shop):
        with pytest.raises(UserError, match=r"There is no item 'Title i2'.*Nearest: i.2 \(Title"):
            shop.fold_in(["i02", "Title i2"])

    @pytest.mark.parametrize(
        ("given_", "message"),
        [
            ({"weights": [1]}, "weights: expected one for each of 2 items; found 1"),
            ({"times": [START] * 3}, "times: expected one for each of 2 items; found 3"),
            ({"weights": [1, -1]}, "weights: expected finite numbers from 0 up"),
            ({"weights": [1, float("nan")]}, "weights: expected finite numbers from 0 up"),
            ({"n": 0}, "n: expected at least 1; found 0"),
        ],
        ids=str,
    )
    def test_numbers_that_do_not_fit(self, shop, given_, message):
        with pytest.raises(UserError, match=message):
            shop.fold_in(["i02", "i04"], **given_)

    def test_a_snapshot_whose_model_is_gone(self, tmp_path, histories):
        snapshot = published(tmp_path, "popular", table_of(histories, True), {})
        (snapshot.model_folder / "arrays.safetensors").unlink()
        with pytest.raises(UserError, match="the file is missing"):
            snapshot.fold_in(["i02"])


class TestTexts:
    @pytest.fixture
    def asked(self, monkeypatch) -> list[str]:
        """What was encoded; every text is the vector of i07."""
        texts: list[str] = []

        def encode(text: str) -> np.ndarray:
            texts.append(text)
            return VECTORS[7]

        monkeypatch.setattr(module, "query_encoder", lambda manifest: encode)
        return texts

    @pytest.mark.parametrize("strategy", ["hybrid", "ease", "content"])
    def test_a_text_alone_gives_what_it_is_similar_to(self, tmp_path, histories, strategy, asked):
        snapshot = published(tmp_path, strategy, table_of(histories, True), {})
        found = snapshot.fold_in([], text="something like the eighth", n=3)
        assert asked == ["something like the eighth"]
        assert {row.strategy for row in found} == {"content"}
        assert found[0].item_id == "i07"
        assert found[0].score == pytest.approx(1)
        assert not any(row.because for row in found)

    def test_strategies_that_rank_behaviour_do_not_ask_for_the_text_of_a_history(self, shop, asked):
        assert shop.fold_in(["i02"], text="whatever") == shop.fold_in(["i02"])
        assert asked == []

    def test_neither_gives_what_is_popular(self, shop):
        assert shop.fold_in([], n=4) == shop.popular(4)

    def test_tfidf_cannot_be_asked(self, tmp_path, histories):
        snapshot = published(
            tmp_path, "ease", table_of(histories, True), {}, encoder={"model": "tfidf"}
        )
        with pytest.raises(UserError, match=r"text: the encoder tfidf .* give a history"):
            snapshot.fold_in([], text="love")


def test_what_was_seen_and_not_liked_cannot_be_told_and_may_be_recommended(tmp_path, histories):
    interactions = table_of({**histories, "v": [Like("i02", 1, 1), Like("i03", 1, 1)]}, True)
    disliked = (interactions["user_id"] == "v") & (interactions["item_id"] == "i03")
    interactions["positive"] = ~disliked
    snapshot = published(tmp_path, "popular", interactions, {})
    everything = len(CATALOGUE)
    assert "i03" not in {row.item_id for row in snapshot.recommend("v", everything)}
    assert "i03" in {row.item_id for row in snapshot.fold_in(["i02"], n=everything)}
