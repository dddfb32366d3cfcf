"""Sources: read as they are, every row numbered, mistakes named."""

import pandas as pd
import pytest

from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources import read_source

CSV = 'user_id,item_id,rating\n007,a,4.5\nö,"b, c",\n,"say ""hi""",x\n'


def test_csv_stays_text(tmp_path):
    (tmp_path / "i.csv").write_text(CSV, encoding="utf-8")
    assert read_source("i.csv", tmp_path).to_pylist() == [
        {"source_row": 1, "user_id": "007", "item_id": "a", "rating": "4.5"},
        {"source_row": 2, "user_id": "ö", "item_id": "b, c", "rating": None},
        {"source_row": 3, "user_id": None, "item_id": 'say "hi"', "rating": "x"},
    ]


def test_tsv(tmp_path):
    (tmp_path / "i.TSV").write_text("user_id\titem_id\n007\ta, b\n8\tc\n")
    assert read_source("i.TSV", tmp_path).to_pylist() == [
        {"source_row": 1, "user_id": "007", "item_id": "a, b"},
        {"source_row": 2, "user_id": "8", "item_id": "c"},
    ]


def test_one_text_column_and_a_header_like_the_data(tmp_path):
    (tmp_path / "i.csv").write_text("item_id\na\nb\n")
    assert read_source("i.csv", tmp_path)["item_id"].to_pylist() == ["a", "b"]


def test_an_empty_table_has_its_columns(tmp_path):
    (tmp_path / "i.csv").write_text("user_id,item_id\n")
    data = read_source("i.csv", tmp_path)
    assert data.num_rows == 0
    assert data.column_names == ["source_row", "user_id", "item_id"]


def test_parquet_keeps_types(tmp_path):
    frame = pd.DataFrame({"item_id": [7, 8], "tags": [["a"], []], "title": ["x", None]})
    frame.to_parquet(tmp_path / "m.parquet")
    data = read_source("m.parquet", tmp_path)
    assert data.to_pylist() == [
        {"source_row": 1, "item_id": 7, "tags": ["a"], "title": "x"},
        {"source_row": 2, "item_id": 8, "tags": [], "title": None},
    ]


@pytest.mark.parametrize("ending", ["jsonl", "ndjson"])
def test_json_lines(tmp_path, ending):
    (tmp_path / f"m.{ending}").write_text('{"item_id": "007", "tags": ["a"]}\n{"item_id": "8"}\n')
    assert read_source(f"m.{ending}", tmp_path).to_pylist() == [
        {"source_row": 1, "item_id": "007", "tags": ["a"]},
        {"source_row": 2, "item_id": "8", "tags": None},
    ]


def test_rows_keep_the_order_of_the_file(tmp_path):
    lines = [f"{i},{i % 7}" for i in range(300_000)]
    (tmp_path / "i.csv").write_text("item_id,x\n" + "\n".join(lines) + "\n")
    data = read_source("i.csv", tmp_path)
    assert data["source_row"].to_pylist() == list(range(1, 300_001))
    assert data["item_id"].to_pylist() == [str(i) for i in range(300_000)]


class TestPython:
    @pytest.fixture(autouse=True)
    def module(self, tmp_path, monkeypatch):
        (tmp_path / "tables_of_tests.py").write_text(
            "import pandas as pd\n"
            "def films():\n    return pd.DataFrame({'item_id': [7, 'x']}, index=[5, 9])\n"
            "def text():\n    return 'no frame'\n"
        )
        monkeypatch.syspath_prepend(tmp_path)

    def test_a_function(self, tmp_path):
        assert read_source("python:tables_of_tests:films", tmp_path).to_pylist() == [
            {"source_row": 1, "item_id": "7"},
            {"source_row": 2, "item_id": "x"},
        ]

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("python:tables_of_tests:film", "no function 'film'. Did you mean 'films'"),
            ("python:tables_of_tests", "no function ''"),
            ("python:tables_of_test:films", "cannot be imported"),
            ("python:", "python:module:function"),
            ("python:tables_of_tests:text", "expected a pandas frame, got str"),
        ],
    )
    def test_mistakes(self, tmp_path, source, message):
        with pytest.raises(UserError, match=message):
            read_source(source, tmp_path)


class TestMistakes:
    def test_a_missing_file_names_the_nearest(self, tmp_path):
        (tmp_path / "films.csv").write_text(CSV)
        with pytest.raises(UserError, match=r"no such file\. Did you mean 'films\.csv'"):
            read_source("film.csv", tmp_path)
        with pytest.raises(UserError, match="no such file"):
            read_source("nowhere/film.csv", tmp_path)

    @pytest.mark.parametrize("name", ["films.xlsx", "films"])
    def test_an_ending_that_is_not_read(self, tmp_path, name):
        (tmp_path / name).write_text(CSV)
        with pytest.raises(
            UserError, match=r"files are not read; expected one of \.parquet, \.csv"
        ):
            read_source(name, tmp_path)

    @pytest.mark.parametrize("name", ["films.parquet", "films.jsonl"])
    def test_a_file_of_another_kind(self, tmp_path, name):
        (tmp_path / name).write_text(CSV)
        with pytest.raises(UserError, match=rf"{name}: cannot be read"):
            read_source(name, tmp_path)

    def test_a_name_with_wildcards_is_one_file(self, tmp_path):
        (tmp_path / "a.csv").write_text("item_id\n1\n")
        (tmp_path / "[a].csv").write_text("item_id\n2\n")
        assert read_source("[a].csv", tmp_path)["item_id"].to_pylist() == ["2"]


def test_what_cannot_be_read_is_not_quoted(tmp_path):
    rows = "".join(f"user-zq-{n},a\n" for n in range(50))
    (tmp_path / "i.csv").write_bytes(f"user_id,item_id\n{rows}".encode() + b"user-zq-50,\xff\n")
    with pytest.raises(UserError, match=r"i\.csv: cannot be read: .*not utf-8") as raised:
        read_source("i.csv", tmp_path)
    assert "user-zq" not in str(raised.value)
    assert raised.value.__suppress_context__
