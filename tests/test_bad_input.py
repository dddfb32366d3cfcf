"""Whatever comes in: a clear error or a counted row, and what was published is served on."""

import re

import dagster as dg
import pandas as pd
import pytest

from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.errors import UserError
from recsys_dagster.onboarding.inspection import inspect_catalog
from recsys_dagster.resources.sources import files
from recsys_dagster.snapshots.reader import Snapshot

READ_ITEMS = ("raw_items", "items", "rejected_items")
READ_INTERACTIONS = ("raw_interactions", "interactions", "rejected_interactions")


def snapshot(place) -> Snapshot:
    """What is served now, whole."""
    found = Snapshot.current(place.snapshots, "tiny")
    found.verify()
    assert len(found.recommend("user-zq-11", 5)) == 5
    return found


def told(result: dg.ExecuteInProcessResult) -> str:
    """All that a failed run says to a person."""
    said = [
        event.step_failure_data.error.to_string()
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.error
    ]
    checks = result.get_asset_check_evaluations()
    return "\n".join([*said, *(check.description or "" for check in checks if not check.passed)])


def refused(place, stages, message: str) -> None:
    before = snapshot(place).path
    result = place.run("tiny", stages)
    assert not result.success
    assert re.search(message, told(result)), told(result)
    assert snapshot(place).path == before


def rejected(place, stages) -> list[tuple[int, str]]:
    """Row and reason of what a run of some stages rejected."""
    before = snapshot(place).path
    assert place.run("tiny", stages).success
    assert snapshot(place).path == before
    return place.warehouse.query(
        "tiny", f"select source_row, reason from {stages[-1]} order by source_row"
    )


def append(place, name: str, text: str | bytes) -> int:
    """Add lines to a file; the number of rows it had."""
    file = place.data / name
    before = file.read_bytes()
    file.write_bytes(before + (text if isinstance(text, bytes) else text.encode()))
    return before.count(b"\n") - 1


