"""Ids and texts are data: whatever is in them reaches the snapshot, or is cleaned by rule."""

import csv
from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest

from recsys_dagster.assets import metadata
from recsys_dagster.snapshots.reader import Snapshot

IDS = {
    "quotes": 'o\'brien "q"',
    "statement": "x'); drop table items; --",
    "line ends": "two\nlines",
    "wildcards": "%_*?[a]",
    "braces": "{title} ${HOME} $1",
    "path": "../../etc/passwd",
    "right to left": "שלום",
    "emoji": "👩‍👩‍👧",
    "long": "i" * 10_000,
    "number": "007",
}
TITLES = {
    "quotes": 'It\'s "quoted"; -- really',
    "statement": "'; delete from items; --",
    "line ends": "first\r\nsecond\tthird",
    "wildcards": "100% _sure_",
    "braces": "{genres} {0} {{x}}",
    "path": "<script>alert(1)</script>Tom &amp; <b>Jerry</b>",
    "right to left": "\u202bשלום\u202c עולם",
    "emoji": "family 👩‍👩‍👧 ❤️",
    "long": "title " * 2_000,
    "number": "bell\x07 and \u200bzero",
}
CLEAN = TITLES | {
    "line ends": "first second third",
    "path": "Tom & Jerry",
    "right to left": "שלום עולם",
    "long": ("title " * 2_000).strip(),
    "number": "bell and zero",
}
USERS = ["ann", "o'user", 'u"x; --', "line\nuser", "用户"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory, published_tiny):
    """`tiny` with odd items, liked by odd users, run once."""
    place = published_tiny.copy(tmp_path_factory.mktemp("odd") / "tiny")
    with (place.data / "items.csv").open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows((IDS[kind], TITLES[kind], "space") for kind in IDS)
        writer.writerow(["huge", "Huge", "x" * 100_000])
        writer.writerow(["nothing", "", ""])
        writer.writerow(["only markup", "<p></p>", "<br/>"])
    likes = [(user, id_) for n, user in enumerate(USERS) for id_ in list(IDS.values())[n::2]]
    with (place.data / "interactions.csv").open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows((user, item, 5, "2024-01-01") for user, item in likes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metadata, "_picture", lambda _, title: dg.MetadataValue.md(title))
        result = place.run("tiny")
    snapshot = Snapshot.current(place.snapshots, "tiny")
    return SimpleNamespace(place=place, result=result, snapshot=snapshot, likes=likes)


def test_nothing_of_it_is_rejected(odd):
    assert odd.result.success
    for table in ("rejected_items", "rejected_interactions"):
        assert odd.place.warehouse.query("tiny", f"select count(*) from {table}") == [(0,)]
    assert odd.place.warehouse.query("tiny", "select count(*) from items") == [(23,)]


@pytest.mark.parametrize("kind", IDS)
def test_an_odd_id_is_found_by_itself_with_its_clean_title(odd, kind):
    assert odd.snapshot.find_item(IDS[kind]) == (IDS[kind], CLEAN[kind])
    assert IDS[kind] not in [row.item_id for row in odd.snapshot.similar(IDS[kind], 22)]


@pytest.mark.parametrize("user", USERS)
def test_an_odd_user_has_a_list_of_unseen_items(odd, user):
    assert odd.snapshot.knows(user)
    rows = odd.snapshot.recommend(user, 5)
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5]
    assert not {row.item_id for row in rows} & {item for liker, item in odd.likes if liker == user}


def test_the_interactions_of_odd_ids_are_all_there(odd):
    found = odd.place.warehouse.query(
        "tiny", "select user_id, item_id from interactions where user_id not like 'user-zq%'"
    )
    assert sorted(found) == sorted(odd.likes)


def test_a_text_of_100000_characters_is_kept_whole(odd):
    text = "select length(text) from item_texts where item_id = 'huge'"
    assert odd.place.warehouse.query("tiny", text) == [(len("Huge. ") + 100_000,)]


def test_an_item_without_any_text_is_stood_in_for_by_its_id(odd):
    found = odd.place.warehouse.query(
        "tiny",
        "select item_id, text, is_fallback from item_texts "
        "where item_id in ('nothing', 'only markup') order by item_id",
    )
    assert found == [("nothing", "nothing", True), ("only markup", "only markup", True)]
    assert odd.snapshot.find_item("nothing") == ("nothing", "nothing")


def test_the_sources_are_as_they_were(odd):
    raw = odd.place.warehouse.read("tiny", "raw_items")
    titles = dict(zip(raw["item_id"].to_pylist(), raw["title"].to_pylist(), strict=True))
    assert {kind: titles[IDS[kind]] for kind in IDS} == TITLES


class TestAvailability:
    GONE = ("space1", "space2", "love1")

    @pytest.mark.parametrize("strategy", ["popular", "content", "hybrid"])
    def test_what_is_not_available_is_never_recommended(self, published, strategy):
        place = published(strategy=strategy)
        items = pd.read_csv(place.data / "items.csv")
        available = ["no" if item in self.GONE else "yes" for item in items["item_id"]]
        items.assign(available=available).to_csv(place.data / "items.csv", index=False)
        assert place.run("tiny").success
        snapshot = Snapshot.current(place.snapshots, "tiny")
        for user in [*(f"user-zq-{n}" for n in range(10, 18)), "a stranger"]:
            rows = snapshot.recommend(user, 5)
            assert rows
            assert not {row.item_id for row in rows} & set(self.GONE)
        # It is still an item: it has a title, and explains what is recommended.
        assert snapshot.find_item("space1") == ("space1", "Star Voyage")
        assert place.warehouse.query("tiny", "select count(*) from items") == [(10,)]

    def test_who_has_seen_all_that_is_available_gets_no_list_and_nobody_minds(self, published):
        place = published()
        items = pd.read_csv(place.data / "items.csv")
        seen = pd.read_csv(place.data / "interactions.csv")
        of_one = set(seen.loc[seen["user_id"] == "user-zq-11", "item_id"])
        available = ["yes" if item in of_one else "no" for item in items["item_id"]]
        items.assign(available=available).to_csv(place.data / "items.csv", index=False)
        result = place.run("tiny")
        assert result.success
        assert not Snapshot.current(place.snapshots, "tiny").knows("user-zq-11")
