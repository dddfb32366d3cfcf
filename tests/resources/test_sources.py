"""Sources of every kind: every row numbered, mistakes named, nothing of ours overwritten."""

import errno
import json
import re
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources import delimited, files
from recsys_dagster.steps.prepare.texts import item_texts

CSV = "user_id,item_id\n007,a\n"
FRAME = pd.DataFrame({"item_id": [7, 8], "tags": [["a"], []], "title": ["x", None]})


def own(data: pa.Table) -> list[dict]:
    return data.drop_columns(["source_file", "source_row", "source_error"]).to_pylist()


def test_where_a_row_was_read_stands_in_front(read, tmp_path):
    (tmp_path / "i.csv").write_text(CSV)
    assert read("i.csv", tmp_path).rows.to_pylist() == [
        {
            "source_file": "i.csv",
            "source_row": 1,
            "source_error": None,
            "user_id": "007",
            "item_id": "a",
        }
    ]


@pytest.mark.parametrize("column", ["source_file", "source_row", "source_error"])
def test_a_column_with_a_name_of_ours_is_refused(read, tmp_path, column):
    (tmp_path / "i.csv").write_text(f"item_id,{column}\na,1\n")
    with pytest.raises(UserError, match=rf"i\.csv: the column '{column}'.*rename it.*sql"):
        read("i.csv", tmp_path)
    renamed = {"sql": f"select item_id, {column} as theirs from 'i.csv'"}
    assert own(read(renamed, tmp_path).rows) == [{"item_id": "a", "theirs": 1}]


class TestParquet:
    def test_types_stay(self, read, tmp_path):
        FRAME.to_parquet(tmp_path / "m.parquet")
        assert own(read("m.parquet", tmp_path).rows) == [
            {"item_id": 7, "tags": ["a"], "title": "x"},
            {"item_id": 8, "tags": [], "title": None},
        ]

    def test_times_keep_their_zone_and_decimals_their_digits(self, read, tmp_path):
        frame = pd.DataFrame(
            {"at": pd.to_datetime(["2024-01-01T02:00+02:00"]), "price": [0.1]}
        ).convert_dtypes()
        frame.to_parquet(tmp_path / "i.parquet")
        (row,) = own(read("i.parquet", tmp_path).rows)
        assert row["at"] == pd.Timestamp("2024-01-01", tz="UTC")
        assert row["price"] == 0.1

    def test_bytes_are_text_where_they_are_that_and_hexadecimal_where_not(self, read, tmp_path):
        values = ["Käse\n".encode(), b"\x89PNG\xff", b"\x00\x07", b"\x07\x00", b"", None]
        expected = ["Käse\n", "89504e47ff", "0007", "0700", "", None]
        for kind in (pa.binary(), pa.large_binary()):
            pq.write_table(pa.table({"item_id": pa.array(values, kind)}), tmp_path / "i.parquet")
            assert [row["item_id"] for row in own(read("i.parquet", tmp_path).rows)] == expected

    def test_bytes_in_a_structure_are_text_too(self, read, tmp_path):
        pq.write_table(pa.table({"item": [{"id": b"a"}, {"id": b"\xff"}]}), tmp_path / "i.parquet")
        rows = own(read("i.parquet", tmp_path).rows)
        assert rows == [{"item.id": "a"}, {"item.id": "ff"}]

    def test_no_rows(self, read, tmp_path):
        FRAME.head(0).to_parquet(tmp_path / "m.parquet")
        data = read("m.parquet", tmp_path).rows
        assert data.num_rows == 0
        assert data.column_names[3:] == ["item_id", "tags", "title"]


