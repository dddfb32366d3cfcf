"""Files are read once: only what is new or changed is opened again, and nothing is told apart."""

import datetime as dt
import os
from decimal import Decimal
from itertools import count

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources import files
from recsys_dagster.resources.warehouse import StoredTable, Warehouse
from recsys_dagster.schemas import RAW_ITEMS

CLOCK = count(1_700_000_000)
"""File systems tell times apart by milliseconds; tests write faster than that."""


def write(file, *items, header="item_id"):
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in (header, *items)))
    touch(file)


def touch(file):
    now = next(CLOCK)
    os.utime(file, (now, now))


def found(data):
    rows = zip(data["source_file"].to_pylist(), data["item_id"].to_pylist(), strict=True)
    return [f"{file}: {item}" for file, item in rows]


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that were read into rows, as they are read."""
    names = []
    original = files.read_file

    def noted(path, file, settings):
        names.append(file)
        return original(path, file, settings)

    monkeypatch.setattr(files, "read_file", noted)
    return names


@pytest.fixture
def parts(tmp_path):
    write(tmp_path / "parts/1.csv", "a", "b")
    write(tmp_path / "parts/2.csv", "c")
    return tmp_path / "parts"


class TestWhatIsRead:
    def test_everything_the_first_time_and_nothing_the_second(self, read, parts, opened):
        first = read("parts", parts.parent)
        assert first.rows_read == first.rows.num_rows == 3
        assert opened == ["1.csv", "2.csv"]
        again = read("parts", parts.parent, previous=first.rows)
        assert again.rows_read == 0
        assert opened == ["1.csv", "2.csv"]
        assert again.rows.equals(first.rows, check_metadata=True)
        assert again.fingerprint == first.fingerprint

    def test_a_new_file_alone(self, read, parts, opened):
        first = read("parts", parts.parent)
        write(parts / "0.csv", "z")
        opened.clear()
        again = read("parts", parts.parent, previous=first.rows)
        assert opened == ["0.csv"]
        assert again.rows_read == 1
        assert found(again.rows) == ["0.csv: z", "1.csv: a", "1.csv: b", "2.csv: c"]
        assert again.fingerprint != first.fingerprint

    def test_a_changed_file_alone(self, read, parts, opened):
        first = read("parts", parts.parent)
        write(parts / "2.csv", "d")
        opened.clear()
        again = read("parts", parts.parent, previous=first.rows)
        assert opened == ["2.csv"]
        assert again.rows_read == 1
        assert found(again.rows) == ["1.csv: a", "1.csv: b", "2.csv: d"]
        assert again.fingerprint != first.fingerprint

    def test_a_file_that_was_only_touched_is_known(self, read, parts, opened, monkeypatch):
        first = read("parts", parts.parent)
        opened.clear()
        touch(parts / "1.csv")
        again = read("parts", parts.parent, previous=first.rows)
        assert (opened, again.rows_read) == ([], 0)
        assert again.fingerprint == first.fingerprint
        # The new time is comment: the next read does not look into the file at all.
        monkeypatch.delattr(files, "sha256")
        assert read("parts", parts.parent, previous=again.rows).rows_read == 0

    def test_the_rows_of_a_removed_file_vanish(self, read, parts):
        first = read("parts", parts.parent)
        (parts / "1.csv").unlink()
        again = read("parts", parts.parent, previous=first.rows)
        assert found(again.rows) == ["2.csv: c"]
        assert again.rows_read == 0
        assert again.fingerprint != first.fingerprint

    def test_a_renamed_file_is_a_new_one(self, read, parts):
        first = read("parts", parts.parent)
        (parts / "1.csv").rename(parts / "3.csv")
        again = read("parts", parts.parent, previous=first.rows)
        assert found(again.rows) == ["2.csv: c", "3.csv: a", "3.csv: b"]
        assert again.rows_read == 2

    @pytest.mark.parametrize("change", [{"delimiter": "|"}, {"encoding": "latin-1"}])
    def test_another_delimiter_or_encoding_reads_everything(self, read, parts, change):
        first = read("parts", parts.parent)
        again = read({"path": "parts"} | change, parts.parent, previous=first.rows)
        assert again.rows_read == 3
        assert again.fingerprint != first.fingerprint

    def test_rows_that_an_earlier_reader_made_are_read_again(self, read, parts, monkeypatch):
        with monkeypatch.context() as earlier:
            earlier.setattr(files, "READER", "1")
            first = read("parts", parts.parent)
        again = read("parts", parts.parent, previous=first.rows)
        assert again.rows_read == 3

    def test_names_make_the_first_line_a_row(self, read, parts):
        first = read("parts", parts.parent)
        named = {"path": "parts", "names": ["item_id"]}
        again = read(named, parts.parent, previous=first.rows)
        assert again.rows_read == 5

    def test_rows_of_another_kind_of_source_are_no_memory(self, read, parts):
        query = read({"sql": "select 7 as item_id", "watermark": "item_id"}, parts.parent)
        again = read("parts", parts.parent, previous=query.rows)
        assert again.rows_read == 3
        assert found(again.rows) == ["1.csv: a", "1.csv: b", "2.csv: c"]

    def test_a_broken_line_stays_where_it_was(self, read, parts):
        write(parts / "1.csv", "a,1", "b", "c,3", header="item_id,x")
        first = read("parts", parts.parent)
        write(parts / "2.csv", "new")
        again = read("parts", parts.parent, previous=first.rows)
        assert again.rows_read == 1
        of_first = again.rows.filter(pa.compute.field("source_file") == "1.csv")
        assert of_first["source_error"].to_pylist() == [
            None,
            "the line has fewer columns than the header",
            None,
        ]

    def test_an_empty_part_adds_its_columns(self, read, parts):
        write(parts / "3.csv", header="item_id,year")
        first = read("parts", parts.parent)
        assert first.rows.column_names[3:] == ["item_id", "year"]
        again = read("parts", parts.parent, previous=first.rows)
        assert again.rows.equals(first.rows)
        assert again.rows_read == 0


class TestWhatIsTakenFromTheWarehouse:
    @pytest.fixture
    def taken(self, monkeypatch):
        """How often rows were read of what the last read left."""
        calls, arrow = [], StoredTable.arrow
        monkeypatch.setattr(
            StoredTable, "arrow", lambda own, *which: calls.append(which) or arrow(own, *which)
        )
        return calls

    def test_nothing_before_rows_are_asked_for(self, read, stored, parts, taken):
        first = read("parts", parts.parent)
        touch(parts / "1.csv")
        again = read("parts", parts.parent, previous=stored(first.rows))
        assert again.fingerprint == first.fingerprint
        assert not taken
        assert again.rows.equals(first.rows)
        assert len(taken) == 1

    def test_nothing_where_no_file_is_as_it_was(self, read, stored, parts, taken):
        first = read("parts", parts.parent)
        write(parts / "1.csv", "A")
        write(parts / "2.csv", "C")
        again = read("parts", parts.parent, previous=stored(first.rows))
        assert found(again.rows) == ["1.csv: A", "2.csv: C"]
        assert not taken

    def test_two_spellings_of_a_column_are_refused_before_that(self, read, stored, parts, taken):
        first = read("parts", parts.parent)
        write(parts / "3.csv", "d", header="ITEM_ID")
        with pytest.raises(UserError, match="which only case tells apart"):
            read("parts", parts.parent, previous=stored(first.rows))
        assert not taken


class TestFingerprints:
    def test_equal_content_has_an_equal_one_wherever_and_whenever(self, read, tmp_path):
        for place in ("one", "other"):
            write(tmp_path / place / "i.csv", "a", "b")
        one, other = (read("i.csv", tmp_path / place) for place in ("one", "other"))
        assert one.fingerprint == other.fingerprint
        assert one.fingerprint == read("i.csv", tmp_path / "one", previous=one.rows).fingerprint

    def test_other_content_or_another_name_has_another(self, read, tmp_path):
        write(tmp_path / "i.csv", "a")
        write(tmp_path / "j.csv", "b")
        write(tmp_path / "k.csv", "a")
        prints = {read(name, tmp_path).fingerprint for name in ("i.csv", "j.csv", "k.csv")}
        assert len(prints) == 3


class TestWhileItIsRead:
    @pytest.fixture
    def growing(self, monkeypatch):
        """Somebody appends to each file while it is read."""
        original = files.read_file

        def read_slowly(path, file, settings):
            data = original(path, file, settings)
            with path.open("a") as stream:
                stream.write("later\n")
            return data

        monkeypatch.setattr(files, "read_file", read_slowly)

    @pytest.mark.usefixtures("growing")
    def test_a_file_that_grows_is_refused(self, read, parts):
        with pytest.raises(UserError, match=r"1\.csv: the file changed while it was read"):
            read("parts", parts.parent)

    def test_a_file_that_vanishes_is_refused(self, read, parts, monkeypatch):
        original = files.read_file

        def read_and_lose(path, file, settings):
            data = original(path, file, settings)
            path.unlink()
            return data

        monkeypatch.setattr(files, "read_file", read_and_lose)
        with pytest.raises(UserError, match=r"1\.csv: the file vanished"):
            read("parts", parts.parent)


# Incremental equals full

VALUES = {
    "int": st.integers(-5, 5),
    "float": st.sampled_from([0.5, 1.0, 1e20, -2.25]),
    "bool": st.booleans(),
    "text": st.sampled_from(["", "7", "007", "ä", "1e3", "true", "a,b"]),
    "date": st.sampled_from([dt.date(2024, 1, 1), dt.date(1999, 12, 31)]),
    "time": st.just(dt.datetime(2024, 1, 1, 2, 3, 4, 5)),
    "list": st.lists(st.integers(0, 3), max_size=2),
    "struct": st.fixed_dictionaries({"n": st.integers(0, 3)}),
}
TYPES = {
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "text": pa.string(),
    "date": pa.date32(),
    "time": pa.timestamp("us"),
    "list": pa.list_(pa.int64()),
    "struct": pa.struct([("n", pa.int64())]),
}


class TestInteractionsThatAServerWasTold:
    @pytest.mark.parametrize(
        ("type_", "own", "told", "expected"),
        [
            (pa.int64(), 1, "2", 2),
            (pa.uint8(), 1, "2", 2),
            (pa.float64(), 1.5, "10000000000.0", 1e10),
            (pa.float32(), 1.5, "0.10000000149011612", pytest.approx(0.1)),
            (pa.decimal128(10, 2), Decimal("1.50"), "4.1", Decimal("4.10")),
            (pa.decimal128(18, 0), Decimal(1), "7", Decimal(7)),
            (
                pa.timestamp("us"),
                dt.datetime(2024, 1, 1),
                '"2026-01-01 00:00:00.250"',
                dt.datetime(2026, 1, 1, 0, 0, 0, 250_000),
            ),
            (pa.date32(), dt.date(2024, 1, 1), '"2026-01-01"', dt.date(2026, 1, 1)),
            # Files of before ids were written as numbers.
            (pa.float64(), 1.5, '"10000000000"', 1e10),
        ],
    )
    def test_they_have_the_types_of_the_source_and_are_read_once(
        self, read, tmp_path, opened, type_, own, told, expected
    ):
        (tmp_path / "parts").mkdir()
        pq.write_table(pa.table({"item_id": pa.array([own], type_)}), tmp_path / "parts/a.parquet")
        first = read("parts", tmp_path)
        file = tmp_path / "parts/live-1.jsonl"
        file.write_text(f'{{"item_id":{told}}}\n')
        touch(file)
        opened.clear()
        second = read("parts", tmp_path, previous=first.rows)
        assert second.rows["item_id"].type == type_
        assert second.rows["item_id"].to_pylist() == [own, expected]
        third = read("parts", tmp_path, previous=second.rows)
        assert (second.rows_read, third.rows_read) == (1, 0)
        assert opened == ["live-1.jsonl"]

    def test_times_with_a_zone_are_of_utc(self, read, tmp_path):
        (tmp_path / "parts").mkdir()
        at = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
        table = pa.table({"item_id": pa.array([at], pa.timestamp("us", "UTC"))})
        pq.write_table(table, tmp_path / "parts/a.parquet")
        (tmp_path / "parts/live-1.jsonl").write_text('{"item_id":"2026-01-01 00:00:00.000"}\n')
        assert read("parts", tmp_path).rows["item_id"].to_pylist()[1] == at.replace(year=2026)

    @pytest.mark.parametrize(
        ("type_", "own", "told", "expected"),
        [
            (pa.int64(), 1, '"007"', ["1", "007"]),
            (pa.int64(), 1, "2.5", [1.0, 2.5]),
            (pa.uint8(), 1, "300", [1, 300]),
            (pa.decimal128(10, 2), Decimal("1.50"), "1.005", [1.5, 1.005]),
            (pa.timestamp("us"), dt.datetime(2024, 1, 1), "7", ["2024-01-01 00:00:00.000000", "7"]),
        ],
    )
    def test_a_value_that_does_not_fit_stays_what_it_is(
        self, read, tmp_path, type_, own, told, expected
    ):
        (tmp_path / "parts").mkdir()
        pq.write_table(pa.table({"item_id": pa.array([own], type_)}), tmp_path / "parts/a.parquet")
        (tmp_path / "parts/live-1.jsonl").write_text(f'{{"item_id":{told}}}\n')
        assert read("parts", tmp_path).rows["item_id"].to_pylist() == expected


@st.composite
def tables(draw):
    """A few rows of one to three columns, the types of which clash with those of other parts."""
    names = draw(st.lists(st.sampled_from(["a", "b", "c d"]), min_size=1, max_size=3, unique=True))
    rows = draw(st.integers(0, 3))
    columns = {}
    for name in names:
        kind = draw(st.sampled_from(list(VALUES)))
        cells = st.one_of(st.none(), VALUES[kind])
        columns[name] = pa.array(
            draw(st.lists(cells, min_size=rows, max_size=rows)), type=TYPES[kind]
        )
    return pa.table(columns)


steps = st.lists(
    st.tuples(
        st.sampled_from(["1.csv", "2.csv", "1.parquet", "2.parquet"]),
        st.one_of(st.just("touch"), st.just("remove"), tables(), tables()),
    ),
    min_size=2,
    max_size=4,
)


def apply(folder, name, change):
    file = folder / name
    if isinstance(change, pa.Table):
        if file.suffix == ".csv":
            text = change.to_pandas().to_csv(index=False)
            file.write_text(text)
        else:
            pq.write_table(change, file)
        touch(file)
    elif file.exists() and change == "touch":
        touch(file)
    elif file.exists():
        file.unlink()


@settings(max_examples=8)
@given(steps)
def test_incremental_equals_full(tmp_path_factory, read, changes):
    root = tmp_path_factory.mktemp("incremental")
    warehouse = Warehouse(folder=str(root / "warehouse"))
    folder = root / "parts"
    folder.mkdir()
    apply(folder, "0.parquet", pa.table({"a": [1, 2], "b": ["x", None]}))
    for name, change in [("0.parquet", "touch"), *changes]:
        apply(folder, name, change)
        has_previous = warehouse.has("shop", "raw_items")
        previous = warehouse.stored("shop", "raw_items") if has_previous else None
        kept, full = read("parts", root, previous=previous), read("parts", root)
        assert kept.rows.schema.equals(full.rows.schema)
        assert kept.rows.to_pylist() == full.rows.to_pylist()
        assert kept.fingerprint == full.fingerprint
        assert kept.rows_read <= full.rows_read == full.rows.num_rows
        warehouse.replace("shop", RAW_ITEMS, kept.rows)
    stored = warehouse.read("shop", "raw_items")
    assert stored.to_pylist() == full.rows.to_pylist()
    assert read("parts", root, previous=stored).rows.to_pylist() == full.rows.to_pylist()