class TestFiles:
    def test_a_missing_file(self, published):
        place = published()
        (place.data / "items.csv").rename(place.data / "itens.csv")
        refused(place, READ_ITEMS, r"items\.csv: there is no such file\. Did you mean 'itens\.csv'")

    def test_an_empty_file(self, published):
        place = published()
        (place.data / "items.csv").write_bytes(b"")
        refused(place, READ_ITEMS, r"items\.csv: the file is empty: expected a line with the col")

    def test_a_header_without_items(self, published):
        place = published()
        (place.data / "items.csv").write_text("item_id,title,genres\n")
        refused(place, (), r"0 rows, 0 repeated keys \(item_id\)")

    def test_a_header_without_interactions(self, published):
        place = published()
        (place.data / "interactions.csv").write_text("user_id,item_id,rating,timestamp\n")
        refused(place, (), r"0 rows, 0 repeated keys \(user_id, item_id\)")

    def test_a_header_without_users_is_no_fault(self, published):
        place = published(users={"source": "../data/users.csv", "text": "profile"})
        (place.data / "users.csv").write_text("user_id,profile\n")
        result = place.run("tiny", ["raw_users", "users", "user_texts"])
        assert result.success
        assert place.warehouse.query("tiny", "select count(*) from users") == [(8,)]
        snapshot(place)

    def test_a_file_in_another_encoding(self, published):
        place = published()
        (place.data / "items.csv").write_bytes("item_id,größe\na,ü\n".encode("latin-1"))
        refused(place, READ_ITEMS, r"items\.csv: the first line is not utf-8.*encoding: cp1252")

    def test_a_line_in_another_encoding(self, published):
        place = published()
        rows = append(place, "items.csv", "x1,Käse,food\n".encode("latin-1"))
        assert rejected(place, READ_ITEMS) == [
            (rows + 1, "the line is not utf-8: see encoding under source")
        ]

    def test_broken_lines(self, published):
        place = published()
        rows = append(place, "items.csv", "x1\nx2,Two,space,more\nx3,Three,space\n")
        assert rejected(place, READ_ITEMS) == [
            (rows + 1, "the line has fewer columns than the header"),
            (rows + 2, "the line has more columns than the header"),
        ]
        assert place.warehouse.query("tiny", "select count(*) from items") == [(11,)]

    def test_a_missing_column(self, published):
        place = published()
        text = (place.data / "interactions.csv").read_text()
        (place.data / "interactions.csv").write_text(text.replace("item_id", "thing"))
        refused(
            place,
            READ_INTERACTIONS,
            r"raw_interactions: no column is known as item_id\. Found: 'user_id', 'thing'",
        )

    def test_a_missing_column_of_the_text(self, published):
        place = published()
        text = (place.data / "items.csv").read_text()
        (place.data / "items.csv").write_text(text.replace("genres", "genre"))
        refused(
            place,
            [*READ_ITEMS, "item_texts"],
            r"items: text asks for the column 'genres'.*Did you mean 'genre'",
        )

    def test_headers_in_capitals(self, published):
        place = published(
            items={"source": "../data/items.csv", "text": ["Title", "GENRES"]},
            users={"source": "../data/users.csv", "text": "{profile}"},
        )
        items = (place.data / "items.csv").read_text()
        (place.data / "items.csv").write_text(items.replace("item_id,title", "ItemID,Title", 1))
        users = (place.data / "users.csv").read_text()
        header = "User_ID,Item_Count,Profile"
        (place.data / "users.csv").write_text(
            users.replace("user_id,profile", header, 1).replace(",I am", ",9,I am")
        )
        assert inspect_catalog(place.catalog("tiny")).faults == []
        result = place.run("tiny")
        assert result.success, told(result)
        query = "select title, text from items join item_texts using (item_id)"
        assert ("Love Letters", "Love Letters. romance love letters") in place.warehouse.query(
            "tiny", query
        )
        texts = place.warehouse.query("tiny", "select text from user_texts")
        assert ("I am user-zq-10 and like paris love",) in texts

    def test_a_column_named_as_one_of_ours_but_for_its_case(self, published):
        place = published()
        text = (place.data / "items.csv").read_text()
        (place.data / "items.csv").write_text(text.replace("genres", "Source_File", 1))
        refused(place, READ_ITEMS, r"items\.csv: the column 'Source_File' has a name that recsys")

    def test_a_file_that_changes_while_it_is_read(self, published, monkeypatch):
        place = published()
        original = files.read_file

        def read_while_it_grows(path, file, settings):
            data = original(path, file, settings)
            with path.open("a") as stream:
                stream.write("late,Late,space\n")
            return data

        append(place, "items.csv", "x1,One,space\n")
        monkeypatch.setattr(files, "read_file", read_while_it_grows)
        refused(place, READ_ITEMS, r"items\.csv: the file changed while it was read")
        # The raw table of before stays, and the next read takes all of the file.
        assert place.warehouse.read("tiny", "raw_items").num_rows == 10
        monkeypatch.undo()
        assert place.run("tiny", ["raw_items"]).success
        assert place.warehouse.read("tiny", "raw_items").num_rows == 12


class TestIds:
    def test_null_and_blank_ones(self, published):
        place = published()
        rows = append(place, "interactions.csv", ",space1,5,\n  ,space1,5,\nuser-zq-10,,5,\n")
        assert rejected(place, READ_INTERACTIONS) == [
            (rows + 1, "user_id is missing or blank"),
            (rows + 2, "user_id is missing or blank"),
            (rows + 3, "item_id is missing or blank"),
        ]
        rows = append(place, "items.csv", ",Nothing,space\n \t ,Blank,space\n")
        assert [reason for _, reason in rejected(place, READ_ITEMS)] == [
            "item_id is missing or blank"
        ] * 2

    @pytest.mark.parametrize("null", [False, True])
    def test_numbers_in_one_table_and_texts_in_the_other_match(self, published, null):
        place = published(
            interactions={"source": "../data/interactions.parquet", "positive": "rating >= 4"}
        )
        items = pd.read_csv(place.data / "items.csv")
        number = dict(zip(items["item_id"], range(1, 11), strict=True))
        items.assign(item_id=range(1, 11)).to_csv(place.data / "items.csv", index=False)
        table = pd.read_csv(place.data / "interactions.csv")
        table["item_id"] = table["item_id"].map(number)
        if null:  # then the integers arrive as floats
            table.loc[0, "item_id"] = None
        table.to_parquet(place.data / "interactions.parquet", index=False)
        assert place.run("tiny", [*READ_ITEMS, *READ_INTERACTIONS]).success
        unknown = "select count(*) from interactions anti join items using (item_id)"
        assert place.warehouse.query("tiny", unknown) == [(0,)]
        rejects = place.warehouse.query("tiny", "select count(*) from rejected_interactions")
        assert rejects == [(int(null),)]

    def test_one_item_with_two_texts(self, published):
        place = published()
        rows = append(place, "items.csv", "space1,Star Voyage II,space\n")
        assert rejected(place, READ_ITEMS) == [
            (1, "a later row has the same item_id and other values")
        ]
        title = "select title from items where item_id = 'space1'"
        assert place.warehouse.query("tiny", title) == [("Star Voyage II",)]
        assert rows == 10


