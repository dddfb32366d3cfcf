"""What a user does is on the disk and in their next list; the next run gives the same list."""

import json
import os
from datetime import datetime

import pandas as pd
import pytest

from recsys_dagster.errors import UserError
from recsys_dagster.serving import served
from recsys_dagster.serving.landing import KEY
from recsys_dagster.serving.source_columns import SourceColumns
from recsys_dagster.snapshots.reader import Snapshot
from tests.serving.conftest import NAME, until

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


def landed(place, name, content):
    """A file of interactions that is there before a server starts."""
    file = place.data / "orders" / name
    file.write_bytes(content)
    return file


def test_a_line_with_a_bad_byte_is_passed_over_as_a_run_does_it(own_shop, server):
    row_of = (
        '{"user_id":"%s","item_id":"space1","rating":"5.0","timestamp":"2024-02-01","%s":"k-%s"}\n'
    )
    bad, good = (row_of % (user, KEY, user) for user in ("M\xfcller", NEW))
    landed(own_shop, "live-1.jsonl", bad.encode("latin-1") + good.encode() + b'{"user_id":"\n')
    client = server(own_shop)
    assert (list_of(client, NEW)["since"], list_of(client, USER)["how"]) == (1, "stored")
    assert tell(client, row(NEW, "space1", key=f"k-{NEW}")).json()["repeated"] == 1
    client.__exit__(None, None, None)
    assert own_shop.run(NAME).success
    again = server(own_shop)
    assert list_of(again, NEW)["how"] == "stored"
    assert not list_of(again, "M\ufffdller")["known"]


def test_a_file_that_cannot_be_read_stops_no_reader(own_shop, server):
    folder = own_shop.data / "orders" / "live-1.jsonl"
    folder.mkdir()
    client = server(own_shop)
    assert list_of(client, USER)["how"] == "stored"
    answer = tell(client, row(NEW, "space1"))
    assert (answer.status_code, "live-1.jsonl: it could not be read" in answer.text) == (409, True)
    folder.rmdir()
    until(lambda: tell(client, row(NEW, "space1")).status_code == 202)


def test_whatever_keeps_interactions_from_being_taken_stops_no_reader(
    own_shop, server, monkeypatch
):
    landed(own_shop, "live-1.jsonl", b'{"user_id":"a","item_id":"b"}\n')
    with monkeypatch.context() as patch:
        patch.setattr(served, "typed", lambda *_: 1 / 0)
        client = server(own_shop)
        assert list_of(client, USER)["how"] == "stored"
        answer = tell(client, row(NEW, "space1"))
        assert (answer.status_code, "division by zero" in answer.text) == (409, True)
    until(lambda: tell(client, row(NEW, "space1")).status_code == 202)


def test_a_key_that_stands_for_something_else_is_refused(client):
    tell(client, row(NEW, "space1", key="order-1"))
    answer = tell(client, row(USER, "love1", key="order-1"))
    assert answer.status_code == 409
    assert "order-1" in answer.json()["detail"]


def test_a_row_told_twice_counts_once(client):
    for key, expected in (("order-1", (1, 0)), ("order-1", (0, 1))):
        answer = tell(client, row(NEW, "space1", key=key)).json()
        assert (answer["accepted"], answer["repeated"]) == expected
    for expected in ((2, 0), (0, 2)):
        rows = (row(NEW, "love1"), row(NEW, "love2"))
        answer = tell(client, *rows, **{"Idempotency-Key": "request-7"}).json()
        assert (answer["accepted"], answer["repeated"]) == expected
    assert list_of(client, NEW)["since"] == 3


def test_what_a_run_would_reject_is_refused_and_nothing_of_it_taken(client, own_shop):
    answer = tell(
        client, row(NEW, "space1"), row(NEW, "space2") | {"timestamp": "2190-01-01T00:00:00"}
    )
    assert answer.status_code == 422
    assert "interactions.1: timestamp is in the future" in answer.json()["detail"]
    assert list_of(client, NEW)["known"] is False


