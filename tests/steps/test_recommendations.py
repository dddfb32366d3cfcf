"""Lists: nothing seen, nothing that cannot be had, full while the catalogue lasts, with reasons."""

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recsys_dagster.schemas import RECOMMENDATIONS
from recsys_dagster.steps.lists import recommendations as module
from recsys_dagster.steps.lists.recommendations import (
    popular_items,
    recommend,
    recommendations_table,
)
from recsys_dagster.steps.models import STRATEGIES as REGISTRY
from recsys_dagster.steps.models.base import NOT_RANKED, Evidence, UserBlock
from recsys_dagster.steps.models.content import ContentModel
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.models.item_weights import ItemWeightsModel
from recsys_dagster.steps.models.popular import PopularModel, popularity
from recsys_dagster.steps.similarity.every_pair import pairwise
from recsys_dagster.steps.similarity.space import Space
from recsys_dagster.steps.similarity.tables import item_neighbours, similarity_matrix

STRATEGIES = ("popular", "content", "similar_items", "ease", "hybrid")
MADE_AT = pd.Timestamp("2024-01-01 12:00")


def lists_of(fitted, behaviour, similar, n):
    """The table as a frame."""
    blocks = recommend(fitted, behaviour, similar, n)
    table = recommendations_table(blocks, behaviour, fitted.strategy, "run", MADE_AT)
    assert table.column_names == RECOMMENDATIONS.column_names
    return pd.DataFrame(table.to_pylist(), columns=table.column_names)


def nothing_similar(behaviour):
    return sparse.csr_matrix(behaviour.seen.shape, dtype=np.float32)


def by_user(frame):
    return {user: rows["item_id"].tolist() for user, rows in frame.groupby("user_id")}


def sparse_of(entries, shape):
    return sparse.csr_matrix((entries.similarities, (entries.rows, entries.columns)), shape=shape)


def fitted(strategy, behaviour, seed=0, *, profiles=False):
    """A strategy fitted on random item vectors, and the similarity matrix; with profiles new users
    have a vector too."""
    users, items = behaviour.seen.shape
    rng = np.random.default_rng(seed)
    space = Space("cosine", None)
    things = space.project(rng.standard_normal((items, 4)))
    people = space.project(rng.standard_normal((users, 4)))
    seen = np.diff(behaviour.seen.indptr)
    near = sparse_of(similarity_matrix(people, things, seen, 2, "cosine"), (users, items))
    if not profiles:
        near = near.multiply((np.diff(behaviour.positives.indptr) > 0)[:, None]).tocsr()
        near.eliminate_zeros()  # an entry of 0 would be ranked
    alike = sparse_of(item_neighbours(things, 2, "cosine"), (items, items))
    own = REGISTRY[strategy]
    wanted = {"regularisation": 5, "semantic_share": 0.4}
    settings = own.settings.model_validate(
        {name: value for name, value in wanted.items() if name in own.settings.model_fields}
    )
    model = own.fit(Evidence(behaviour, things, space, lambda: alike), settings)
    return Fitted(own, model, popularity(behaviour.positives)), near


def item_weights(B, behaviour):
    model = ItemWeightsModel(B, np.arange(len(B)))
    return Fitted(REGISTRY["ease"], model, popularity(behaviour.positives))


USERS = ["u1", "u2", "u3", "u4"]
CATALOGUE = list("abcdefg")
pairs_of_users = st.dictionaries(
    # x and y are interacted with, but not in the catalogue
    st.tuples(st.sampled_from(USERS), st.sampled_from([*CATALOGUE, "x", "y"])),
    st.booleans(),
    max_size=36,
)


