"""A quote that is not closed costs its own line, and values that span lines stay whole."""

import csv
import gzip
import io

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_dagster.resources.sources import records

STRAY = "a quote in the line is not closed, or closed too early"


def own(data: pa.Table) -> list[tuple]:
    plain = data.drop_columns(["source_file", "source_row", "source_error"])
    return [tuple(row.values()) for row in plain.to_pylist()]


def faults(data: pa.Table) -> dict[int, str]:
    rows = zip(data["source_row"].to_pylist(), data["source_error"].to_pylist(), strict=True)
    return {number: fault for number, fault in rows if fault is not None}


def films(count: int) -> list[str]:
    return [f"{n},TV {n},{n % 5}" for n in range(1, count + 1)]


def read_lines(read, folder, lines, ending="\n", header="id,title,stars"):
    (folder / "i.csv").write_bytes("".join(f"{line}{ending}" for line in [header, *lines]).encode())
    return read("i.csv", folder).rows


class TestAQuoteThatIsNotClosed:
    @pytest.mark.parametrize("place", [1, 2, 150, 299, 300])
    @pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
    def test_costs_its_own_line_wherever_it_is(self, read, tmp_path, place, ending):
        lines = films(300)
        lines[place - 1] = lines[place - 1].replace("TV", '"TV')
        data = read_lines(read, tmp_path, lines, ending)
        assert faults(data) == {place: STRAY}
        sound = [tuple(line.split(",")) for line in films(300)]
        assert own(data) == [*sound[: place - 1], (None,) * 3, *sound[place:]]

    @pytest.mark.parametrize("column", [0, 1, 2])
    def test_also_where_a_stray_quote_far_below_would_close_it(self, read, tmp_path, column):
        lines = films(200)
        cells = lines[49].split(",")
        cells[column] = '"' + cells[column]
        lines[49] = ",".join(cells)
        lines[149] = '150,TV 32",3'
        data = read_lines(read, tmp_path, lines)
        assert faults(data) == {50: STRAY}
        assert data.num_rows == 200
        assert own(data)[149] == ("150", 'TV 32"', "3")

    def test_several(self, read, tmp_path):
        lines = films(5000)
        broken = [3, 4, 1000, 1001, 4999, 5000]
        for place in broken:
            lines[place - 1] = lines[place - 1].replace("TV", '"TV')
        assert faults(read_lines(read, tmp_path, lines)) == dict.fromkeys(broken, STRAY)

    def test_in_a_compressed_file(self, read, tmp_path):
        text = 'id,title\n1,a\n2,"b\n3,c\n4,d\n'
        (tmp_path / "i.csv.gz").write_bytes(gzip.compress(text.encode()))
        data = read("i.csv.gz", tmp_path).rows
        assert own(data) == [("1", "a"), (None, None), ("3", "c"), ("4", "d")]
        assert faults(data) == {2: STRAY}

    @pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16"])
    def test_in_other_encodings(self, read, tmp_path, encoding):
        text = 'id,title\n1,é\n2,"ü\n3,ö\n4,"two\nlines"\n'
        (tmp_path / "i.csv").write_bytes(text.encode(encoding))
        data = read({"path": "i.csv", "encoding": encoding}, tmp_path).rows
        assert own(data) == [("1", "é"), (None, None), ("3", "ö"), ("4", "two\nlines")]

    def test_in_a_file_without_a_header_and_with_a_long_delimiter(self, read, tmp_path):
        (tmp_path / "i.dat").write_text('1::a b\n2::"c\n3::d,e\n4::"f::\ng"\n')
        data = read({"path": "i.dat", "names": ["id", "title"]}, tmp_path).rows
        assert own(data) == [("1", "a b"), (None, None), ("3", "d,e"), ("4", "f::\ng")]
        assert faults(data) == {2: STRAY}

    def test_what_it_leaves_of_a_text_makes_no_rows(self, read, tmp_path):
        lines = ["1,x", '2,"he said "no" to', "this, that", 'and more"', "3,y"]
        data = read_lines(read, tmp_path, lines, header="id,text")
        assert [row for row in own(data) if row[0]] == [("1", "x"), ("3", "y")]
        assert faults(data)[2] == STRAY
        assert list(faults(data)) == [2, 3, 4]

    def test_many_that_are_far_apart_take_no_longer_each(self, read, tmp_path):
        lines = [f'{n},"open' if n % 2 else f'{n},"",' for n in range(1, 60_001)]
        data = read_lines(read, tmp_path, lines, header="id,a")
        assert list(faults(data)) == list(range(1, 60_001, 2))