class TestStructures:
    def test_their_fields_are_columns(self, read, tmp_path):
        user = pa.array(
            [{"id": 7, "address": {"city": "x"}}, {"id": 8, "address": None}, None],
            pa.struct([("id", pa.int64()), ("address", pa.struct([("city", pa.string())]))]),
        )
        tags = pa.array([[{"name": "a"}], [], None])
        pq.write_table(pa.table({"user": user, "tags": tags}), tmp_path / "i.parquet")
        flat = [
            {"user.id": 7, "user.address.city": "x", "tags": [{"name": "a"}]},
            {"user.id": 8, "user.address.city": None, "tags": []},
            {"user.id": None, "user.address.city": None, "tags": None},
        ]
        assert own(read("i.parquet", tmp_path).rows) == flat
        assert own(read({"sql": "select * from 'i.parquet'"}, tmp_path).rows) == flat
        value = pq.read_table(tmp_path / "i.parquet")
        assert own(read({"asset": "a"}, tmp_path, asset_value=value).rows) == flat

    def test_a_column_of_the_same_name_is_an_error(self, read, tmp_path):
        (tmp_path / "i.jsonl").write_text('{"user.id": 1, "user": {"id": 2}}\n')
        with pytest.raises(UserError, match=r"names 'user\.id' more than once"):
            read("i.jsonl", tmp_path)

    def test_a_dictionary_by_ids_is_one_column(self, read, tmp_path):
        value = {f"u{n}": n for n in range(500)}
        (tmp_path / "i.jsonl").write_text(json.dumps({"item_id": 1, "ratings": value}) + "\n")
        assert own(read("i.jsonl", tmp_path).rows) == [{"item_id": 1, "ratings": value}]

    def test_a_text_of_a_structure_names_its_fields(self):
        titled = {"item_id": ["1"], "title": ["x"], "title_source": ["title"]}
        items = pd.DataFrame(titled | {"by.name": ["ö"], "by.age": [7]})
        assert item_texts(items, "{title} by {by.name}")["text"].to_list() == ["x by ö"]
        with pytest.raises(UserError, match=r"'by', which.*Did you mean 'by\.name' or 'by\.age'"):
            item_texts(items, "by")


