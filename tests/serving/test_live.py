"""What a user does is on the disk and in their next list; the next run gives the same list."""

from datetime import UTC, datetime

import pytest

from recsys_dagster.serving.live import SourceColumns
from tests.serving.conftest import NAME

USER = "user-zq-11"
NEW = "somebody-new"
WHEN = "2024-02-01T12:00:00"


def tell(client, *rows, **headers):
    return client.post(f"/v1/{NAME}/interactions", json={"interactions": rows}, headers=headers)


def row(user, item, rating=5, **more):
    return {"user_id": user, "item_id": item, "weight": rating, "timestamp": WHEN} | more


def list_of(client, user, n=5):
    return client.get(f"/v1/{NAME}/users/{user}/recommendations", params={"n": n}).json()


def ids(found):
    return [each["item_id"] for each in found["recommendations"]]


def test_what_a_user_does_counts_in_their_next_request(client):
    before = list_of(client, USER)
    first = ids(before)[0]
    answer = tell(client, row(USER, first))
    assert answer.status_code == 202
    assert answer.json() == {
        "catalog": NAME,
        "accepted": 1,
        "repeated": 0,
        "unknown_items": [],
    }
    after = list_of(client, USER)
    assert (after["how"], after["since"]) == ("computed", 1)
    assert first not in ids(after)


def test_what_is_seen_and_not_liked_leaves_the_list_too(client):
    first = ids(list_of(client, USER))[0]
    tell(client, row(USER, first, rating=1))
    assert first not in ids(list_of(client, USER))


def test_somebody_new_has_a_list_of_their_own_at_once(client):
    assert list_of(client, NEW)["known"] is False
    tell(client, row(NEW, "space1"), row(NEW, "space2"))
    found = list_of(client, NEW)
    assert found["known"] is True
    assert found["recommendations"][0]["because"]


def test_the_next_run_gives_the_list_that_was_computed_and_counts_nothing_twice(
    own_shop, server, client
):
    told = [row(USER, ids(list_of(client, USER))[0]), row(NEW, "space1"), row(NEW, "love2", 4)]
    assert tell(client, *told).status_code == 202
    live = {user: list_of(client, user) for user in (USER, NEW)}
    client.__exit__(None, None, None)  # the server ends, and its file is closed
    result = own_shop.run(NAME)
    assert result.success
    again = server(own_shop)
    for user, before in live.items():
        after = list_of(again, user)
        assert after["how"] == "stored", "what a run has read is not counted again"
        # The model was learned again, with these rows: who has seen what is the same.
        assert not set(ids(after)) & {each["item_id"] for each in told if each["user_id"] == user}
        assert {each["strategy"] for each in before["recommendations"]} >= {"hybrid"}


def test_rows_survive_a_restart_of_the_server(own_shop, server, client):
    tell(client, row(NEW, "space1"))
    before = ids(list_of(client, NEW))
    client.__exit__(None, None, None)
    assert ids(list_of(server(own_shop), NEW)) == before


def test_a_row_told_twice_counts_once(client):
    for key, expected in (("order-1", (1, 0)), ("order-1", (0, 1))):
        answer = tell(client, row(NEW, "space1", key=key)).json()
        assert (answer["accepted"], answer["repeated"]) == expected
    for expected in ((2, 0), (0, 2)):
        rows = (row(NEW, "love1"), row(NEW, "love2"))
        answer = tell(client, *rows, **{"Idempotency-Key": "request-7"}).json()
        assert (answer["accepted"], answer["repeated"]) == expected


def test_what_a_run_would_reject_is_refused_and_nothing_of_it_taken(client, own_shop):
    answer = tell(
        client, row(NEW, "space1"), row(NEW, "space2") | {"timestamp": "2190-01-01T00:00:00"}
    )
    assert answer.status_code == 422
    assert "interactions.1: timestamp is in the future" in answer.json()["detail"]
    assert list_of(client, NEW)["known"] is False


def test_an_item_that_is_new_is_taken_and_named(client):
    answer = tell(client, row(NEW, "space99"), row(NEW, "space1"))
    assert answer.json()["unknown_items"] == ["space99"]
    assert list_of(client, NEW)["known"] is True


def test_a_source_that_is_no_folder_refuses_and_says_what_to_do(published, server):
    place = published()
    answer = tell(server(place), row(NEW, "space1"))
    assert answer.status_code == 409
    assert "live: {folder: …}" in answer.json()["detail"]


def test_a_catalog_can_name_the_folder(published, server):
    place = published(live={"folder": "../data/landing"})
    client = server(place)
    assert tell(client, row(NEW, "space1")).status_code == 202
    client.__exit__(None, None, None)
    assert list((place.data / "landing").glob("live-*.jsonl"))


@pytest.mark.parametrize(
    ("type_", "format_", "expected"),
    [
        ("VARCHAR", None, "2024-02-01 11:00:00.000"),
        ("VARCHAR", "%d.%m.%Y %H:%M", "01.02.2024 11:00"),
        ("BIGINT", None, 1706785200),
        ("DOUBLE", None, 1706785200.0),
    ],
)
def test_rows_are_written_as_the_source_writes_them(type_, format_, expected):
    columns = SourceColumns(
        {"user_id": "userId", "weight": "stars", "timestamp": "ts"},
        {"user_id": "BIGINT", "weight": "VARCHAR", "timestamp": type_},
        format_,
        ",",
    )
    at = datetime.fromisoformat("2024-02-01T12:00:00+01:00")
    found = columns.row({"user_id": "7", "weight": 4.5, "timestamp": at, "shop": "north"})
    assert found == {"userId": 7, "stars": "4,5", "ts": expected, "shop": "north"}
    assert at.astimezone(UTC).hour == 11


def test_rows_that_land_beside_a_file_are_read_by_the_next_run(published, server):
    place = published(live={"folder": "../data/landing"})
    client = server(place)
    assert tell(client, row(NEW, "space1"), row(NEW, "love1")).status_code == 202
    client.__exit__(None, None, None)
    assert place.run("tiny").success
    found = list_of(server(place), NEW)
    assert (found["known"], found["how"]) == (True, "stored")
    assert not {"space1", "love1"} & set(ids(found))