class TestValuesThatSpanLines:
    @pytest.mark.parametrize("ending", ["\n", "\r\n"])
    @pytest.mark.parametrize(
        "text",
        [
            "one\ntwo",
            "Fine, really.\nNice, thanks",
            "first, of all\n\nsecond, however\nthird, and last\n",
            "\nstarts with a line end, and\nsays so",
            "\n".join(f"paragraph {n}, of many" for n in range(300)),
        ],
    )
    @pytest.mark.parametrize("width", [2, 3])
    def test_stay_one_row(self, read, tmp_path, text, ending, width):
        rows = [(str(n), text.replace("\n", ending), "x")[:width] for n in range(1, 40)]
        with (tmp_path / "i.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator=ending)
            writer.writerows([("id", "text", "kind")[:width], *rows])
        data = read("i.csv", tmp_path).rows
        assert own(data) == rows
        assert faults(data) == {}

    def test_read_beside_them_is_what_is_read_without_them(self, read, tmp_path):
        lines = [
            "1,",
            '2,""',
            '3, "a" ',
            "4, b ",
            "5,c,,",
            '6,d"e',
            '7,"f""g"',
            "8,NULL",
            "  ",
            "9",
        ]
        without = read_lines(read, tmp_path, lines, header="id,text")
        beside = read_lines(read, tmp_path, [*lines, '10,"two\nlines"'], header="id,text")
        assert own(beside)[:-1] == own(without)
        assert faults(beside) == faults(without)

    def test_batches_are_put_together(self, read, tmp_path, monkeypatch):
        monkeypatch.setattr(records, "ROWS_PER_BATCH", 7)
        lines = [f'{n},"{n}\n{n}"' for n in range(50)]
        data = read_lines(read, tmp_path, lines, header="id,text")
        assert own(data) == [(str(n), f"{n}\n{n}") for n in range(50)]

    def test_one_that_is_too_long_is_no_value(self, read, tmp_path):
        lines = ["1,a", '2,"b', *["text"] * 500_000, 'c"', "3,d"]
        data = read_lines(read, tmp_path, lines, header="id,text")
        assert [row for row in own(data) if row[0]] == [("1", "a"), ("3", "d")]
        assert faults(data)[2] == STRAY


PLAIN = ["", "7", "3.5", "plain", "two words"]
QUOTED = ["a, b", 'say "hi"', 'TV 32"', "two\nlines", "\nb", "e\n", ",", '"', '"\n', "a,b,c\nd,e,f"]
QUOTED.append("three\n\nlines, with\ncommas, and more")
VALUES = st.one_of(
    st.sampled_from(PLAIN), st.sampled_from(QUOTED), st.text(alphabet='ab",; \n', max_size=5)
)


def written(row, ending):
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator=ending).writerow(row)
    return line.getvalue()


@settings(max_examples=150)
@given(
    values=st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=8, max_size=14),
    broken=st.tuples(*[st.sampled_from(PLAIN)] * 3),
    width=st.integers(2, 4),
    place=st.integers(0, 13),
    column=st.integers(0, 3),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_a_quote_put_into_a_sound_table_costs_one_row(
    tmp_path_factory, read, values, broken, width, place, column, ending
):
    place, column = place % len(values), column % width
    if column == 0:  # in the very first cells nothing says yet how a first cell looks
        place = max(place, 2)
    # With another quote in the line it could be sound: `"a,",b` are two cells.
    values[place] = broken
    rows = [(f"u{n}", *cells)[:width] for n, cells in enumerate(values)]
    lines = [written(row, ending) for row in rows]
    cells = lines[place].split(",")
    cells[column] = '"' + cells[column]
    lines[place] = ",".join(cells)
    folder = tmp_path_factory.mktemp("table")
    header = written(("id", "a", "b", "c")[:width], ending)
    (folder / "i.csv").write_bytes((header + "".join(lines)).encode())
    data = read("i.csv", folder).rows
    sound = [tuple(cell or None for cell in row) for row in rows]
    assert own(data) == [*sound[:place], (None,) * width, *sound[place + 1 :]]
    assert list(faults(data)) == [place + 1]