class TestFolders:
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        parts = {
            "orders/2024/02.csv": "b",
            "orders/2024/01.csv": "a",
            "orders/2023.jsonl": None,
            "orders/.hidden.csv": "h",
            "orders/_SUCCESS.csv": "s",
            "orders/_tmp/part.csv": "t",
            "orders/.git/part.csv": "g",
            "orders/readme.txt": "r",
            "notes/readme.txt": "r",
            "notes/readme.md": "r",
        }
        for name, item in parts.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            text = f"item_id\n{item}\n" if item else '{"item_id": "j"}\n'
            (tmp_path / name).write_text(text)

    def test_all_readable_files_below_a_folder_in_order_of_their_names(self, read, tmp_path):
        data = read("orders", tmp_path).rows
        assert data["source_file"].to_pylist() == ["2023.jsonl", "2024/01.csv", "2024/02.csv"]
        assert data["item_id"].to_pylist() == ["j", "a", "b"]
        assert data["source_row"].to_pylist() == [1, 1, 1]

    def test_tables_that_cannot_be_read_are_named(self, read, tmp_path):
        assert read("orders", tmp_path).remarks == ()
        (tmp_path / "orders/2024/03.csv.zip").write_bytes(b"PK")
        (tmp_path / "orders/2024/_04.csv.zip").write_bytes(b"PK")
        (tmp_path / "orders/sheet.xlsx").write_bytes(b"PK")
        (tmp_path / "orders/gone.csv").symlink_to("nothing.csv")
        (remark,) = read("orders", tmp_path).remarks
        assert re.match("3 of the folder's files are left out", remark)
        assert remark.endswith(": 2024/03.csv.zip, gone.csv, sheet.xlsx.")

    def test_links_are_followed(self, read, tmp_path):
        write = {"elsewhere/deep/03.csv": "c", "elsewhere/_tmp/04.csv": "t", "blobs/05": "e"}
        for name, item in write.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"item_id\n{item}\n")
        (tmp_path / "orders/2025").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "orders/05.csv").symlink_to("../blobs/05")
        data = read("orders", tmp_path).rows
        assert data["item_id"].to_pylist() == ["e", "j", "a", "b", "c"]
        assert data["source_file"].to_pylist()[-1] == "2025/deep/03.csv"

    def test_what_is_there_by_two_names_is_read_once(self, read, tmp_path):
        (tmp_path / "orders/1-latest.csv").symlink_to("2024/02.csv")
        (tmp_path / "orders/latest").symlink_to("2024")
        (tmp_path / "orders/2024/again").symlink_to("..")
        (tmp_path / "orders/all").symlink_to(tmp_path)
        (tmp_path / "orders/round.csv").symlink_to("round.csv")
        data = read("orders", tmp_path).rows
        assert data["source_file"].to_pylist() == ["2023.jsonl", "2024/01.csv", "2024/02.csv"]

    @pytest.mark.parametrize(
        ("pattern", "items"),
        [
            ("orders/2024/*.csv", ["a", "b"]),
            ("orders/**/0*.csv", ["a", "b"]),
            ("orders/2024/0[2-9].csv", ["b"]),
            ("orders/*.jsonl", ["j"]),
        ],
    )
    def test_a_pattern(self, read, tmp_path, pattern, items):
        assert read(pattern, tmp_path).rows["item_id"].to_pylist() == items

    def test_files_of_one_name_in_two_folders_are_told_apart(self, read, tmp_path):
        (tmp_path / "orders/2025").mkdir()
        (tmp_path / "orders/2025/01.csv").write_text("item_id\nz\n")
        data = read("orders/*/01.csv", tmp_path).rows
        assert data["item_id"].to_pylist() == ["a", "z"]
        assert len(set(data["source_file"].to_pylist())) == 2

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("notes", r"notes: the folder has no \.parquet, \.csv"),
            ("orders/*.xlsx", "no file is called like this"),
            ("notes/*", r"readme\.md: \.md cannot be read; expected one of \.parquet, \.csv"),
            ("order", r"no such file\. Did you mean 'orders'"),
        ],
    )
    def test_nothing_to_read(self, read, tmp_path, path, message):
        with pytest.raises(UserError, match=message):
            read(path, tmp_path)

    def test_files_that_disagree_about_a_column_make_it_text(self, read, tmp_path):
        (tmp_path / "parts").mkdir()
        pd.DataFrame({"item_id": [7], "year": [1995]}).to_parquet(tmp_path / "parts/1.parquet")
        (tmp_path / "parts/2.csv").write_text("item_id,genre\n007,Crime\n")
        assert own(read("parts", tmp_path).rows) == [
            {"item_id": "7", "year": 1995, "genre": None},
            {"item_id": "007", "year": None, "genre": "Crime"},
        ]

    def test_columns_of_two_files_that_differ_only_in_case_are_named(self, read, tmp_path):
        (tmp_path / "parts").mkdir()
        (tmp_path / "parts/1.csv").write_text("Item\na\n")
        (tmp_path / "parts/2.csv").write_text("item\nb\n")
        with pytest.raises(UserError, match=r"'Item'.*'item'|'item'.*'Item'"):
            read("parts", tmp_path)


class TestVariables:
    def test_an_environment_variable_in_a_path(self, read, tmp_path, monkeypatch):
        (tmp_path / "i.csv").write_text(CSV)
        monkeypatch.setenv("SHOP_DATA", str(tmp_path))
        assert read("${SHOP_DATA}/i.csv", tmp_path / "elsewhere").rows.num_rows == 1

    def test_an_environment_variable_in_a_query(self, read, tmp_path, monkeypatch):
        (tmp_path / "i.csv").write_text(CSV)
        monkeypatch.setenv("SHOP_FILE", str(tmp_path / "i.csv"))
        query = {"sql": "select item_id from '${SHOP_FILE}'"}
        assert own(read(query, tmp_path).rows) == [{"item_id": "a"}]

    def test_one_that_is_not_set_is_named(self, read, tmp_path, monkeypatch):
        monkeypatch.delenv("SHOP_DATA", raising=False)
        monkeypatch.setenv("SHOP_DATUM", "x")
        with pytest.raises(UserError, match=r"SHOP_DATA is not set\. Did you mean 'SHOP_DATUM'"):
            read("${SHOP_DATA}/i.csv", tmp_path)


