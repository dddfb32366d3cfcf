"""`recsys init`: from a folder to a catalog's YAML file that loads."""

import gzip
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from recsys_dagster.catalog.files import Catalogs, read_catalog
from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.cli.proposing import propose_catalog, require_counts
from recsys_dagster.errors import UserError
from recsys_dagster.onboarding import finding
from recsys_dagster.onboarding.inspection import inspect_catalog
from recsys_dagster.onboarding.proposal import propose, render
from recsys_dagster.onboarding.proposal.rendering import Counts
from recsys_dagster.resources.sources import read_source
from tests.conftest import Place

SHARED = Path(__file__).parents[3] / "shared" / "data"
ITEMS = "movieId,title,genres\n" + "".join(
    f'{film},"Film, the {film}th",{"Comedy" if film % 2 else "Drama"}\n' for film in range(1, 31)
)
RATINGS = "userId,movieId,rating,timestamp\n" + "".join(
    f"{row // 10},{row * 7 % 30 + 1},{row % 5 + 1},{1_260_759_144 + row}\n" for row in range(200)
)
SALES = "Invoice;StockCode;Description;Quantity;InvoiceDate;Customer ID\n" + "".join(
    f"5{row:05};{row % 20 + 1:03};Lampe für {row % 20};{row % 3 + 1};"
    f"{row % 28 + 1:02}/12/2010 08:{row % 60:02};{row // 9}\n"
    for row in range(180)
)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty folder of data beside a folder of catalogs that is not there yet."""
    monkeypatch.setenv("RECSYS_CATALOGS", str(tmp_path / "catalogs"))
    folder = tmp_path / "My Shop 2"
    folder.mkdir()
    return folder


@pytest.fixture
def movielens(data):
    (data / "movies.csv").write_text(ITEMS, encoding="utf-8")
    (data / "ratings.csv").write_text(RATINGS, encoding="utf-8")
    return data


def items_of(file: Path) -> list[dict]:
    """The rows of the items' source, sorted."""
    catalog = read_catalog(file)
    rows = read_source(catalog.items.source, catalog.folder).rows
    own = rows.drop_columns(["source_file", "source_row", "source_error"]).to_pylist()
    return sorted(own, key=str)


class TestWhatIsWritten:
    def test_a_catalog_named_after_the_folder(self, movielens, tmp_path):
        file = propose_catalog(movielens, None, force=False).file
        assert file == tmp_path / "catalogs" / "my_shop_2.yaml"
        catalog = read_catalog(file)
        assert catalog.name == "my_shop_2"
        assert catalog.interactions.source.path == "../My Shop 2/ratings.csv"
        assert catalog.items.source.path == "../My Shop 2/movies.csv"
        assert catalog.items.text == ("title", "genres")
        assert [path.name for path in file.parent.iterdir()] == ["my_shop_2.yaml"]

    def test_a_name_of_ones_own(self, movielens):
        assert propose_catalog(movielens, "films", force=False).file.name == "films.yaml"

    @pytest.mark.parametrize("folder", ["2024", "gate"])
    def test_a_folder_whose_name_fits_in_no_way(self, data, movielens, folder):
        named = data.rename(data.with_name(folder))
        assert propose_catalog(named, None, force=False).file.stem == f"catalog_{folder}"

    def test_a_relative_folder(self, movielens, monkeypatch):
        monkeypatch.chdir(movielens)
        catalog = read_catalog(propose_catalog(Path(), None, force=False).file)
        assert catalog.interactions.source.path == "../My Shop 2/ratings.csv"

    @pytest.mark.parametrize("header", ["movieId,Title,Category", "MOVIEID,TITLE,CATEGORY"])
    def test_a_catalog_of_headers_in_capitals_runs(self, movielens, no_pictures, header):
        items = ITEMS.replace("movieId,title,genres", header)
        (movielens / "movies.csv").write_text(items, encoding="utf-8")
        place = Place(movielens.parent)
        catalog = read_catalog(propose_catalog(movielens, "shop", force=False).file)
        settings = yaml.safe_load((place.catalogs / "shop.yaml").read_text(encoding="utf-8"))
        place.write_catalog("shop", settings | {"encoder": {"model": "tfidf", "dimension": 8}})
        assert catalog.items.text == tuple(header.split(",")[1:])
        assert inspect_catalog(place.catalog("shop")).faults == []
        assert place.run("shop", ["raw_items", "items", "rejected_items", "item_texts"]).success
        query = "select title, category, text from items join item_texts using (item_id)"
        assert ("Film, the 1th", "Comedy", "Film, the 1th. Comedy") in place.warehouse.query(
            "shop", query
        )

    def test_the_folder_of_the_catalogs_loads(self, movielens):
        file = propose_catalog(movielens, None, force=False).file
        assert list(Catalogs.read(file.parent)) == ["my_shop_2"]