# What holds for every list


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=20)
@given(
    pairs=pairs_of_users,
    unavailable=st.sets(st.sampled_from(CATALOGUE)),
    n=st.integers(1, 9),
    seed=st.integers(0, 20),
)
def test_every_list_is_right(behaviour_of, strategy, pairs, unavailable, n, seed):
    rows = [(user, item, 1.0, positive) for (user, item), positive in pairs.items()]
    behaviour = behaviour_of(rows, USERS, CATALOGUE, unavailable=unavailable)
    model, similar = fitted(strategy, behaviour, seed, profiles=True)
    frame = lists_of(model, behaviour, similar, n)
    score = dict(zip(behaviour.item_ids, popularity(behaviour.positives), strict=True))
    for user in USERS:
        seen = {item for owner, item in pairs if owner == user}
        liked = {item for (owner, item), positive in pairs.items() if owner == user and positive}
        own = frame[frame["user_id"] == user]
        items = own["item_id"].tolist()
        left = set(CATALOGUE) - seen - unavailable
        assert set(items) <= left
        assert len(items) == len(set(items)) == min(n, len(left))
        assert own["rank"].tolist() == list(range(1, len(items) + 1))
        ranking = strategy if liked else REGISTRY[strategy].without_history
        assert set(own["strategy"]) <= {ranking, "popular"}
        assert np.isfinite(own["score"].astype("float64")).all()

        ranked, filled = own[own["strategy"] == ranking], own[own["strategy"] == "popular"]
        assert ranked["score"].is_monotonic_decreasing
        if strategy != "popular":
            # Fillers come last, the most popular of those that are left.
            assert (own["strategy"] == "popular").is_monotonic_increasing
            rest = sorted(left - set(ranked["item_id"]), key=lambda item: (-score[item], item))
            assert filled["item_id"].tolist() == rest[: len(filled)]
        assert filled["score"].tolist() == [score[item] for item in filled["item_id"]]
        assert not filled["because"].map(len).any()
        for because in own["because"]:
            shares = [reason["share"] for reason in because]
            assert len(because) <= 3
            assert all(0 < share <= 1 for share in shares)
            assert shares == sorted(shares, reverse=True)
            assert sum(shares) <= 1 + 1e-9
            assert {reason["item_id"] for reason in because} <= liked


def plain_list(fitted, behaviour, similar, user, n):
    """(item, score, filled, [(history item, share)]) of one user, as one would write it first."""
    positives, seen, popular = behaviour.positives, behaviour.seen, fitted.popularity
    row = np.array([user])
    block = UserBlock.of(behaviour, similar, row)
    scores = fitted.score(block)[0]
    left = [i for i in np.flatnonzero(behaviour.recommendable) if not seen[user, i]]
    ranked = sorted((i for i in left if scores[i] > NOT_RANKED), key=lambda i: (-scores[i], i))[:n]
    fills = sorted((i for i in left if i not in ranked), key=lambda i: (-popular[i], i))
    rows = []
    for item in ranked:
        parts = fitted.model.contributions(block, np.array([0]), np.array([item])).astype(
            np.float64
        )
        total = parts[parts > 0].sum()
        order = [h for h in np.argsort(-parts, kind="stable") if parts[h] > 0][:3]
        history = positives[row].indices
        rows.append((item, scores[item], False, [(history[h], parts[h] / total) for h in order]))
    return rows + [(item, popular[item], True, []) for item in fills[: n - len(ranked)]]


@pytest.mark.parametrize("strategy", [*STRATEGIES, "ties"])
def test_blocks_of_users_get_what_each_user_alone_would_get(behaviour_of, monkeypatch, strategy):
    rng = np.random.default_rng(0)
    items, users, n = [f"i{i:02}" for i in range(70)], [f"u{u:02}" for u in range(60)], 6
    appetite = rng.choice([0, 0.02, 0.2, 0.97], size=60)
    rows = [
        (user, item, rng.random(), rng.random() < 0.8)
        for user, share in zip(users, appetite, strict=True)
        for item in items
        if rng.random() < share
    ]
    behaviour = behaviour_of(rows, users, items[:65], unavailable=items[10:15])
    if strategy == "ties":
        B = rng.integers(-2, 3, (len(behaviour.item_ids),) * 2).astype(np.float32)
        model, similar = item_weights(B, behaviour), nothing_similar(behaviour)
    else:
        model, similar = fitted(strategy, behaviour)
    monkeypatch.setattr(module, "BLOCK_CELLS", 1500)
    frame = lists_of(model, behaviour, similar, n)
    found = dict(iter(frame.groupby("user_id")))
    assert (frame["strategy"] == "popular").any()
    for user, name in enumerate(users):
        expected = plain_list(model, behaviour, similar, user, n)
        if not expected:
            assert name not in found
            continue
        own = found[name]
        wanted, scores, filled, because = zip(*expected, strict=True)
        assert own["item_id"].tolist() == behaviour.item_ids[list(wanted)].tolist()
        np.testing.assert_allclose(own["score"], scores, rtol=1e-5)
        assert own["strategy"].tolist() == [
            "popular" if fill else model.strategy.name for fill in filled
        ]
        for reasons, pairs in zip(own["because"], because, strict=True):
            ids = [behaviour.item_ids[item] for item, _ in pairs]
            assert [reason["item_id"] for reason in reasons] == ids
            shares = [share for _, share in pairs]
            np.testing.assert_allclose([reason["share"] for reason in reasons], shares, rtol=1e-5)