class TestMistakes:
    def test_a_missing_file_names_the_nearest(self, read, tmp_path):
        (tmp_path / "films.csv").write_text(CSV)
        with pytest.raises(UserError, match=r"no such file\. Did you mean 'films\.csv'"):
            read("film.csv", tmp_path)
        with pytest.raises(UserError, match="no such file"):
            read("nowhere/film.csv", tmp_path)

    @pytest.mark.parametrize("name", ["films", "films.zip", "films.parquet.gz"])
    def test_an_ending_that_is_not_read(self, read, tmp_path, name):
        (tmp_path / name).write_text(CSV)
        with pytest.raises(UserError, match=r"cannot be read; expected one of \.parquet, \.csv"):
            read(name, tmp_path)

    @pytest.mark.parametrize("source", ["f.csv.zst", {"path": "f.csv.zip", "delimiter": "|"}])
    def test_what_is_packed_other_than_by_gzip_is_unpacked_first(self, read, tmp_path, source):
        (tmp_path / (source if isinstance(source, str) else source["path"])).write_text(CSV)
        with pytest.raises(
            UserError, match=r"text files are read that end in \.csv\.gz.*unpack it"
        ):
            read(source, tmp_path)

    @pytest.mark.parametrize("name", ["films.xlsx", "films.xls", "films.ods"])
    def test_a_spreadsheet_is_saved_as_csv_first(self, read, tmp_path, name):
        (tmp_path / name).write_text(CSV)
        with pytest.raises(UserError, match=r"save the sheet as CSV.*pandas\.read_excel"):
            read({"path": name, "delimiter": ";"}, tmp_path)

    def test_object_storage_needs_its_library(self, read, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "s3fs", None)
        with pytest.raises(UserError, match=r"needs s3fs.*pip install -e '\.\[s3\]'"):
            read("s3://films/*.parquet", tmp_path)

    @pytest.mark.parametrize("address", ["https://example.org/films.csv", "ftp://films/*.parquet"])
    def test_an_address_is_read_by_a_query(self, read, tmp_path, address):
        instead = re.escape(f"sql: \"select * from '{address}'\"")
        with pytest.raises(UserError, match=rf"a file of this machine.*{instead}"):
            read(address, tmp_path)

    @pytest.mark.parametrize("name", ["films.csv", "films.parquet", "films.jsonl"])
    def test_a_file_that_may_not_be_read(self, read, tmp_path, name, monkeypatch):
        (tmp_path / name).write_text(CSV)

        def refuse(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr(files, "sha256", refuse)
        with pytest.raises(UserError, match=rf"{name}: cannot be read: Permission denied"):
            read(name, tmp_path)

    def test_no_space_for_the_plain_copy(self, read, tmp_path, monkeypatch):
        (tmp_path / "films.csv").write_bytes("id,größe\n1,5 €\n".encode("cp1252"))

        def refuse(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(delimited, "write_plain", refuse)
        with pytest.raises(UserError, match=r"films\.csv: there is no space left in .*TMPDIR"):
            read({"path": "films.csv", "encoding": "cp1252"}, tmp_path)

    def test_a_file_of_another_kind(self, read, tmp_path):
        (tmp_path / "films.parquet").write_text(CSV)
        with pytest.raises(UserError, match=r"films\.parquet: cannot be read"):
            read("films.parquet", tmp_path)

    @pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
    def test_a_name_with_wildcards_is_one_file(self, read, tmp_path, ending):
        for name, item in (("a", "1"), ("[a]", "2"), ("*", "3")):
            frame = pd.DataFrame({"item_id": [item]})
            file = tmp_path / f"{name}.{ending}"
            if ending == "csv":
                frame.to_csv(file, index=False)
            elif ending == "jsonl":
                frame.to_json(file, orient="records", lines=True)
            else:
                frame.to_parquet(file, index=False)
        assert read(f"[a].{ending}", tmp_path).rows["item_id"].to_pylist() == ["2"]
        assert read(f"*.{ending}", tmp_path).rows["item_id"].to_pylist() == ["3"]


class TestFunctions:
    @pytest.fixture(autouse=True)
    def module(self, tmp_path, monkeypatch):
        (tmp_path / "tables_of_tests.py").write_text(
            "import pandas as pd, pyarrow as pa\n"
            "def films():\n    return pd.DataFrame({'item_id': [7, 'x']}, index=[5, 9])\n"
            "def arrow():\n    return pa.table({'item_id': [7, 8]}, metadata={'a': 'b'})\n"
            "def taken():\n    return pd.DataFrame({'source_row': [7]})\n"
            "def text():\n    return 'no frame'\n"
            "def rows():\n    yield {'item_id': 7}\n    yield {'item_id': 'x', 'year': 1999}\n"
            "class Stream:\n"
            "    def __init__(self, table): self.table = table\n"
            "    def __arrow_c_stream__(self, schema=None):\n"
            "        return self.table.__arrow_c_stream__(schema)\n"
            "def stream():\n"
            "    return Stream(pa.table({'item_id': pa.array(['7', None], pa.large_string())}))\n"
            "def query():\n"
            "    import duckdb\n"
            "    return duckdb.sql(\"select 'a' as item_id\")\n"
            "def column():\n    return pd.Series([1])\n"
            "def nothing():\n    return []\n"
            "def twice():\n    return pd.DataFrame([[1, 2]], columns=['a', 'a'])\n"
            "number = 3\n"
        )
        monkeypatch.syspath_prepend(tmp_path)

    def test_a_frame(self, read, tmp_path):
        found = read("python:tables_of_tests:films", tmp_path)
        assert own(found.rows) == [{"item_id": "7"}, {"item_id": "x"}]
        assert found.rows["source_row"].to_pylist() == [1, 2]
        assert found.rows["source_file"].null_count == found.rows_read == 2

    def test_an_arrow_table(self, read, tmp_path):
        assert own(read("python:tables_of_tests:arrow", tmp_path).rows) == [
            {"item_id": 7},
            {"item_id": 8},
        ]

    def test_a_generator_of_dicts(self, read, tmp_path):
        found = own(read("python:tables_of_tests:rows", tmp_path).rows)
        assert found == [{"item_id": "7", "year": None}, {"item_id": "x", "year": 1999}]

    def test_a_frame_of_another_library_has_texts_that_steps_know(self, read, tmp_path):
        found = read("python:tables_of_tests:stream", tmp_path).rows
        assert found.schema.field("item_id").type == pa.string()
        assert own(found) == [{"item_id": "7"}, {"item_id": None}]

    def test_a_relation_of_duckdb(self, read, tmp_path):
        assert own(read("python:tables_of_tests:query", tmp_path).rows) == [{"item_id": "a"}]

    def test_every_row_is_read_again_and_equal_rows_have_one_fingerprint(self, read, tmp_path):
        first = read("python:tables_of_tests:films", tmp_path)
        again = read("python:tables_of_tests:films", tmp_path, previous=first.rows)
        assert again.rows_read == 2
        assert again.fingerprint == first.fingerprint
        other = read("python:tables_of_tests:arrow", tmp_path)
        assert other.fingerprint != first.fingerprint

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("python:tables_of_tests:film", "no function 'film'. Did you mean 'films'"),
            ("python:tables_of_tests:number", "no function 'number'"),
            ("python:tables_of_test:films", "cannot be imported"),
            ("python:tables_of_tests:text", "expected a pandas frame, an Arrow table, .*got str"),
            ("python:tables_of_tests:nothing", "expected a pandas frame, .*got an empty list"),
            ("python:tables_of_tests:column", "expected a pandas frame, .*got Series"),
            ("python:tables_of_tests:twice", "names 'a' more than once"),
            ("python:tables_of_tests:taken", "'source_row' has a name"),
        ],
    )
    def test_mistakes(self, read, tmp_path, source, message):
        with pytest.raises(UserError, match=message):
            read(source, tmp_path)


