"""Snapshots: whole or not at all, checked, and safe with any id."""

import errno
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from recsys_dagster.errors import UnknownNameError, UserError
from recsys_dagster.snapshots import writer
from recsys_dagster.snapshots.current import (
    CURRENT,
    MANIFEST,
    last_passed,
    served,
)
from recsys_dagster.snapshots.model_files import write_model
from recsys_dagster.snapshots.reader import Snapshot
from recsys_dagster.snapshots.writer import make_current, publish, remove_old, roll_back
from recsys_dagster.steps.lists.recommendations import BECAUSE

ODD = [
    "o'brien",
    'say "hi"',
    "two\nlines",
    "x'; drop table items; --",
    "$item_id",
    "%_?",
    "{a}",
    "\\",
    "名前",
    " ",
]


HISTORIES = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_ids", pa.list_(pa.string())),
        ("positives", pa.list_(pa.bool_())),
        ("left_out", pa.list_(pa.bool_())),
        ("weights", pa.list_(pa.float32())),
        ("recencies", pa.list_(pa.float32())),
        ("last_timestamps", pa.list_(pa.timestamp("us"))),
    ]
)
NOON = datetime(2024, 1, 1, 12)


def history(user: str, items: list[str]) -> dict:
    """The first item is liked, at noon; all others are neither, at a time that nobody knows."""
    liked = [place == 0 for place in range(len(items))]
    return {
        "user_id": user,
        "item_ids": items,
        "positives": liked,
        "left_out": [not first for first in liked],
        "weights": [1.0 if first else 0.5 for first in liked],
        "recencies": [1.0 if first else None for first in liked],
        "last_timestamps": [NOON if first else None for first in liked],
    }


def tables(items: list[tuple[str, str]], users: list[str], had: int) -> dict[str, pa.Table]:
    """Everybody gets the items in order, each because of the first; popular is the reverse.

    Everybody had the first so many; an item's text is its title, twice; its place its number.
    """
    ids = [item_id for item_id, _ in items]
    lists = [
        {
            "user_id": user,
            "item_id": item_id,
            "score": 1.0 / rank,
            "rank": rank,
            "strategy": "hybrid",
            "because": [{"item_id": ids[0], "share": 1.0}],
        }
        for user in users
        for rank, item_id in enumerate(ids, start=1)
    ]
    neighbours = [
        {"item_id": item, "neighbour_item_id": other, "similarity": 0.5, "rank": rank}
        for item in ids
        for rank, other in enumerate((other for other in ids if other != item), start=1)
    ]
    return {
        "recommendations": pa.Table.from_pylist(
            lists,
            pa.schema(
                [
                    ("user_id", pa.string()),
                    ("item_id", pa.string()),
                    ("score", pa.float64()),
                    ("rank", pa.int32()),
                    ("strategy", pa.string()),
                    ("because", BECAUSE),
                ]
            ),
        ),
        "histories": pa.Table.from_pylist([history(user, ids[:had]) for user in users], HISTORIES),
        "item_neighbours": pa.Table.from_pylist(neighbours),
        "item_map": pa.Table.from_pylist(
            [{"item_id": i, "x": float(place), "y": -1.0} for place, i in enumerate(ids)]
        ),
        "popular_items": pa.Table.from_pylist(
            [
                {"item_id": item_id, "score": 1.0 / rank, "rank": rank}
                for rank, item_id in enumerate(reversed(ids), start=1)
            ]
        ),
        "items": pa.Table.from_pylist(
            [{"item_id": i, "title": title, "text": f"{title} {title}"} for i, title in items]
        ),
    }


FILMS = [("1", "Toy Story"), ("2", "Heat"), ("3", "Alien"), ("4", "Heat")]


def put(folder, run_id="run-one", items=FILMS, users=("ann",), day=1, had=2):
    made_at = pd.Timestamp(2024, 1, day)
    models = folder.with_name(folder.name + "-models")
    model = write_model(models, "f1", {"popularity": np.ones(3, np.float32)}, {"strategy": "x"})
    made = tables(items, list(users), had)
    return publish(folder, "films", run_id, made_at, made, {"strategy": "x"}, model, {"power": 0.5})


def names(folder) -> set[str]:
    return {path.name for path in (folder / "films").iterdir()}


NO_SPACE = "films: it could not be written: there is no space left on the disk"