def test_blocks_do_not_change_the_lists(behaviour_of, monkeypatch):
    rng = np.random.default_rng(0)
    rows = [(f"u{u:02}", f"i{i}") for u in range(17) for i in range(20) if rng.random() < 0.2]
    behaviour = behaviour_of(rows, [f"u{u:02}" for u in range(17)], [f"i{i}" for i in range(20)])
    model, similar = fitted("hybrid", behaviour)
    whole = lists_of(model, behaviour, similar, 5)
    monkeypatch.setattr(module, "BLOCK_CELLS", 120)
    pd.testing.assert_frame_equal(lists_of(model, behaviour, similar, 5), whole)
    calls = []
    list(recommend(model, behaviour, similar, 5, lambda *done: calls.append(done)))
    done = [users for users, _ in calls]
    assert done == sorted(set(done))
    assert len(done) > 2
    assert calls[-1] == (17, 17)


def test_what_is_not_available_is_neither_ranked_nor_filled_in(behaviour_of):
    rows = [("u", "a"), ("u", "b"), ("v", "a"), ("v", "b"), ("v", "c"), ("v", "d"), ("w", "a")]
    users = ["new", "u", "v", "w"]
    behaviour = behaviour_of(rows, users, list("abcd"), unavailable=["b", "c"])
    model, similar = fitted("ease", behaviour)
    frame = lists_of(model, behaviour, similar, 4)
    assert by_user(frame) == {"new": ["a", "d"], "u": ["d"], "w": ["d"]}
    # It still speaks for others: what u had is a reason.
    (because,) = frame.loc[frame["user_id"] == "u", "because"]
    assert {reason["item_id"] for reason in because} == {"a", "b"}


def test_users_without_anything_get_popular_items(behaviour_of):
    behaviour = behaviour_of([("u", "b"), ("v", "b"), ("v", "c")], ["new", "u", "v"], list("abcd"))
    model, similar = fitted("ease", behaviour)
    frame = lists_of(model, behaviour, similar, 3)
    new = frame[frame["user_id"] == "new"]
    assert new["item_id"].tolist() == ["b", "c", "a"]
    assert new["score"].tolist() == [1, 0.5, 0]
    assert set(new["strategy"]) == {"popular"}


def test_a_list_is_short_only_when_the_catalogue_is_exhausted(behaviour_of):
    rows = [("u", "a"), ("u", "b"), ("v", "a"), ("v", "b"), ("v", "c")]
    behaviour = behaviour_of(rows, ["u", "v", "w"], list("abc"))
    model, similar = fitted("hybrid", behaviour)
    frame = lists_of(model, behaviour, similar, 5)
    assert {user: len(items) for user, items in by_user(frame).items()} == {"u": 1, "w": 3}


@pytest.mark.parametrize(("users", "items"), [([], ["a"]), (["u"], [])], ids=str)
def test_no_users_and_no_items(behaviour_of, users, items):
    behaviour = behaviour_of([], users, items)
    shares = np.zeros(len(items), dtype=np.float32)
    model = Fitted(REGISTRY["popular"], PopularModel(shares), shares)
    assert len(lists_of(model, behaviour, nothing_similar(behaviour), 3)) == 0


# Reasons


def test_shares_are_positive_contributions_over_their_sum(behaviour_of):
    behaviour = behaviour_of([("u", item) for item in "abcde"], ["u"], list("abcdef"))
    B = np.zeros((6, 6), dtype=np.float32)
    B[:5, 5] = [1, 4, -2, 3, 2]
    (because,) = lists_of(item_weights(B, behaviour), behaviour, nothing_similar(behaviour), 1)[
        "because"
    ]
    assert because == [
        {"item_id": "b", "share": 0.4},
        {"item_id": "d", "share": pytest.approx(0.3)},
        {"item_id": "e", "share": 0.2},
    ]


def test_what_only_has_contributions_against_it_has_no_reasons(behaviour_of):
    behaviour = behaviour_of([("u", "a")], ["u"], ["a", "b"])
    B = np.array([[0, -1], [0, 0]], dtype=np.float32)
    frame = lists_of(item_weights(B, behaviour), behaviour, nothing_similar(behaviour), 1)
    assert frame["item_id"].tolist() == ["b"]
    assert frame["because"].tolist() == [[]]


def test_equal_contributions_keep_the_order_of_the_history(behaviour_of):
    behaviour = behaviour_of([("u", item) for item in "abcde"], ["u"], list("abcdef"))
    B = np.zeros((6, 6), dtype=np.float32)
    B[:5, 5] = [1, 2, 1, 2, 1]
    (because,) = lists_of(item_weights(B, behaviour), behaviour, nothing_similar(behaviour), 1)[
        "because"
    ]
    assert [reason["item_id"] for reason in because] == ["b", "d", "a"]


# Strategies in lists


