"""Snapshots are exchanged while requests go on: no error, no answer made of two."""

import json
import shutil
from threading import Event, Thread

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_dagster.serving.served import LOOK_SECONDS
from recsys_dagster.snapshots.current import CURRENT
from recsys_dagster.snapshots.reader import Snapshot
from tests.serving.conftest import NAME, until

USER = "user-zq-11"


def versions_of(place):
    """Two snapshots alike but for the first word of every title."""
    first = Snapshot.current(place.snapshots, NAME).path
    second = first.with_name(first.name + "-b")
    shutil.copytree(first, second)
    manifest = json.loads((second / "manifest.json").read_text())
    (second / "manifest.json").write_text(json.dumps(manifest | {"snapshot": second.name}))
    for path, word in ((first, "one"), (second, "two")):
        items = pq.read_table(path / "items.parquet")
        titles = [f"{word} {title}" for title in items["title"].to_pylist()]
        place_of = items.schema.get_field_index("title")
        pq.write_table(
            items.set_column(place_of, "title", pa.array(titles)), path / "items.parquet"
        )
    return first, second


def make_current(place, name):
    beside = place.snapshots / NAME / ".next"
    beside.write_text(name + "\n")
    beside.replace(place.snapshots / NAME / CURRENT)


def served(client):
    return client.get("/v1/catalogs").json()["catalogs"][0]


def test_no_answer_is_an_error_or_a_mix_while_snapshots_are_exchanged(own_shop, listening):
    versions = versions_of(own_shop)
    ended, found = Event(), []

    def asking(path, body):
        with httpx.Client(base_url=listening) as client:
            while not ended.is_set():
                answer = client.post(path, json=body) if body else client.get(path)
                rows = answer.json().get("recommendations", [])
                titles = [row["title"] for row in rows]
                titles += [each["title"] for row in rows for each in row["because"]]
                words = {title.split()[0] for title in titles} & {"one", "two"}
                found.append((answer.status_code, answer.json().get("snapshot"), words))

    threads = [
        Thread(target=asking, args=(f"/v1/{NAME}/users/{USER}/recommendations", None)),
        Thread(target=asking, args=(f"/v1/{NAME}/recommendations", {"items": ["space1"]})),
    ]
    for thread in threads:
        thread.start()
    with httpx.Client(base_url=listening) as client:
        for turn in range(4):
            name = versions[(turn + 1) % 2].name
            make_current(own_shop, name)
            until(lambda name=name: served(client)["snapshot"] == name)
    ended.set()
    for thread in threads:
        thread.join()
    assert {status for status, _, _ in found} == {200}
    assert all(len(words) <= 1 for _, _, words in found)
    assert {name for _, name, _ in found} == {version.name for version in versions}


def test_a_snapshot_that_is_deleted_goes_on_being_served_to_its_end(own_shop, client):
    folder = Snapshot.current(own_shop.snapshots, NAME).path
    before = client.get(f"/v1/{NAME}/users/{USER}/recommendations", params={"n": 8}).json()
    shutil.rmtree(folder)
    after = client.get(f"/v1/{NAME}/users/{USER}/recommendations", params={"n": 8}).json()
    assert after == before
    history = {"items": ["space1"]}
    assert client.post(f"/v1/{NAME}/recommendations", json=history).status_code == 200


def test_a_damaged_snapshot_is_said_and_the_one_before_is_served(own_shop, client):
    first, second = versions_of(own_shop)
    (second / "recommendations.parquet").write_bytes(b"PAR1 nothing")
    make_current(own_shop, second.name)
    until(lambda: served(client)["fault"] is not None)
    assert served(client)["snapshot"] == first.name
    assert client.get("/health/ready").json()["stale"] == 1
    assert client.get(f"/v1/{NAME}/popular").status_code == 200


def test_a_damaged_name_of_what_is_current_is_said_and_the_looking_goes_on(own_shop, client):
    first, second = versions_of(own_shop)
    (own_shop.snapshots / NAME / CURRENT).write_bytes(b"\xff\xfe")
    until(lambda: served(client)["fault"] is not None)
    assert "this names no snapshot" in served(client)["fault"]
    assert served(client)["snapshot"] == first.name
    make_current(own_shop, second.name)
    until(lambda: served(client)["snapshot"] == second.name)


def variant(place, letter, change):
    """Another snapshot of the shop, with a changed manifest."""
    first = Snapshot.current(place.snapshots, NAME).path
    other = first.with_name(f"{first.name}-{letter}")
    shutil.copytree(first, other)
    manifest = json.loads((other / "manifest.json").read_text()) | {"snapshot": other.name}
    change(manifest)
    (other / "manifest.json").write_text(json.dumps(manifest))
    return first.name, other.name


def exchange(place, client, name):
    make_current(place, name)
    until(lambda: served(client)["snapshot"] == name)


def tell(client, item, **more):
    told = {"user_id": "newcomer", "item_id": item, "weight": 5} | more
    return client.post(f"/v1/{NAME}/interactions", json={"interactions": [told]})


def newcomer(client):
    return client.get(f"/v1/{NAME}/users/newcomer/recommendations").json()


@pytest.mark.parametrize("starts_with", ["older", "newer"])
def test_what_was_told_is_not_forgotten_by_going_back_to_an_older_snapshot(
    own_shop, server, starts_with
):
    file = own_shop.data / "orders" / "live-1.jsonl"
    told = {"user_id": "newcomer", "item_id": "space1", "rating": "5", "timestamp": "2024-02-01"}
    file.write_text(json.dumps(told) + "\n")
    older, newer = variant(own_shop, "b", lambda found: found.update(live_files=[file.name]))
    make_current(own_shop, older if starts_with == "older" else newer)
    client = server(own_shop)
    assert tell(client, "space2").status_code == 202
    for name, since in ((newer, 1), (older, 2), (newer, 1), (older, 2)):
        exchange(own_shop, client, name)
        assert newcomer(client)["since"] == since
    assert tell(client, "love1").status_code == 202
    assert newcomer(client)["since"] == 3


def test_rows_mean_what_the_settings_say_that_a_snapshot_was_made_with(own_shop, client):
    liked = newcomer(client)["recommendations"][0]["item_id"]
    assert tell(client, liked, weight=3).status_code == 202
    assert not any(row["because"] for row in newcomer(client)["recommendations"])

    def lenient(manifest):
        manifest["settings"]["interactions"]["positive"] = "rating >= 2"

    _, edited = variant(own_shop, "b", lenient)
    exchange(own_shop, client, edited)
    after = newcomer(client)
    assert after["since"] == 1
    assert any(row["because"] for row in after["recommendations"])


def test_the_fault_of_a_snapshot_goes_with_it(own_shop, client):
    first, second = versions_of(own_shop)
    (second / "recommendations.parquet").write_bytes(b"PAR1 nothing")
    make_current(own_shop, second.name)
    until(lambda: served(client)["fault"] is not None)
    make_current(own_shop, first.name)
    until(lambda: served(client)["fault"] is None)
    assert client.get("/health/ready").json()["stale"] == 0


def test_a_catalog_that_publishes_later_is_served_then(own_shop, server):
    home = own_shop.snapshots / NAME
    aside = own_shop.root / "aside"
    home.rename(aside)
    client = server(own_shop)
    assert client.get("/health/ready").status_code == 503
    assert client.get(f"/v1/{NAME}/popular").status_code == 404
    aside.rename(home)
    until(lambda: client.get("/health/ready").status_code == 200, 20 * LOOK_SECONDS)
    assert client.get(f"/v1/{NAME}/popular").status_code == 200