class TestQueriesThatGiveSomethingElse:
    """A query and the frame that it was proposed from are made apart, and must agree."""

    ROWS = pa.table({"source_error": [None, None, "broken"], "user_id": ["a", "b ", None],
                     "item_id": [1.0, 1.0, None]})  # fmt: skip
    SOURCE = SourceSettings(sql="select 1", tables={"orders": {"path": "orders.csv"}})

    def test_the_same_rows_and_ids(self):
        require_counts("interactions", self.SOURCE, self.ROWS, Counts(2, {"user_id": 2}))

    @pytest.mark.parametrize(
        ("counts", "said"),
        [
            (Counts(1, {"user_id": 2}), "over orders .* gives 2 rows, not 1"),
            (Counts(2, {"user_id": 3, "item_id": 1}), "gives 2 ids in 'user_id', not 3. Write"),
            (Counts(2, {"user_id": 2, "item_id": 9}), "gives 1 ids in 'item_id', not 9. Write"),
        ],
    )
    def test_others_are_refused(self, counts, said):
        with pytest.raises(UserError, match=said):
            require_counts("interactions", self.SOURCE, self.ROWS, counts)


class TestKindsOfTables:
    @pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
    def test_transactions_in_one_file(self, data, encoding):
        (data / "it's [1].csv").write_text(SALES, encoding=encoding)
        file = propose_catalog(data, None, force=False).file
        catalog = read_catalog(file)
        assert catalog.interactions.columns == {
            "user_id": "Customer ID",
            "item_id": "StockCode",
            "timestamp": "InvoiceDate",
            "weight": "Quantity",
        }
        assert catalog.interactions.timestamp_format == "%d/%m/%Y %H:%M"
        items = items_of(file)
        assert len(items) == 20
        assert items[0] == {"StockCode": "001", "Description": "Lampe für 0"}

    def test_malformed_lines_do_not_stop_a_query(self, data):
        (data / "sales.csv").write_text(SALES + "1;2\n", encoding="utf-8")
        file = propose_catalog(data, None, force=False).file
        assert len(items_of(file)) == 20
        assert "# sales.csv: 1 of 181 rows are unreadable." in file.read_text(encoding="utf-8")

    @pytest.mark.parametrize("kind", ["csv", "sqlite"])
    def test_orders_that_are_exported_again_later_make_no_more_lines(self, data, kind):
        orders = [(place, f"c{place % 30}", f"2024-01-{place % 27 + 1:02}") for place in range(200)]
        lines = [(float(place % 200), place % 20, 1) for place in range(400)]
        items = [(item, f"A lamp for room {item} of the house") for item in range(20)]
        tables = {"orders": (("order_id", "customer_id", "order_date"), orders),
                  "order_lines": (("order_id", "item_id", "quantity"), lines),
                  "items": (("item_id", "title"), items)}  # fmt: skip
        with closing(sqlite3.connect(data / "shop.sqlite")) as shop, shop:
            for name, (header, rows) in tables.items():
                frame = pd.DataFrame(rows, columns=header)
                frame.to_sql(name, shop, index=False)
                frame.astype("str").replace(r"\.0$", "", regex=True).to_csv(
                    data / f"{name}.csv", index=False
                )
        for file in {*data.iterdir()} - {*data.glob(f"*.{kind}")}:
            file.unlink()
        catalog = read_catalog(propose_catalog(data, None, force=False).file)
        again = [(5, "c5", "2024-02-01"), *orders[:100]]
        if kind == "csv":
            with (data / "orders.csv").open("a", encoding="utf-8") as file:
                file.writelines(f"{','.join(map(str, order))}\n" for order in again)
        else:
            with closing(sqlite3.connect(data / "shop.sqlite")) as shop, shop:
                shop.executemany("insert into orders values (?, ?, ?)", again)
        rows = read_source(catalog.interactions.source, catalog.folder).rows
        assert rows.num_rows == 400
        assert rows["customer_id"].null_count == 0

    @pytest.mark.parametrize("names", [("items/a.csv", "items/b.csv"), ("i_1.csv", "i_2.csv")])
    def test_files_of_two_encodings_are_no_one_table(self, data, names):
        for name, encoding in zip(names, ("cp1252", "utf-8"), strict=True):
            text = "item_id,title\n" + "".join(f"{row},Große Lampe {row}\n" for row in range(20))
            (data / name).parent.mkdir(exist_ok=True)
            (data / name).write_text(text, encoding=encoding)
        (data / "ratings.csv").write_text(RATINGS.replace("movieId", "item_id"), encoding="utf-8")
        file = propose_catalog(data, None, force=False).file
        assert read_catalog(file).items.source.path.endswith(names)
        assert items_of(file)[0]["title"] == "Große Lampe 0"

    def test_what_is_ascii_fits_the_encoding_of_the_others(self, data):
        (data / "items").mkdir()
        for start, what in ((0, "Lamp"), (20, "Große Lampe")):
            rows = "".join(f"{row},{what} {row}\n" for row in range(start, start + 20))
            text = f"item_id,title\n{rows}"
            (data / "items" / f"{start}.csv").write_text(text, encoding="cp1252")
        (data / "ratings.csv").write_text(RATINGS.replace("movieId", "item_id"), encoding="utf-8")
        file = propose_catalog(data, None, force=False).file
        assert read_catalog(file).items.source.path.endswith("/items")
        assert {row["title"][:4] for row in items_of(file)} == {"Lamp", "Groß"}

    def test_a_folder_of_files_without_a_header(self, data):
        (data / "ratings").mkdir()
        lines = RATINGS.splitlines(keepends=True)[1:]
        (data / "ratings" / "1.csv").write_text("".join(lines[:90]), encoding="utf-8")
        (data / "ratings" / "2.csv").write_text("".join(lines[90:]), encoding="utf-8")
        (data / "movies.csv").write_text(ITEMS, encoding="utf-8")
        source = read_catalog(propose_catalog(data, None, force=False).file).interactions.source
        assert source.path.endswith("/ratings")
        assert source.names == ("user_id", "item_id", "rating", "timestamp")

    def test_a_folder_of_matrices_whose_items_are_numbers_is_left_aside(self, movielens):
        (movielens / "wide").mkdir()
        for part in (1, 2):
            cells = "\n".join(f"{part}{row}," + ",".join("5" * 10) for row in range(5))
            text = "user_id," + ",".join(map(str, range(1, 11))) + f"\n{cells}\n"
            (movielens / "wide" / f"{part}.csv").write_text(text, encoding="utf-8")
        written = propose_catalog(movielens, None, force=False)
        assert any("wide: a column for each item" in remark for remark in written.remarks)

    def test_partitions_with_a_later_column_and_a_part_still_written(self, data):
        rows = pd.DataFrame({"user_id": range(60), "item_id": [row % 30 + 1 for row in range(60)]})
        for part, frame in (("store=1", rows), ("store=2", rows.assign(rating=3.0)),
                            ("store=1/_temporary/0", rows)):  # fmt: skip
            (data / "events" / part).mkdir(parents=True)
            frame.to_parquet(data / "events" / part / "a.parquet")
        items = ITEMS.replace("movieId", "item_id")
        (data / "items.csv").write_text(items, encoding="utf-8")
        catalog = read_catalog(propose_catalog(data, None, force=False).file)
        read = read_source(catalog.interactions.source, catalog.folder).rows
        assert read.num_rows == 120
        assert read["rating"].null_count == 60

    def test_of_large_tables_all_is_counted_and_orders_are_looked_at_whole(self, data, monkeypatch):
        monkeypatch.setattr(finding, "MAX_ROWS", 60)
        (data / "movies.csv").write_text(ITEMS, encoding="utf-8")
        (data / "ratings.csv").write_text(RATINGS, encoding="utf-8")
        (data / "movies_in_stock.csv").write_text(ITEMS * 3, encoding="utf-8")
        found = finding.Found(data)
        found.look_into(data)
        rows = {one.name: (len(one.frame), one.rows) for one in found.candidates}
        assert rows == {"movies.csv": (30, 0), "movies_in_stock.csv": (92, 0),
                        "ratings.csv": (60, 200)}  # fmt: skip
        proposal = propose([one for one in found.candidates if one.name != "movies_in_stock.csv"])
        assert "20 users in `userId` and 30 items" in render(proposal, "films")
        assert proposal.size is not None
        assert (proposal.size.learned, proposal.size.items) == (30, 30)
        assert proposal.size.likes == pytest.approx(200, abs=20)

    def test_a_course_platform_in_json_lines(self, data):
        courses = [
            {"course_id": f"C_{n}", "name": f"Course of {n}", "topics": ["maths", "logic"][: n % 3]}
            for n in range(20)
        ]
        steps = [
            {"learner": f"L{row // 8}", "course": f"C_{row * 3 % 20}", "sequence": row % 8}
            for row in range(160)
        ]
        for name, rows in (("courses", courses), ("enrolments", steps)):
            text = "\n".join(map(json.dumps, rows))
            (data / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
        catalog = read_catalog(propose_catalog(data, None, force=False).file)
        assert catalog.interactions.columns == {
            "user_id": "learner",
            "item_id": "course",
            "position": "sequence",
        }
        assert catalog.items.text == ("name", "topics")
        assert catalog.items.columns == {"item_id": "course_id", "category": "topics"}

    def test_a_folder_of_files_is_one_table(self, movielens):
        parts = movielens / "ratings"
        parts.mkdir()
        (movielens / "ratings.csv").rename(parts / "1.csv")
        (parts / "2.csv").write_text(RATINGS, encoding="utf-8")
        catalog = read_catalog(propose_catalog(movielens, None, force=False).file)
        assert catalog.interactions.source.path == "../My Shop 2/ratings"

    def test_transactions_in_a_folder(self, data):
        (data / "sales").mkdir()
        for part in "ab":
            (data / "sales" / f"{part}.csv").write_text(SALES, encoding="utf-8")
        assert len(items_of(propose_catalog(data, None, force=False).file)) == 20

    def test_a_folder_of_different_tables_is_none(self, movielens):
        (movielens / "old").mkdir()
        (movielens / "old" / "movies.csv").write_text(ITEMS, encoding="utf-8")
        (movielens / "old" / "ratings.csv").write_text(RATINGS * 2, encoding="utf-8")
        file = propose_catalog(movielens, None, force=False).file
        assert read_catalog(file).interactions.source.path == "../My Shop 2/ratings.csv"
        assert "Left aside: old: its files have different columns" in file.read_text("utf-8")

    def test_a_folder_of_tables_that_cannot_be_read_is_named(self, movielens):
        (movielens / "ratings.csv").unlink()
        (movielens / "ratings").mkdir()
        (movielens / "ratings" / "2024.csv.zip").write_bytes(b"PK")
        with pytest.raises(UserError, match=r"ratings: 1 of the folder's files is left out.*2024"):
            propose_catalog(movielens, None, force=False)

    def test_a_table_without_a_row_is_named(self, movielens):
        (movielens / "ratings.csv").write_text(RATINGS.splitlines()[0] + "\n", encoding="utf-8")
        with pytest.raises(UserError, match=r"Left aside: ratings\.csv: there is no row in it"):
            propose_catalog(movielens, None, force=False)

    def test_a_duckdb_database(self, movielens):
        with duckdb.connect(str(movielens / "shop.duckdb")) as connection:
            for name in ("movies", "ratings"):
                path = movielens / f"{name}.csv"
                connection.execute(f"create table {name} as select * from read_csv('{path}')")
                path.unlink()
        catalog = read_catalog(propose_catalog(movielens, None, force=False).file)
        assert catalog.interactions.source.database == "../My Shop 2/shop.duckdb"
        assert catalog.interactions.source.table == "ratings"
        assert catalog.items.source.table == "movies"

    def test_transactions_in_a_sqlite_database(self, data):
        with closing(sqlite3.connect(data / "shop.db")) as connection:
            connection.execute(
                "create table sales (id integer primary key autoincrement, customer, product, "
                "product_name, sold_at)"
            )
            connection.executemany(
                "insert into sales (customer, product, product_name, sold_at) values (?, ?, ?, ?)",
                [
                    (row // 9, row % 20, f"Lamp {row % 20}", f"2024-01-{row % 28 + 1:02}")
                    for row in range(180)
                ],
            )
            connection.commit()
        file = propose_catalog(data, None, force=False).file
        assert read_catalog(file).interactions.columns == {
            "user_id": "customer",
            "item_id": "product",
            "timestamp": "sold_at",
        }
        assert len(items_of(file)) == 20


class TestWhatIsRefused:
    def test_a_catalog_that_is_there(self, movielens):
        file = propose_catalog(movielens, "films", force=False).file
        file.write_text("name: films", encoding="utf-8")
        with pytest.raises(UserError, match="--force"):
            propose_catalog(movielens, "films", force=False)
        assert file.read_text(encoding="utf-8") == "name: films"
        propose_catalog(movielens, "films", force=True)
        assert read_catalog(file).name == "films"

    def test_a_name_that_another_file_has(self, movielens):
        file = propose_catalog(movielens, "films", force=False).file
        file.rename(file.with_name("other.yml"))
        with pytest.raises(UserError, match=r"other.yml: .* 'films' already"):
            propose_catalog(movielens, "films", force=True)

    def test_a_name_that_cannot_be_one(self, movielens):
        with pytest.raises(UserError, match="Try 'my_films'"):
            propose_catalog(movielens, "My Films!", force=False)
        with pytest.raises(UserError, match=r"'gate' cannot be .* has a schema of that name"):
            propose_catalog(movielens, "gate", force=False)

    def test_no_folder(self, tmp_path):
        with pytest.raises(UserError, match="no such folder"):
            propose_catalog(tmp_path / "nowhere", None, force=False)

    def test_nothing_in_the_folder_that_can_be_read(self, data):
        (data / "sales.xlsx").write_bytes(b"PK")
        (data / "notes").mkdir()
        with pytest.raises(UserError) as error:
            propose_catalog(data, None, force=False)
        assert "nothing here can be read" in str(error.value)
        assert "sales.xlsx" in str(error.value)

    def test_nothing_that_fits_leaves_no_file(self, data, tmp_path):
        (data / "weather.csv").write_text("day,degrees\n2024-01-01,3.5\n2024-01-02,4.5\n")
        with pytest.raises(UserError, match=r"weather\.csv: day, degrees"):
            propose_catalog(data, None, force=False)
        assert not list((tmp_path / "catalogs").iterdir())


class TestWhatLiesBeside:
    def test_notes_are_no_tables(self, movielens):
        (movielens / "README.txt").write_text("one, two\nthree, four\n", encoding="utf-8")
        (movielens / "thanks.txt").write_text("Dear all, thank you.\n\nBye\n", encoding="utf-8")
        (movielens / ".DS_Store").write_bytes(b"x")
        written = propose_catalog(movielens, None, force=False)
        assert written.remarks == [
            "Taken for a note, not for a table: thanks.txt.",
            "Taken for notes, not for tables: README.txt.",
        ]

    def test_spreadsheets_must_be_saved_as_csv(self, movielens):
        (movielens / "prices.xlsx").write_bytes(b"PK")
        (remark,) = propose_catalog(movielens, None, force=False).remarks
        assert "prices.xlsx: spreadsheets are not read. Save each sheet as CSV" in remark

    def test_tables_of_another_recommender_are_named(self, movielens):
        (movielens / "loans.csv").write_text(
            "reader_id,book_id\n" + "".join(f"r{row % 9},b{row % 7}\n" for row in range(60))
        )
        (remark,) = propose_catalog(movielens, None, force=False).remarks
        assert remark.startswith("No part of the catalog: loans.csv.")

    def test_a_file_a_month_is_one_table(self, movielens):
        for month in ("01", "02"):
            text = RATINGS if month == "01" else RATINGS.replace("\n1,", "\n77,")
            (movielens / f"ratings-{month}.csv").write_text(text, encoding="utf-8")
        (movielens / "ratings.csv").unlink()
        catalog = read_catalog(propose_catalog(movielens, None, force=False).file)
        assert catalog.interactions.source.path == "../My Shop 2/ratings-*.csv"

    def test_a_header_further_down(self, movielens):
        (movielens / "ratings.csv").write_text("Report of May\n\n" + RATINGS, encoding="utf-8")
        with pytest.raises(UserError, match="remove what is above the header"):
            propose_catalog(movielens, None, force=False)


def test_one_file_alone(data):
    (data / "sales.csv").write_text(SALES, encoding="cp1252")
    file = propose_catalog(data / "sales.csv", None, force=False).file
    assert file.name == "sales.yaml"
    assert len(items_of(file)) == 20


def test_a_file_that_cannot_be_read_is_a_remark(movielens):
    (movielens / "broken.parquet").write_bytes(b"no parquet")
    (movielens / "empty.csv").touch()
    (movielens / "broken.csv.gz").write_bytes(b"no archive")
    (movielens / "broken.db").write_bytes(b"no database")
    (movielens / "README.md").touch()
    file = propose_catalog(movielens, None, force=False).file
    top = file.read_text(encoding="utf-8").partition("name:")[0]
    for name in ("broken.parquet", "empty.csv", "broken.csv.gz", "broken.db", "README.md"):
        assert name in top
    assert read_catalog(file).interactions.source.path == "../My Shop 2/ratings.csv"


@pytest.mark.parametrize("name", ["se-history-meta", "amazon-movies", "steam-reviews"])
def test_real_data(name, tmp_path, monkeypatch):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there")
    monkeypatch.setenv("RECSYS_CATALOGS", str(tmp_path))
    catalog = read_catalog(propose_catalog(SHARED / name, None, force=False).file)
    assert catalog.interactions.source.path == os.path.relpath(
        (SHARED / name).resolve() / "interactions.parquet", tmp_path
    )


class TestWhatIsNoTable:
    def test_a_pipe_is_not_waited_for(self, movielens):
        os.mkfifo(movielens / "pipe.csv")
        assert any("pipe.csv" in said for said in propose_catalog(movielens, None, False).remarks)

    def test_a_device_is_no_folder(self, data):
        with pytest.raises(UserError, match="no such folder or file"):
            propose_catalog(Path(os.devnull), None, force=False)

    def test_a_folder_of_catalogs_that_is_a_file(self, movielens, tmp_path):
        (tmp_path / "catalogs").write_text("")
        with pytest.raises(UserError, match="this is a file"):
            propose_catalog(movielens, None, force=False)
