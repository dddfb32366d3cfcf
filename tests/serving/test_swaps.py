"""Snapshots are exchanged while requests go on: no error, no answer made of two."""

import json
import shutil
from threading import Event, Thread

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

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
