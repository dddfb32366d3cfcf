"""JSON lines: one object a line, of whatever shape, and lines that are none."""

import gzip
import json

import pyarrow as pa
import pytest

from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources.state import united


def own(data: pa.Table) -> list[dict]:
    return data.drop_columns(["source_file", "source_row", "source_error"]).to_pylist()


@pytest.mark.parametrize("ending", ["jsonl", "ndjson"])
def test_objects_with_lists_and_without_some_keys(read, tmp_path, ending):
    text = '{"item_id": "007", "tags": ["a"]}\n{"item_id": "8"}\n'
    (tmp_path / f"m.{ending}").write_text(text)
    assert own(read(f"m.{ending}", tmp_path).rows) == [
        {"item_id": "007", "tags": ["a"]},
        {"item_id": "8", "tags": None},
    ]


def test_compressed(read, tmp_path):
    (tmp_path / "m.jsonl.gz").write_bytes(gzip.compress(b'{"item_id": 7}\n'))
    assert own(read("m.jsonl.gz", tmp_path).rows) == [{"item_id": 7}]


def test_a_column_of_several_types_is_text(read, tmp_path):
    (tmp_path / "m.jsonl").write_text(
        '{"item_id": 7, "a": [1]}\n{"item_id": "x", "a": "b"}\n{"item_id": null, "a": null}\n'
    )
    assert own(read("m.jsonl", tmp_path).rows) == [
        {"item_id": "7", "a": "[1]"},
        {"item_id": "x", "a": "b"},
        {"item_id": None, "a": None},
    ]


def test_nested_objects_and_lists(read, tmp_path):
    (tmp_path / "m.jsonl").write_text('{"id": 1, "by": {"name": "ö", "of": [[1], []]}}\n')
    assert own(read("m.jsonl", tmp_path).rows) == [{"id": 1, "by.name": "ö", "by.of": [[1], []]}]


@pytest.mark.parametrize(
    "text",
    ['[{"id": 1},\n {"id": 2}]\n', '\ufeff\n [\n{"id":\n1}, {"id": 2}]', '{"id": 1}\n{"id": 2}\n'],
)
def test_a_json_file_is_an_array_of_objects_or_an_object_a_line(read, tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    assert own(read("m.json", tmp_path).rows) == [{"id": 1}, {"id": 2}]


def test_elements_of_an_array_that_are_no_objects(read, tmp_path):
    (tmp_path / "m.json").write_text('[{"id": 1}, 7, null]')
    data = read("m.json", tmp_path).rows
    assert data["id"].to_pylist() == [1, None, None]
    assert data["source_error"].to_pylist() == [None, *["the element is not a JSON object"] * 2]


def test_an_array_that_is_cut_off_is_refused(read, tmp_path):
    (tmp_path / "m.json").write_text('[{"id": 1}, {"id": ')
    with pytest.raises(UserError, match=r"m\.json: cannot be read"):
        read("m.json", tmp_path)


def test_one_object_over_many_lines_says_what_is_read(read, tmp_path):
    (tmp_path / "m.json").write_text('{\n"id": 1\n}\n')
    with pytest.raises(UserError, match=r"m\.json: .*no line of it is.*one array of objects"):
        read("m.json", tmp_path)


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_other_encodings(read, tmp_path, encoding):
    (tmp_path / "m.jsonl").write_bytes('{"id": "5 €"}\n{"id": "ü"}\n'.encode(encoding))
    named = {"path": "m.jsonl", "encoding": encoding if encoding == "cp1252" else "utf-8"}
    assert own(read(named, tmp_path).rows) == [{"id": "5 €"}, {"id": "ü"}]


def test_a_column_that_is_always_null(read, tmp_path):
    (tmp_path / "m.jsonl").write_text('{"item_id": 7, "year": null}\n')
    assert own(read("m.jsonl", tmp_path).rows) == [{"item_id": 7, "year": None}]


def test_broken_lines_become_rows_that_say_why_and_all_others_stay(read, tmp_path):
    (tmp_path / "m.jsonl").write_text(
        '{"item_id": "a"}\n{"item_id": "b"\n[1, 2]\n"text"\n{"item_id": "e"}\n'
    )
    data = read("m.jsonl", tmp_path).rows
    assert data["source_row"].to_pylist() == [1, 2, 3, 4, 5]
    assert data["item_id"].to_pylist() == ["a", None, None, None, "e"]
    reason = "the line is not a JSON object"
    assert data["source_error"].to_pylist() == [None, reason, reason, reason, None]


DEEP = '{"id": 2, "of": ' + "[" * 200 + "]" * 200 + "}"


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (DEEP, "the line has lists and objects in each other deeper than 100 levels"),
        ('{"": 1, "id": 2}', "a key of the line is empty"),
        ('{"id": 2, "by": [{"" : 1}]}', "a key of the line is empty"),
    ],
    ids=["deep", "empty key", "empty key within"],
)
def test_a_line_that_no_table_can_hold_is_one_that_says_why(read, tmp_path, odd, reason):
    (tmp_path / "m.jsonl").write_text(f'{{"id": 1}}\n{odd}\n{{"id": 3, "of": ["", "\\"\\":"]}}\n')
    data = read("m.jsonl", tmp_path).rows
    assert data["id"].to_pylist() == [1, None, 3]
    assert data["of"].to_pylist() == [None, None, ["", '"":']]
    assert data["source_error"].to_pylist() == [None, reason, None]