class TestValues:
    def test_times_that_cannot_be_or_are_to_come(self, published):
        place = published()
        lines = [f"user-zq-10,space{n},5,{time}\n" for n, time in enumerate(["soon", "2999-01-01"])]
        rows = append(place, "interactions.csv", "".join(lines))
        assert rejected(place, READ_INTERACTIONS) == [
            (rows + 1, "timestamp is not a date or a Unix time"),
            (rows + 2, "timestamp is in the future"),
        ]

    def test_weights_that_are_no_numbers_or_none_to_count_with(self, published):
        place = published()
        weights = {
            "": "weight is missing",
            "nan": "weight is not a number",
            "inf": "weight is not finite",
            "1e300": "weight is 1e+15 or more",
            "-1": "weight is negative (see returns in the catalog)",
        }
        lines = "".join(f"user-zq-10,space1,{weight},2024-01-01\n" for weight in weights)
        rows = append(place, "interactions.csv", lines)
        expected = list(enumerate(weights.values(), start=rows + 1))
        assert rejected(place, READ_INTERACTIONS) == expected

    def test_an_availability_that_cannot_be_read(self, published):
        place = published()
        lines = (place.data / "items.csv").read_text().splitlines()
        values = ["available", "perhaps", *["yes"] * 9]
        pairs = zip(lines, values, strict=True)
        (place.data / "items.csv").write_text("".join(f"{a},{b}\n" for a, b in pairs))
        assert rejected(place, READ_ITEMS) == [(1, "available is not yes, no or a stock count")]


class TestCatalogs:
    @pytest.mark.parametrize("name", ["../x", "a/b", "/etc/x", "..", "A"])
    def test_a_name_that_leaves_its_folder(self, published, name):
        place = published()
        place.write_catalog("tiny", {"name": name})
        with pytest.raises(UserError, match=r"tiny\.yaml:\d+: name: "):
            place.definitions()
        snapshot(place)

    def test_two_files_with_one_name(self, published):
        place = published()
        text = (place.catalogs / "tiny.yaml").read_text()
        (place.catalogs / "other.yaml").write_text(text)
        with pytest.raises(UserError, match=r"tiny\.yaml: the name 'tiny' is taken by .*other"):
            place.definitions()
        snapshot(place)

    def test_an_unknown_key(self, published):
        place = published()
        file = place.catalogs / "tiny.yaml"
        file.write_text(file.read_text() + "strategi: ease\n")
        line = file.read_text().count("\n")
        with pytest.raises(UserError) as raised:
            Catalogs.read(place.catalogs)["tiny"]
        message = f"{file}:{line}: strategi: unknown key. Did you mean 'strategy'?"
        assert message in str(raised.value)
        snapshot(place)

    def test_an_unknown_encoder(self, published):
        place = published(encoder="tfidff")
        refused(place, ["item_embeddings"], "tfidff")

    def test_a_condition_on_a_column_that_is_not_there(self, published):
        place = published(
            interactions={"source": "../data/interactions.csv", "positive": "ratin >= 4"}
        )
        refused(place, READ_INTERACTIONS, r"'ratin', which is not in the source.*'rating'")

    def test_a_warehouse_of_a_newer_version(self, published):
        place = published()
        place.warehouse.query("tiny", "update warehouse.format set format = 99")
        refused(place, ["popular_items"], r"tiny\.duckdb: written by a newer version.*format 99")

    def test_a_warehouse_of_an_older_version_is_made_again(self, published):
        place = published()
        before = snapshot(place).path
        place.warehouse.query("tiny", "drop schema warehouse cascade")
        assert place.run("tiny").success
        assert place.warehouse.query("tiny", "select count(*) from items") == [(10,)]
        assert snapshot(place).path == before
