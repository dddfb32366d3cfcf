"""Items whose source has no titles: wherever one is shown, their text says what they are."""

import pytest

from recsys_dagster.cli.app import app
from recsys_dagster.snapshots.reader import Snapshot

LONG = "A comedy of " + "many errors and " * 5 + "one wedding"


@pytest.fixture
def untitled(tiny):
    """`tiny` without its titles, one item under a long text and one without any."""
    place = tiny(items={"source": "../data/items.csv", "text": "genres"})
    items = (place.data / "items.csv").read_text().splitlines()[1:]
    genres = {line.split(",")[0]: line.split(",")[2] for line in items}
    genres |= {"love5": LONG, "space5": ""}
    rows = [f"{item_id},{words}" for item_id, words in genres.items()]
    (place.data / "items.csv").write_text("\n".join(["item_id,genres", *rows]) + "\n")
    assert place.run("tiny").success
    return place


def test_what_is_shown_is_the_text_and_what_is_encoded_stays_it(untitled):
    titles = dict(untitled.warehouse.query("tiny", "select item_id, title from items"))
    assert titles["space1"] == "space rocket alien"
    assert titles["love5"] == "A comedy of many errors and many errors and many errors and…"
    assert titles["space5"] == "space5"
    texts = dict(untitled.warehouse.query("tiny", "select item_id, text from item_texts"))
    assert texts["love5"] == LONG

    snapshot = Snapshot.current(untitled.snapshots, "tiny")
    rows = snapshot.recommend("user-zq-11", 5)
    assert {row.title for row in rows} <= set(titles.values())
    reasons = [reason for row in rows for reason in row.because]
    assert reasons
    assert all(reason.title == titles[reason.item_id] for reason in reasons)


def test_an_item_is_found_by_its_id_and_by_what_is_shown_for_a_title(untitled, monkeypatch, capsys):
    untitled.environment(monkeypatch)
    shown = []
    for item in ("space1", "Space Rocket Alien"):
        app(["similar", "tiny", item], standalone_mode=False)
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert "Most like space rocket alien" in shown[0]