def test_what_the_server_cannot_write_now_may_be_sent_again(client, own_shop, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    told = row(NEW, "space1", key="order-1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        answer = tell(client, told)
    assert answer.status_code == 503
    assert str(own_shop.root) not in answer.text
    assert tell(client, told).json()["accepted"] == 1
    assert list_of(client, NEW)["since"] == 1


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


TYPES = {"userId": "UTINYINT", "itemId": "VARCHAR", "stars": "VARCHAR", "shop": "VARCHAR"}
NAMES = {"user_id": "userId", "item_id": "itemId", "weight": "stars", "timestamp": "ts"}


@pytest.mark.parametrize(
    ("type_", "format_", "expected"),
    [
        ("VARCHAR", None, "2024-02-01 11:00:00.000"),
        ("VARCHAR", "%d.%m.%Y %H:%M", "01.02.2024 11:00"),
        ("VARCHAR", "%Y-%m-%dT%H:%M:%S%z", "2024-02-01T11:00:00+0000"),
        ("BIGINT", None, 1706785200),
        ("BIGINT", "%Y%m%d", 20240201),
        ("DOUBLE", None, 1706785200.0),
        ("DOUBLE", "%Y%m%d", 20240201.0),
        ("DATE", None, "2024-02-01"),
        ("TIMESTAMP", "%d.%m.%Y", "01.02.2024"),
    ],
)
def test_rows_are_written_as_the_source_writes_them(type_, format_, expected):
    columns = SourceColumns(NAMES, TYPES | {"ts": type_}, format_, ",")
    at = datetime.fromisoformat("2024-02-01T12:00:00+01:00")
    found = columns.row({"user_id": "7", "weight": 4.5, "timestamp": at, "shop": "north"})
    assert found == {"userId": 7, "stars": "4,5", "ts": expected, "shop": "north"}


@pytest.mark.parametrize(
    ("type_", "told", "expected"),
    [
        ("BIGINT", 3.0, 3),
        ("BIGINT", 2.5, 2.5),
        ("DOUBLE", 3, 3.0),
        ("VARCHAR", 3.0, "3.0"),
        ("VARCHAR", True, "true"),
        ("BOOLEAN", True, True),
        ("BIGINT", "-7", -7),
        ("UBIGINT", -1, -1),
        ("DOUBLE", "10000000000", 10000000000.0),
        ("DOUBLE", "2.5", 2.5),
        ("FLOAT", "7", 7.0),
        ("FLOAT", 0.1, 0.10000000149011612),
        ("DECIMAL(10,2)", "7", 7.0),
        ("DECIMAL(10,2)", 4.25, 4.25),
        ("DECIMAL(18,0)", "900719925474099300", 900719925474099300),
        ("TIMESTAMP", "2026-03-01 12:00:00", "2026-03-01 12:00:00"),
        ("UUID", "a-b", "a-b"),
    ],
)
def test_numbers_are_written_in_the_type_of_the_source_where_they_fit_it(type_, told, expected):
    columns = SourceColumns(NAMES, TYPES | {"n": type_}, None, None)
    found = columns.row({"n": told})["n"]
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"user_id": "x"}, "whole numbers"),
        ({"user_id": "²"}, "whole numbers"),
        ({"user_id": "--1"}, "whole numbers"),
        ({"user_id": "7", "USER_ID": "8"}, "no such column"),
        ({"user_id": "7", "userId": "8"}, "told twice"),
        ({"user_id": "7", "": "8"}, "no such column"),
        ({"user_id": "7", "Rating": "8"}, "no such column"),
        ({"user_id": "7", "event": "view"}, "event: the source of this catalog has no such"),
        (
            {"user_id": "7", "timestamp": datetime.fromisoformat("0001-01-01T00:00:00+23:59")},
            "no time that can be counted",
        ),
    ],
)
def test_what_the_source_could_not_hold_is_refused(told, said):
    columns = SourceColumns(NAMES, TYPES | {"ts": "VARCHAR"}, None, None)
    with pytest.raises(UserError, match=said):
        columns.row(told)