def test_what_is_compared_with_is_no_newer_than_what_is_current(tmp_path):
    first = put(tmp_path)
    put(tmp_path, "run-two", day=2)  # whole, and its publisher killed before it was current
    make_current(tmp_path / "films", first.name)
    assert last_passed(tmp_path, "films")["snapshot"] == first.name


class TestPublish:
    def test_the_last_one_is_current_and_the_others_stay(self, tmp_path):
        first = put(tmp_path)
        second = put(tmp_path, "run-two", day=2)
        assert Snapshot.current(tmp_path, "films").path == second
        assert names(tmp_path) == {CURRENT, first.name, second.name}

    @pytest.mark.parametrize("broken", ["_write", "_write_text"])
    @pytest.mark.parametrize(
        ("error", "raised"),
        [
            (OSError(errno.ENOSPC, "No space left on device"), UserError),
            (KeyboardInterrupt(), KeyboardInterrupt),
        ],
    )
    def test_a_failure_while_writing_leaves_no_trace(
        self, tmp_path, monkeypatch, broken, error, raised
    ):
        first = put(tmp_path)
        before = names(tmp_path)

        def fail(*_):
            raise error

        monkeypatch.setattr(writer, broken, fail)
        with pytest.raises(raised, match=NO_SPACE if raised is UserError else None):
            put(tmp_path, "run-two", day=2)
        assert names(tmp_path) == before
        assert Snapshot.current(tmp_path, "films").path == first

    def test_a_failure_before_it_is_current_keeps_the_old_one(self, tmp_path, monkeypatch):
        first = put(tmp_path)

        def fail(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(writer, "make_current", fail)
        with pytest.raises(UserError, match=NO_SPACE):
            put(tmp_path, "run-two", day=2)
        assert Snapshot.current(tmp_path, "films").path == first

    def test_going_back_is_one_call(self, tmp_path):
        first = put(tmp_path)
        put(tmp_path, "run-two", day=2)
        make_current(tmp_path / "films", first.name)
        assert Snapshot.current(tmp_path, "films").path == first

    def test_going_back_is_one_command_too(self, tmp_path):
        first, second, third = (put(tmp_path, f"run-{day}", day=day) for day in (1, 2, 3))
        assert roll_back(tmp_path, "films") == (third.name, second.name)
        assert roll_back(tmp_path, "films", first.name) == (second.name, first.name)
        assert Snapshot.current(tmp_path, "films").path == first
        with pytest.raises(UserError, match="no older snapshot"):
            roll_back(tmp_path, "films")
        with pytest.raises(UnknownNameError, match=f"has no snapshot 'x'.*{third.name}"):
            roll_back(tmp_path, "films", "x")

    def test_a_clock_that_was_put_back_changes_no_order(self, tmp_path):
        first, second, third = (put(tmp_path, f"run-{day}", day=day) for day in (3, 1, 2))
        assert third.name > second.name > first.name
        assert Snapshot.current(tmp_path, "films").manifest["made_at"].startswith("2024-01-02")
        assert roll_back(tmp_path, "films") == (third.name, second.name)
        assert remove_old(tmp_path, "films", keep=2) == 1
        assert names(tmp_path) == {CURRENT, second.name, third.name}

    def test_nobody_goes_back_to_a_damaged_one(self, tmp_path):
        first, second = (put(tmp_path, f"run-{day}", day=day) for day in (1, 2))
        (first / "items.parquet").write_bytes(b"damaged")
        with pytest.raises(UserError, match="not what was published"):
            roll_back(tmp_path, "films")
        assert Snapshot.current(tmp_path, "films").path == second

    def test_nobody_sees_what_a_killed_clean_up_left(self, tmp_path, monkeypatch):
        first, second, third = (put(tmp_path, f"run-{day}", day=day) for day in (1, 2, 3))

        def killed(folder: Path, **_) -> None:
            (folder / "items.parquet").unlink()
            raise KeyboardInterrupt

        monkeypatch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_old(tmp_path, "films", keep=1)
        monkeypatch.undo()
        assert {first.name, third.name} < names(tmp_path)
        assert second.name not in names(tmp_path)
        assert roll_back(tmp_path, "films") == (third.name, first.name)

    def test_leftovers_of_a_killed_writer_do_no_harm(self, tmp_path):
        path = put(tmp_path)
        for name in (f".{path.name}", ".20240101T000000000000-killed"):
            (tmp_path / "films" / name).mkdir()
            (tmp_path / "films" / name / "items.parquet").write_bytes(b"half")
        Snapshot.current(tmp_path, "films").verify()


class TestReading:
    @pytest.mark.parametrize("content", ["{half", "", "[]", "{}", "4"])
    def test_a_damaged_manifest_is_named(self, tmp_path, content):
        (put(tmp_path) / MANIFEST).write_text(content)
        with pytest.raises(UserError, match=r"manifest\.json: this is no manifest"):
            Snapshot.current(tmp_path, "films")

    @pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"../x\n", b"1T1-" + b"x" * 300])
    def test_what_says_which_is_current_may_be_damaged_and_publishing_mends_it(
        self, tmp_path, content
    ):
        put(tmp_path)
        (tmp_path / "films" / CURRENT).write_bytes(content)
        with pytest.raises(UserError, match=r"films/CURRENT: this names no snapshot.*recsys run"):
            Snapshot.current(tmp_path, "films")
        newer = put(tmp_path, "run-two", day=2)
        assert Snapshot.current(tmp_path, "films").path == newer

    def test_what_readers_get_after_a_run_that_failed(self, tmp_path):
        assert served(tmp_path, "films", "run-one") == "nothing is published yet"
        put(tmp_path)
        run = Snapshot.current(tmp_path, "films").manifest["run_id"]
        assert served(tmp_path, "films", run) == "what it published before that is served"
        assert served(tmp_path, "films", "later") == "what was published before is still served"

    def test_nothing_published(self, tmp_path):
        with pytest.raises(UserError, match="recsys run films"):
            Snapshot.current(tmp_path, "films")

    def test_a_current_snapshot_that_was_removed(self, tmp_path):
        put(tmp_path)
        (tmp_path / "films" / CURRENT).write_text("20200101T000000000000-gone\n")
        with pytest.raises(UserError, match=r"gone.*recsys run films"):
            Snapshot.current(tmp_path, "films")

    @pytest.mark.parametrize("damaged", [b"\xff\xfe", b"\0\0\0", b""])
    def test_a_current_file_that_names_nothing(self, tmp_path, damaged):
        put(tmp_path)
        (tmp_path / "films" / CURRENT).write_bytes(damaged)
        with pytest.raises(UserError, match="recsys run films"):
            Snapshot.current(tmp_path, "films")

    @pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"cut"), Path.unlink])
    def test_a_file_that_cannot_be_read_is_named_with_what_to_do(self, tmp_path, damage):
        snapshot_of = put(tmp_path)
        damage(snapshot_of / "items.parquet")
        snapshot = Snapshot.current(tmp_path, "films")
        for read in (
            lambda: snapshot.recommend("ann", 2),
            lambda: snapshot.similar("Alien", 2),
            snapshot.items,
        ):
            with pytest.raises(UserError, match=r"items\.parquet: .*with: recsys run films"):
                read()

    def test_another_format(self, tmp_path, monkeypatch):
        monkeypatch.setattr(writer, "FORMAT", 0)
        put(tmp_path)
        monkeypatch.undo()
        with pytest.raises(UserError, match=r"format 0.*publish again, with: recsys run films"):
            Snapshot.current(tmp_path, "films")
        assert last_passed(tmp_path, "films") is None
        newer = put(tmp_path, "run-two", day=2)
        assert Snapshot.current(tmp_path, "films").path == newer
        assert last_passed(tmp_path, "films")["snapshot"] == newer.name

    def test_verify_notices_a_changed_byte(self, tmp_path):
        path = put(tmp_path) / "popular_items.parquet"
        snapshot = Snapshot.current(tmp_path, "films")
        snapshot.verify()
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"popular_items\.parquet.*not what was published"):
            snapshot.verify()

    def test_verify_notices_a_missing_file(self, tmp_path):
        (put(tmp_path) / "items.parquet").unlink()
        with pytest.raises(UserError, match="missing"):
            Snapshot.current(tmp_path, "films").verify()

    def test_a_known_user_has_reasons_with_titles(self, tmp_path):
        put(tmp_path)
        row = Snapshot.current(tmp_path, "films").recommend("ann", 2)[1]
        assert (row.item_id, row.title, row.rank, row.strategy) == ("2", "Heat", 2, "hybrid")
        assert [(reason.title, reason.share) for reason in row.because] == [("Toy Story", 1.0)]

    def test_an_unknown_user_gets_what_is_popular(self, tmp_path):
        put(tmp_path)
        snapshot = Snapshot.current(tmp_path, "films")
        assert not snapshot.knows("nobody")
        rows = snapshot.recommend("nobody", 3)
        assert rows == snapshot.popular(3)
        assert [row.item_id for row in rows] == ["4", "3", "2"]
        assert {row.strategy for row in rows} == {"popular"}

    def test_an_item_by_id_or_title(self, tmp_path):
        put(tmp_path)
        snapshot = Snapshot.current(tmp_path, "films")
        assert snapshot.find_item("1") == ("1", "Toy Story")
        assert snapshot.find_item("toy story") == ("1", "Toy Story")
        assert [row.item_id for row in snapshot.similar("Toy Story", 2)] == ["2", "3"]
        with pytest.raises(UserError, match="ids 2, 4"):
            snapshot.find_item("heat")
        with pytest.raises(UserError, match=r"Nearest: 1 \(Toy Story\)"):
            snapshot.find_item("Toy Stori")
        with pytest.raises(UserError, match="No name is near it"):
            snapshot.find_item("zzzzzzzzzzzz")

    def test_a_history_is_what_a_user_had_the_oldest_first(self, tmp_path):
        put(tmp_path, users=["ann", "bob"])
        found = Snapshot.current(tmp_path, "films").history("bob")
        assert found.item_ids.tolist() == ["1", "2"]
        assert found.positives.tolist() == [True, False]
        assert found.left_out.tolist() == [False, True]
        np.testing.assert_array_equal(found.weights, np.array([1, 0.5], np.float32))
        np.testing.assert_array_equal(found.recencies, np.array([1, np.nan], np.float32))
        times = np.array([NOON, None], "datetime64[us]")
        np.testing.assert_array_equal(found.last_timestamps, times)
        types = [values.dtype for values in vars(found).values()]
        assert types == [object, bool, bool, np.float32, np.float32, "datetime64[us]"]

    def test_a_user_without_interactions_has_an_empty_history_and_an_unknown_one_none(
        self, tmp_path
    ):
        put(tmp_path, had=0)
        snapshot = Snapshot.current(tmp_path, "films")
        assert {len(values) for values in vars(snapshot.history("ann")).values()} == {0}
        assert snapshot.history("ann").last_timestamps.dtype == "datetime64[us]"
        assert snapshot.history("nobody") is None

    def test_items_have_a_text_and_a_place(self, tmp_path):
        put(tmp_path)
        snapshot = Snapshot.current(tmp_path, "films")
        assert snapshot.text_of("1") == "Toy Story Toy Story"
        assert snapshot.text_of("Toy Story") is None
        places = snapshot.item_map()
        assert dict(zip(places.item_ids, places.x, strict=True)) == {
            "1": 0.0,
            "2": 1.0,
            "3": 2.0,
            "4": 3.0,
        }
        assert places.y.tolist() == [-1.0] * 4

    def test_odd_ids_are_data(self, tmp_path):
        put(tmp_path, items=[(odd, f"title of {odd}") for odd in ODD], users=ODD)
        snapshot = Snapshot.current(tmp_path, "films")
        for odd in ODD:
            assert snapshot.knows(odd)
            assert [row.item_id for row in snapshot.recommend(odd, len(ODD))] == ODD
            assert snapshot.find_item(odd) == (odd, f"title of {odd}")
            assert snapshot.text_of(odd) == f"title of {odd} title of {odd}"
            assert snapshot.history(odd).item_ids.tolist() == ODD[:2]
            assert odd not in [row.item_id for row in snapshot.similar(odd, len(ODD))]
        assert snapshot.recommend("' or 1=1 --", 1)[0].strategy == "popular"
        assert set(snapshot.some_users(len(ODD))) == set(ODD)

    def test_a_folder_with_a_quote_in_its_name(self, tmp_path):
        folder = tmp_path / "it's [a] *folder*"
        put(folder)
        assert Snapshot.current(folder, "films").recommend("ann", 1)[0].item_id == "1"