def test_content_from_the_matrix_equals_the_dense_computation(behaviour_of):
    rng = np.random.default_rng(0)
    users, items, n = [f"u{u:02}" for u in range(25)], [f"i{i:02}" for i in range(60)], 7
    rows = [
        (user, item) for user in users for item in items if rng.random() < rng.choice([0.05, 0.9])
    ]
    behaviour = behaviour_of(rows, users, items)
    space = Space.of(rng.standard_normal((60, 8)), "cosine", centre=True)
    people = space.project(rng.standard_normal((25, 8)))
    things = space.project(rng.standard_normal((60, 8)))
    # No wider than a list: the items seen are on top of it.
    entries = similarity_matrix(people, things, np.diff(behaviour.seen.indptr), n, "cosine")
    model = Fitted(REGISTRY["content"], ContentModel(things), popularity(behaviour.positives))
    frame = lists_of(model, behaviour, sparse_of(entries, (25, 60)), n)
    dense = pairwise(people, things, "cosine")
    dense[behaviour.seen.nonzero()] = -np.inf
    lists = by_user(frame)
    for row, user in enumerate(users):
        order = [i for i in np.argsort(-dense[row], kind="stable")[:n] if dense[row, i] > -np.inf]
        assert lists[user] == [items[i] for i in order]
        own = frame[frame["user_id"] == user]
        np.testing.assert_allclose(own["score"], dense[row, order], atol=1e-6)
    assert set(frame["strategy"]) == {"content"}


def test_a_cold_item_can_be_recommended_first(behaviour_of):
    rows = [(user, item) for user in ("u", "v") for item in ("crime1", "crime2")]
    rows += [("w", "love1"), ("w", "love2"), ("x", "crime1")]
    catalogue = ["crime1", "crime2", "crime3", "love1", "love2", "love3"]
    behaviour = behaviour_of(rows, list("uvwx"), catalogue)
    vectors = np.array([[1, 0], [1, 0.1], [1, 0.05], [0, 1], [0.1, 1], [0.05, 1]], np.float32)
    own, space = REGISTRY["hybrid"], Space("cosine", None)
    settings = own.settings.model_validate(
        {
            "regularisation": 10,
            "semantic_share": 0.1,
            "dropout": 0,
            "gfcf_weight": 0,
            "popularity_weight": 0,
        }
    )
    nothing = nothing_similar(behaviour)
    evidence = Evidence(behaviour, space.project(vectors), space, lambda: nothing)
    model = Fitted(own, own.fit(evidence, settings), popularity(behaviour.positives))
    frame = lists_of(model, behaviour, nothing, 1)
    assert by_user(frame)["u"] == ["crime3"]
    assert by_user(frame)["w"] == ["love3"]
    (because,) = frame.loc[frame["user_id"] == "u", "because"]
    assert {reason["item_id"] for reason in because} == {"crime1", "crime2"}


# Tables


def test_the_table_has_the_types_of_the_schema(behaviour_of):
    behaviour = behaviour_of([("u", "a")], ["u"], ["a", "b"])
    model, similar = fitted("popular", behaviour)
    blocks = recommend(model, behaviour, similar, 2)
    table = recommendations_table(blocks, behaviour, model.strategy, "run-1", MADE_AT)
    with duckdb.connect() as connection:
        described = connection.register("lists", table).execute("describe lists").fetchall()
    assert [row[:2] for row in described] == [
        (column.name, column.type) for column in RECOMMENDATIONS.columns
    ]
    assert table.to_pylist() == [
        {
            "user_id": "u",
            "item_id": "b",
            "score": 0.0,
            "rank": 1,
            "strategy": "popular",
            "because": [],
            "run_id": "run-1",
            "made_at": MADE_AT.to_pydatetime(),
        }
    ]


def test_popular_items_ranks_what_can_be_had_of_the_catalogue_and_nothing_else(
    behaviour_of, items_of
):
    rows = [("u", "c"), ("v", "c"), ("v", "a"), ("u", "x"), ("v", "x"), ("u", "b", 1.0, False)]
    rows += [("u", "sold_out"), ("v", "sold_out")]
    behaviour = behaviour_of(rows, ["u", "v"], [*"abcd", "sold_out"], unavailable=["sold_out"])
    items = items_of([*"abcd", "sold_out"])
    table = popular_items(behaviour, popularity(behaviour.positives), items)
    ranked = table[table["rank"].notna()]
    assert ranked[["item_id", "score", "rank"]].to_dict("list") == {
        "item_id": ["c", "a", "b", "d"],
        "score": [1.0, 0.5, 0.0, 0.0],
        "rank": [1, 2, 3, 4],
    }
    assert table.loc[table["rank"].isna(), "item_id"].tolist() == ["sold_out"]