@pytest.mark.parametrize(
    ("type_", "told", "said"),
    [
        ("BIGINT", "007", "not like 007"),
        ("BIGINT", "-0", "not like 007"),
        ("BIGINT", "9" * 30, "64 bits"),
        ("BIGINT", "9" * 5000, "64 bits"),
        ("BIGINT", 2**63, "64 bits"),
        ("BIGINT", 1e300, "64 bits"),
        ("BIGINT", float("inf"), "finite"),
        ("BIGINT", True, "whole numbers there; found true"),
        ("DOUBLE", "abc", "has numbers there"),
        ("DOUBLE", "007", "has numbers there"),
        ("DOUBLE", "nan", "has numbers there"),
        ("DOUBLE", str(2**53), "tell whole numbers below 9007199254740992 apart"),
        ("FLOAT", str(2**24), "tell whole numbers below 16777216 apart"),
        ("DOUBLE", 2**53 + 1, "no digits for so long a number"),
        ("DOUBLE", 10**400, "as large"),
        ("FLOAT", 1e300, "as large"),
        ("DOUBLE", float("nan"), "finite"),
        ("DOUBLE", False, "numbers there; found false"),
        ("DECIMAL(10,2)", 1.005, "10 digits there, 2 of them decimals"),
        ("DECIMAL(10,2)", "123456789", "10 digits there, 2 of them decimals"),
        ("DECIMAL(5,0)", "123456", "5 digits there, 0 of them decimals"),
        ("DECIMAL(5,0)", 2.5, "5 digits there, 0 of them decimals"),
        ("DECIMAL(10,2)", "abc", "has numbers there"),
        ("DECIMAL(38,2)", 2**53, "below 2"),
        ("BOOLEAN", "x", "true and false"),
        ("TIMESTAMP", "yesterday", "dates or times"),
        ("DATE", 7, "dates or times"),
        ("VARCHAR", float("nan"), "finite"),
        ("TIME", float("nan"), "finite"),
    ],
)
def test_a_value_that_would_be_another_one_in_the_source_is_refused(type_, told, said):
    columns = SourceColumns(NAMES, TYPES | {"n": type_}, None, None)
    with pytest.raises(UserError, match=f"^n: .*{said}"):
        columns.row({"n": told})


def test_a_column_that_the_source_lacks_is_refused_and_the_next_run_is_sound(own_shop, client):
    for more in ({"USER_ID": "x"}, {"": "x"}, {"Rating": 4}, {"event": "view"}):
        assert tell(client, row(NEW, "space1") | more).status_code == 422
    odd = row(f" {NEW} ", " space1 ") | {"timestamp": "9999-12-31T23:59:59-23:59"}
    assert tell(client, odd).status_code == 422
    answer = tell(client, row(f" {NEW} ", " space1 "), row(NEW, "not in the catalogue"))
    assert answer.json()["unknown_items"] == ["not in the catalogue"]
    assert list_of(client, NEW)["since"] == 2, "ids are read as a run reads them"
    client.__exit__(None, None, None)
    assert own_shop.run(NAME).success


def with_column_types(place, **types):
    """The shop as if its source had other types."""
    file = Snapshot.current(place.snapshots, NAME).path / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["source_columns"] |= types
    file.write_text(json.dumps(manifest))
    return place


