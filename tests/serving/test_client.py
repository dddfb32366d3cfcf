"""The clients ask what the API answers."""

import asyncio
from datetime import UTC, datetime

import pytest

from recsys_dagster.client import AsyncClient, Client, Problem
from recsys_dagster.client.types import Recommendations
from tests.serving.conftest import NAME

USER = "user-zq-11"


@pytest.fixture
def asking(listening):
    with Client(listening) as found:
        yield found


def test_a_list_its_reasons_and_its_neighbours(asking):
    found = asking.recommend(NAME, USER, n=3)
    assert (found.how, found.known, len(found.recommendations)) == ("stored", True, 3)
    assert found.recommendations[0].because[0].share > 0
    near = asking.similar(NAME, "space1", n=2)
    assert near.title == "Star Voyage"
    assert len(near.similar) == 2
    assert len(asking.popular(NAME, 4).recommendations) == 4
    assert asking.search(NAME, "wedding")[0].title == "Wedding Day"
    assert [each.catalog for each in asking.catalogs()] == [NAME]


def test_a_history_with_weights_and_times(asking):
    found = asking.recommend_for(
        NAME, ["space1", "space2"], [1, 2], [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2)]
    )
    assert found.how == "computed"
    with pytest.raises(ValueError, match="zip"):
        asking.recommend_for(NAME, ["space1"], [1, 2])


def test_interactions_are_told(asking):
    row = {"user_id": "new", "item_id": "space1", "weight": 5, "timestamp": datetime.now(UTC)}
    assert asking.tell(NAME, [row | {"key": "a"}]).accepted == 1
    assert asking.tell(NAME, [row | {"key": "a"}]).repeated == 1


def test_whether_a_text_has_a_say_is_told():
    content = {"catalog": "c", "snapshot": "s", "how": "computed", "known": True}
    found = Recommendations.of(content | {"recommendations": [], "text_counts": True})
    assert found.text_counts is True


def test_what_is_wrong_is_raised_in_the_servers_words(asking):
    with pytest.raises(Problem, match="Star Voyage") as found:
        asking.similar(NAME, "Star Voyag")
    assert found.value.status == 404


def test_ids_with_any_character_reach_the_server(asking):
    for user in ("a/b?c#ü", ".", "..", "...", "a/.."):
        assert asking.recommend(NAME, user).user_id == user
    for item in (".", ".."):
        with pytest.raises(Problem, match="item"):
            asking.similar(NAME, item)


def test_the_other_client_asks_the_same(listening):
    async def asked():
        async with AsyncClient(listening) as other:
            return await other.recommend(NAME, USER, n=2), await other.catalogs()

    found, catalogs = asyncio.run(asked())
    assert len(found.recommendations) == 2
    assert catalogs[0].users == 8