def test_an_element_that_no_table_can_hold_is_one_that_says_why(read, tmp_path):
    (tmp_path / "m.json").write_text(f'[{{"id": 1}}, {DEEP}]')
    data = read("m.json", tmp_path).rows
    assert data["id"].to_pylist() == [1, None]
    assert "the element has lists" in data["source_error"].to_pylist()[1]


def test_brackets_in_a_text_are_no_levels(read, tmp_path):
    (tmp_path / "m.jsonl").write_text(f'{{"id": "{"[" * 200}"}}\n{DEEP}\n')
    data = read("m.jsonl", tmp_path).rows
    assert data["id"].to_pylist() == ["[" * 200, None]


def test_a_file_of_nothing_but_such_lines_is_refused(read, tmp_path):
    (tmp_path / "m.jsonl").write_text(f"{DEEP}\n")
    with pytest.raises(UserError, match=r"m\.jsonl: .*no line of it is a JSON object"):
        read("m.jsonl", tmp_path)


def test_blank_lines_and_a_byte_order_mark_are_no_data(read, tmp_path):
    (tmp_path / "m.jsonl").write_text('\ufeff{"item_id": "a"}\n\n{"item_id": "b"}\r\n')
    data = read("m.jsonl", tmp_path).rows
    assert data["item_id"].to_pylist() == ["a", "b"]
    assert data["source_error"].null_count == 2


def test_keys_that_differ_only_in_case_are_named(read, tmp_path):
    (tmp_path / "m.jsonl").write_text('{"Id": "a"}\n{"id": "b"}\n')
    with pytest.raises(UserError, match=r"m\.jsonl: .*('Id'.*'id'|'id'.*'Id')"):
        read("m.jsonl", tmp_path)


def test_a_value_that_says_null_as_text_is_text(read, tmp_path):
    (tmp_path / "m.jsonl").write_text('{"item_id": "null", "x": "1"}\n')
    assert own(read("m.jsonl", tmp_path).rows) == [{"item_id": "null", "x": "1"}]


@pytest.mark.parametrize("name", ["i.jsonl", "i.json"])
def test_an_object_that_holds_all_rows_and_is_too_long_says_what_to_write(read, tmp_path, name):
    row = '{"item_id": "a", "text": "' + "x" * 2**20 + '"}'
    (tmp_path / name).write_text('{"data": [' + ", ".join([row] * 17) + "]}")
    with pytest.raises(UserError, match=r"longer than 16 MiB.*as an object a line, or the list"):
        read(name, tmp_path)


@pytest.mark.parametrize("text", ["", "\n", "item_id\na\n", "[1]\n", "{}\n"])
def test_no_object_in_the_file(read, tmp_path, text):
    (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(UserError, match=r"m\.jsonl: .*empty, or no line of it is a JSON"):
        read("m.jsonl", tmp_path)


class TestLongIds:
    """A float has 53 bits, and ids of 64 bits that differ would be the same."""

    @pytest.mark.parametrize("other", ["12.0", "1.5"])
    def test_beside_a_number_with_a_point_they_keep_their_digits(self, read, tmp_path, other):
        (tmp_path / "m.jsonl").write_text(
            '{"user_id": 1234567890123456789}\n{"user_id": 1234567890123456792}\n'
            f'{{"user_id": {other}}}\n'
        )
        found = [row["user_id"] for row in own(read("m.jsonl", tmp_path).rows)]
        assert found == ["1234567890123456789", "1234567890123456792", other]

    def test_in_a_structure_too(self, read, tmp_path):
        (tmp_path / "m.jsonl").write_text(
            '{"user": {"id": 1234567890123456789}}\n{"user": {"id": 1.5}}\n'
        )
        assert own(read("m.jsonl", tmp_path).rows)[0] == {"user.id": "1234567890123456789"}

    @pytest.mark.parametrize("name", ['a"b', "a.b", "a/b~1", "a*", "a\\b", "0", "$", " "])
    def test_whatever_the_column_is_called(self, read, tmp_path, name):
        values = ("12345678901234567890", "1.5")
        lines = "".join(f"{{{json.dumps(name)}: {value}}}\n" for value in values)
        (tmp_path / "m.jsonl").write_text(lines)
        assert read("m.jsonl", tmp_path).rows[name].to_pylist() == list(values)

    def test_numbers_that_a_float_holds_stay_numbers(self, read, tmp_path):
        (tmp_path / "m.jsonl").write_text('{"price": 9007199254740991}\n{"price": 1.5}\n')
        assert own(read("m.jsonl", tmp_path).rows)[1] == {"price": 1.5}


def test_decimals_of_one_file_and_floats_of_another_keep_their_digits():
    long = 12345678901234567892
    decimals = pa.table({"user_id": pa.array([long, None], pa.decimal128(38, 0))})
    floats = pa.table({"user_id": [1.5]})
    found = united([decimals, floats])["user_id"].to_pylist()
    assert found == [str(long), None, "1.5"]
    short = pa.table({"user_id": pa.array([7], pa.decimal128(38, 0))})
    assert united([short, floats])["user_id"].to_pylist() == [7.0, 1.5]


def test_whole_floats_that_become_text_keep_their_digits():
    floats = pa.table({"user_id": [1.0, 1e10, 2.5, -12345678.0, None]})
    found = united([floats, pa.table({"user_id": ["a"]})])["user_id"].to_pylist()
    assert found == ["1", "10000000000", "2.5", "-12345678", None, "a"]
    inexact = pa.table({"user_id": [2.0**60, float("nan"), float("inf")]})
    assert united([inexact, pa.table({"user_id": ["a"]})])["user_id"].to_pylist()[1:] == [
        "nan",
        "inf",
        "a",
    ]