@pytest.mark.parametrize("amount", ["1" + "0" * 400, "NaN", "Infinity", '"abc"'])
def test_what_is_no_number_of_the_source_is_refused_as_a_fault_of_what_was_sent(
    own_shop, server, amount
):
    client = server(with_column_types(own_shop, amount="DOUBLE"))
    body = f'{{"interactions":[{{"user_id":"{NEW}","item_id":"space1","amount":{amount}}}]}}'
    answer = client.post(
        f"/v1/{NAME}/interactions", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("interactions.0: amount: ")
    assert list_of(client, NEW)["known"] is False


def test_a_reason_that_the_catalogue_lacks_is_named_by_its_id(own_shop, server, client):
    tell(client, *(row(user, "gone") for user in (USER, NEW)), row(NEW, "space1"))
    client.__exit__(None, None, None)
    assert own_shop.run(NAME).success
    again = server(own_shop)
    found = list_of(again, NEW)
    assert found["how"] == "stored"
    expected = Snapshot.current(own_shop.snapshots, NAME).recommend(NEW, 5)
    titles = [[each["title"] for each in one["because"]] for one in found["recommendations"]]
    assert titles == [[reason.title for reason in one.because] for one in expected]
    assert "gone" in {title for one in titles for title in one}


def test_a_late_row_and_one_of_the_same_time_count_until_a_run_has_read_them(client):
    before = list_of(client, USER)
    assert before["since"] == 0
    seen = client.get(f"/v1/{NAME}/users/{USER}/recommendations").json()
    assert seen["known"]
    told = row(USER, "space1") | {"timestamp": "2020-01-01T00:00:00"}
    tell(client, told, told)
    assert list_of(client, USER)["since"] == 2


def test_rows_that_land_beside_a_file_are_read_by_the_next_run(published, server):
    place = published(live={"folder": "../data/landing"})
    client = server(place)
    assert tell(client, row(NEW, "space1"), row(NEW, "love1")).status_code == 202
    client.__exit__(None, None, None)
    assert place.run("tiny").success
    found = list_of(server(place), NEW)
    assert (found["known"], found["how"]) == (True, "stored")
    assert not {"space1", "love1"} & set(ids(found))


def test_where_profiles_rank_a_stored_list_is_narrowed_and_not_computed_without_them(
    published, server
):
    place = published(
        users={"source": "../data/users.csv", "text": "{profile}", "vectors": "blend"},
        strategy="content",
        live={"folder": "../data/landing"},
    )
    assert place.run("tiny").success
    client = server(place)
    stored = list_of(client, USER)
    params = {"exclude": "nothing such", "n": 5}
    narrowed = client.get(f"/v1/tiny/users/{USER}/recommendations", params=params).json()
    assert narrowed["recommendations"] == stored["recommendations"]
    tell(client, row(USER, ids(stored)[0]))
    after = list_of(client, USER)
    assert ids(after) == ids(stored)[1:]
    assert [each["rank"] for each in after["recommendations"]] == list(
        range(1, len(ids(after)) + 1)
    )
    page = client.get(f"/c/tiny/users/{USER}").text
    assert "Strike something out of the history" not in page
    struck = client.get(f"/c/tiny/users/{USER}?without={ids(stored)[0]}").text
    assert "had never been there" not in struck


def test_an_id_told_into_a_column_of_floats_renames_nobody(published, server):
    place = published()
    orders = place.data / "orders"
    orders.mkdir()
    told = pd.read_csv(place.data / "interactions.csv")
    numbers = {user: 1e10 + at for at, user in enumerate(told["user_id"].unique())}
    told["user_id"] = told["user_id"].map(numbers)
    told.to_parquet(orders / "first.parquet")
    place.write_catalog(
        NAME,
        {
            "interactions": {"source": "../data/orders", "positive": "rating >= 4"},
            "items": {"source": "../data/items.csv", "text": "{title}. {genres}"},
            "encoder": {"model": "tfidf", "dimension": 16},
            "live": {"file_seconds": 3600},
        },
    )
    assert place.run(NAME).success
    client = server(place)
    assert tell(client, row("10000000000", "space1"), row("7", "space1")).status_code == 202
    client.__exit__(None, None, None)
    assert place.run(NAME).success
    again = server(place)
    assert all(list_of(again, str(int(number)))["known"] for number in (*numbers.values(), 7))