class TestFunctionsThatFail:
    """Each is a fault of the source, with the line of the person's own file."""

    @pytest.fixture
    def told(self, read, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(tmp_path)

        def told(code: str) -> str:
            name = f"failing_{abs(hash(code))}"
            (tmp_path / f"{name}.py").write_text(code)
            with pytest.raises(UserError) as raised:
                read(f"python:{name}:rows", tmp_path)
            message = str(raised.value)
            assert f"source python:{name}:rows: " in message
            assert raised.value.__cause__ is None
            return message.replace(str(tmp_path / f"{name}.py"), "FILE")

        return told

    def test_an_exception(self, told):
        message = told("def rows():\n    ids = {}\n    return ids['shop']\n")
        assert message.endswith("the function failed: KeyError: 'shop' (FILE, line 3)")

    def test_an_exception_deep_in_a_library_names_the_own_line(self, told):
        message = told("import json\ndef rows():\n    return json.loads('{')\n")
        assert "JSONDecodeError: " in message
        assert message.endswith("(FILE, line 3)")

    @pytest.mark.parametrize("end", ["sys.exit(0)", "sys.exit()", "raise SystemExit('bye')"])
    def test_the_end_of_the_program(self, told, end):
        message = told(f"import sys\ndef rows():\n    {end}\n")
        assert "the function failed: it ended the program" in message
        assert message.endswith("(FILE, line 3)")

    def test_a_question(self, told):
        message = told("def rows():\n    return input('password: ')\n")
        assert "it asks for input" in message
        assert message.endswith("(FILE, line 2)")

    def test_a_generator_that_breaks_off(self, told):
        message = told("def rows():\n    yield {'a': 1}\n    raise OSError('gone')\n")
        assert message.endswith("the function failed: OSError: gone (FILE, line 3)")

    @pytest.mark.parametrize(
        ("code", "message", "line"),
        [
            ("import sys\nsys.exit(3)\n", r"it ended the program, by sys\.exit\(3\)", 2),
            ("number = 1 / 0\n", "ZeroDivisionError: division by zero", 1),
            ("def rows(:\n    pass\n", "SyntaxError: ", 1),
            ("x = 1\nimport there_is_no_such_module\n", "ModuleNotFoundError: No module", 2),
        ],
    )
    def test_a_module_that_cannot_be_imported(self, told, code, message, line):
        found = told(code)
        assert re.search(f"the module cannot be imported: {message}", found)
        assert found.endswith(f"(FILE, line {line})")

    def test_what_a_function_prints_is_no_output_of_the_program(self, read, tmp_path, told, capsys):
        told("def rows():\n    print('hello')\n    raise ValueError\n")
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("", "hello\n")

    def test_ctrl_c_still_ends_the_program(self, read, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "interrupted.py").write_text("def rows():\n    raise KeyboardInterrupt\n")
        with pytest.raises(KeyboardInterrupt):
            read("python:interrupted:rows", tmp_path)

    @pytest.mark.parametrize(
        "name", ["", "tables", "tables:", ":rows", "..pkg.evil:f", "a:b:c", "os;x:f", "a b:f"]
    )
    def test_what_is_no_module_and_function_is_refused_before_anything_runs(
        self, read, tmp_path, name
    ):
        with pytest.raises(ValidationError, match="expected module:function"):
            read(f"python:{name}", tmp_path)


class TestAssetValues:
    def test_the_value_of_an_asset(self, read, tmp_path):
        found = read({"asset": "sales/orders"}, tmp_path, asset_value=FRAME)
        assert found.rows["item_id"].to_pylist() == [7, 8]
        assert found.rows_read == 2

    def test_a_value_that_is_no_table_names_the_asset(self, read, tmp_path):
        with pytest.raises(UserError, match=r"asset sales/orders: expected a pandas.* got dict"):
            read({"asset": "sales/orders"}, tmp_path, asset_value={"item_id": [7]})
