"""Text files as they are found: delimiters, encodings, quotes, and lines that are broken."""

import gzip

import pyarrow as pa
import pytest

from recsys_dagster.errors import UserError
from recsys_dagster.resources.sources.sniffing import sniff

CSV = 'user_id,item_id,rating\n007,a,4.5\nö,"b, c",\n,"say ""hi""",x\n'


def own(data: pa.Table) -> list[dict]:
    return data.drop_columns(["source_file", "source_row", "source_error"]).to_pylist()


def errors(data: pa.Table) -> dict[int, str]:
    rows = zip(data["source_row"].to_pylist(), data["source_error"].to_pylist(), strict=True)
    return {number: error for number, error in rows if error is not None}


class TestDelimited:
    def test_everything_stays_text(self, read, tmp_path):
        (tmp_path / "i.csv").write_text(CSV, encoding="utf-8")
        data = read("i.csv", tmp_path).rows
        assert own(data) == [
            {"user_id": "007", "item_id": "a", "rating": "4.5"},
            {"user_id": "ö", "item_id": "b, c", "rating": None},
            {"user_id": None, "item_id": 'say "hi"', "rating": "x"},
        ]
        assert data["source_row"].to_pylist() == [1, 2, 3]
        assert errors(data) == {}

    def test_tsv(self, read, tmp_path):
        (tmp_path / "i.TSV").write_text("user_id\titem_id\n007\ta, b;c|d\n8\tc\n")
        assert own(read("i.TSV", tmp_path).rows) == [
            {"user_id": "007", "item_id": "a, b;c|d"},
            {"user_id": "8", "item_id": "c"},
        ]

    @pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
    def test_the_header_says_which_delimiter_it_is(self, read, tmp_path, delimiter):
        lines = [["user_id", "item_id", "title"], ["1", "a", "x"], ["2", "b", ""]]
        text = "".join(delimiter.join(line) + "\n" for line in lines)
        (tmp_path / "i.csv").write_text(text)
        assert own(read("i.csv", tmp_path).rows) == [
            {"user_id": "1", "item_id": "a", "title": "x"},
            {"user_id": "2", "item_id": "b", "title": None},
        ]

    @pytest.mark.parametrize("delimiter", ["^", " ", "'", ":"])
    def test_any_other_delimiter_is_named(self, read, tmp_path, delimiter):
        (tmp_path / "i.csv").write_text(f"user_id{delimiter}item_id\n1{delimiter}a,b\n")
        named = {"path": "i.csv", "delimiter": delimiter}
        assert own(read(named, tmp_path).rows) == [{"user_id": "1", "item_id": "a,b"}]

    @pytest.mark.parametrize("ending", ["\n", "\r\n"])
    @pytest.mark.parametrize("last", ["", "\n"])
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    def test_line_ends_and_a_byte_order_mark_are_no_data(self, read, tmp_path, ending, last, mark):
        text = mark + "user_id,item_id\n1,a\n2,b" + last
        (tmp_path / "i.csv").write_bytes(text.replace("\n", ending).encode())
        data = read("i.csv", tmp_path).rows
        assert own(data) == [{"user_id": "1", "item_id": "a"}, {"user_id": "2", "item_id": "b"}]
        assert errors(data) == {}

    def test_quoted_line_ends_and_delimiters_are_data(self, read, tmp_path):
        (tmp_path / "i.csv").write_bytes(
            b'"item_id","ti,tle"\r\n"a","one\r\ntwo"\r\n"b","x,""y"""\r\n"c",""\r\n'
        )
        data = read("i.csv", tmp_path).rows
        titles = [(row["item_id"], row["ti,tle"]) for row in own(data)]
        assert titles[:2] == [("a", "one\r\ntwo"), ("b", 'x,"y"')]
        assert titles[2][0] == "c"
        assert data["source_row"].to_pylist() == [1, 2, 3]

    @pytest.mark.parametrize("name", ["i.csv.gz", "i.CSV.GZ", "i.tsv.gz"])
    def test_compressed(self, read, tmp_path, name):
        text = CSV.replace(",", "\t") if "tsv" in name else CSV
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
        assert read(name, tmp_path).rows["user_id"].to_pylist() == ["007", "ö", None]

    @pytest.mark.parametrize(
        ("encoding", "text"), [("latin-1", "ñ"), ("utf-16", "ñ"), ("utf-16", "😀")]
    )
    def test_encodings(self, read, tmp_path, encoding, text):
        (tmp_path / "i.csv").write_bytes(f"größe;título\nä;{text}\n".encode(encoding))
        named = {"path": "i.csv", "encoding": encoding}
        data = read(named, tmp_path).rows
        assert own(data) == [{"größe": "ä", "título": text}]
        assert errors(data) == {}

    def test_line_ends_of_two_systems_in_one_file(self, read, tmp_path):
        (tmp_path / "i.csv").write_bytes(b"user_id,item_id\n1,a\n2,b\r\n3,c\r\n4,d\n")
        data = read("i.csv", tmp_path).rows
        assert data["item_id"].to_pylist() == ["a", "b", "c", "d"]

    def test_one_text_column_and_a_header_like_the_data(self, read, tmp_path):
        (tmp_path / "i.csv").write_text("item_id\na\nb\n")
        assert read("i.csv", tmp_path).rows["item_id"].to_pylist() == ["a", "b"]

    def test_a_header_alone_is_an_empty_table(self, read, tmp_path):
        (tmp_path / "i.csv").write_text("user_id,item_id\n")
        data = read("i.csv", tmp_path).rows
        assert data.num_rows == 0
        assert data.column_names[3:] == ["user_id", "item_id"]

    def test_a_column_without_a_name_gets_its_place_for_one(self, read, tmp_path):
        (tmp_path / "i.csv").write_text(",item_id, title \n0,a,x\n")
        assert own(read("i.csv", tmp_path).rows) == [{"column1": "0", "item_id": "a", "title": "x"}]

    def test_rows_keep_the_order_of_the_file(self, read, tmp_path):
        lines = [f"{i},{i % 7}" for i in range(300_000)]
        (tmp_path / "i.csv").write_text("item_id,x\n" + "\n".join(lines) + "\n")
        data = read("i.csv", tmp_path).rows
        assert data["source_row"].to_pylist() == list(range(1, 300_001))
        assert data["item_id"].to_pylist() == [str(i) for i in range(300_000)]

    @pytest.mark.parametrize("ending", ["dat", "txt", "data", "tab", "psv", "csv.gz", "txt.gz"])
    def test_text_under_any_of_its_names(self, read, tmp_path, ending):
        delimiter = {"tab": "\t", "psv": "|"}.get(ending, "::")
        text = f"user_id{delimiter}item_id\n1{delimiter}a, b;c\n"
        packed = gzip.compress(text.encode()) if ending.endswith("gz") else text.encode()
        (tmp_path / f"i.{ending}").write_bytes(packed)
        assert own(read(f"i.{ending}", tmp_path).rows) == [{"user_id": "1", "item_id": "a, b;c"}]

    @pytest.mark.parametrize("name", ["u.item", "ratings", "u.user.gz"])
    def test_a_file_of_any_name_where_its_delimiter_is_given(self, read, tmp_path, name):
        text = b"item_id|title\n1|Toy Story\n"
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
        named = {"path": name, "delimiter": "|"}
        assert own(read(named, tmp_path).rows) == [{"item_id": "1", "title": "Toy Story"}]
        with pytest.raises(UserError, match=r"cannot be read.*path: …, delimiter: \"\|\""):
            read(name, tmp_path)

    def test_a_delimiter_that_is_given_goes_before_that_of_the_name(self, read, tmp_path):
        (tmp_path / "i.tsv").write_text("user_id;item_id\n1;a\n")
        named = {"path": "i.tsv", "delimiter": ";"}
        assert own(read(named, tmp_path).rows) == [{"user_id": "1", "item_id": "a"}]

    def test_where_the_header_has_several_delimiters_the_lines_decide(self, read, tmp_path):
        (tmp_path / "i.csv").write_text("name, first|year, of birth\na|1\nb|2\n")
        assert own(read("i.csv", tmp_path).rows)[0] == {"name, first": "a", "year, of birth": "1"}

    def test_line_ends_of_an_old_mac(self, read, tmp_path):
        (tmp_path / "i.csv").write_bytes(b'item_id,text\ra,"one\ntwo"\rb,c\r')
        rows = own(read("i.csv", tmp_path).rows)
        assert rows == [{"item_id": "a", "text": "one\ntwo"}, {"item_id": "b", "text": "c"}]

    def test_carriage_returns_within_lines_are_data(self, read, tmp_path):
        (tmp_path / "i.csv").write_bytes(b"item_id,text\na,b\rc\nd,e\n")
        assert [row["text"] for row in own(read("i.csv", tmp_path).rows)] == ["b\rc", "e"]


class TestEncodings:
    @pytest.mark.parametrize(
        ("encoding", "title"),
        [
            ("cp1252", "Das Boot – 5 €"),
            ("gb18030", "霸王别姬𠮷"),
            ("shift_jis", "ソ連"),
            ("windows-1251", "Брат"),
            ("utf-16-le", "Amélie"),
            ("utf-32", "Amélie"),
            ("utf-8-sig", "Amélie"),
        ],
    )
    def test_any_that_python_knows(self, read, tmp_path, encoding, title):
        (tmp_path / "i.csv").write_bytes(f"item_id,title\r\n1,{title}\r\n".encode(encoding))
        data = read({"path": "i.csv", "encoding": encoding}, tmp_path).rows
        assert own(data) == [{"item_id": "1", "title": title}]

    @pytest.mark.parametrize("said", ["utf-8", "cp1252"])
    @pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
    def test_a_byte_order_mark_says_it_better(self, read, tmp_path, encoding, said):
        (tmp_path / "i.csv").write_bytes("item_id,title\n1,Amélie\n".encode(encoding))
        data = read({"path": "i.csv", "encoding": said}, tmp_path).rows
        assert own(data) == [{"item_id": "1", "title": "Amélie"}]

    def test_a_line_that_is_not_in_it_is_one_row(self, read, tmp_path):
        (tmp_path / "i.csv").write_bytes(b"item_id,title\n1,\xe4\n2,\x81\n3,\x80\n")
        data = read({"path": "i.csv", "encoding": "cp1252"}, tmp_path).rows
        assert data["title"].to_pylist() == ["ä", None, "€"]
        assert errors(data) == {2: "the line is not cp1252: see encoding under source"}

    def test_utf_16_that_is_cut_off(self, read, tmp_path):
        text = "item_id,title\n1,a\n2,b".encode("utf-16")
        (tmp_path / "i.csv").write_bytes(text[:-1])
        data = read("i.csv", tmp_path).rows
        assert data["title"].to_pylist() == ["a", None]
        assert list(errors(data)) == [2]


class TestFilesWithoutAHeader:
    def test_names_make_the_first_line_a_row(self, read, tmp_path):
        (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n2::661::3::978302109\n")
        named = {"path": "ratings.dat", "names": ["user", "film", "stars", "at"]}
        data = read(named, tmp_path).rows
        assert own(data)[0] == {"user": "1", "film": "1193", "stars": "5", "at": "978300760"}
        assert data["source_row"].to_pylist() == [1, 2]

    def test_broken_lines_are_numbered_from_the_first(self, read, tmp_path):
        (tmp_path / "i.csv").write_text("1\n2,a\n3,b,c\n4,d\n")
        data = read({"path": "i.csv", "names": ["item", "title"]}, tmp_path).rows
        assert data["item"].to_pylist() == [None, "2", None, "4"]
        assert list(errors(data)) == [1, 3]

    def test_names_of_another_number(self, read, tmp_path):
        (tmp_path / "u.item").write_text("1|Toy Story|1995\n")
        named = {"path": "u.item", "delimiter": "|", "names": ["item", "title"]}
        with pytest.raises(UserError, match=r"names has 2 names, and the first line has 3 columns"):
            read(named, tmp_path)

    @pytest.mark.parametrize(
        "line",
        ["1,Heat,5", "u1,Heat,4.5", "u1,Heat,2024-01-31", "u1,Heat,-1", "u1,Heat,12.05.2024"],
    )
    def test_a_row_is_not_taken_for_names(self, read, tmp_path, line):
        (tmp_path / "i.csv").write_text(f"{line}\n{line}\n")
        with pytest.raises(
            UserError, match=r"no header.*names: \[column1, column2, column3\]"
        ) as e:
            read("i.csv", tmp_path)
        assert "Heat" not in str(e.value)


class TestSniffing:
    @pytest.mark.parametrize(
        ("text", "encoding"),
        [
            ("item;preis\nStraße;5 €\n", "cp1252"),
            ("item,title\n1,café\n", "cp1252"),
            ("item,title\n1,Les Misérables\n2,Æon Flux\n3,Sigur Rós\n", "cp1252"),
            ("item,title\n1,Director’s “cut” – naïve\n", "cp1252"),
            ("item,title\n1,Łódź\n2,Příliš žluťoučký kůň\n", "cp1250"),
            ("item,title\n1,Брат\n2,Москва слезам не верит\n", "cp1251"),
            ("item,title\n1,Москва слезам не верит\n", "koi8-r"),
            ("item,title\n1,功夫\n2,霸王别姬\n", "gb18030"),
            ("item,title\n1,千と千尋の神隠し\n", "cp932"),
            ("item,title\n1,기생충\n2,올드보이\n", "cp949"),
            ("item,title\n1,臥虎藏龍\n2,悲情城市\n", "big5"),
            ("item,title\n1,Ζορμπάς\n", "cp1253"),
            ("item,title\n1,Kış Uykusu\n", "cp1254"),
            ("item,title\n1,plain\n", "utf-8"),
            ("item,title\n1,ö\n", "utf-8"),
            ("item,title\n1,ö\n", "utf-16"),
            ("item,title\n1,ö\n", "utf-16-le"),
        ],
    )
    def test_encodings_of_short_files(self, tmp_path, text, encoding):
        (tmp_path / "i.csv").write_bytes(text.encode(encoding))
        assert sniff(tmp_path / "i.csv").encoding == encoding

    def test_a_broken_line_of_a_file_in_utf_8_does_not_change_what_it_is(self, tmp_path):
        (tmp_path / "i.csv").write_bytes("item\nä\nö\nü\n".encode() + b"\xe4\n")
        assert sniff(tmp_path / "i.csv").encoding == "utf-8"

    @pytest.mark.parametrize(
        ("name", "text", "delimiter", "has_header"),
        [
            ("r.dat", "1::1193::5::978300760\n", "::", False),
            ("m.dat", "1::Toy Story (1995)::Animation|Children's|Comedy\n", "::", False),
            ("u.data", "196\t242\t3\t881250949\n", "\t", False),
            ("u.item", "1|Toy Story (1995)|01-Jan-1995||http://x/?a,b|0|0\n", "|", False),
            ("i.csv", "item;title\n1;a, b\n", ";", True),
            ("i.tsv", "item, or so\ttitle, of it, here\n", "\t", True),
            ("i.csv", "item\na\n", ",", True),
            ("i.csv", "", ",", True),
        ],
    )
    def test_delimiter_and_header(self, tmp_path, name, text, delimiter, has_header):
        (tmp_path / name).write_text(text)
        assert sniff(tmp_path / name)[1:] == (delimiter, has_header)


class TestHeaders:
    @pytest.mark.parametrize(
        ("content", "source", "message"),
        [
            (b"", {}, "the file is empty: expected a line with the column names"),
            (b"\n", {}, "the file is empty"),
            (b"\xef\xbb\xbf", {}, "the file is empty"),
            (b"a,b,a\n1,2,3\n", {}, "the header names 'a' more than once"),
            (b"gr\xf6\xdfe,b\n1,2\n", {}, "the first line is not utf-8.*encoding: cp1252"),
            ("a,b\n1,2\n".encode("utf-16-le"), {}, "the first line is not text in utf-8"),
            (b"a,b\n1,2\n", {"encoding": "utf-16"}, "the first line is not utf-16"),
            (b"ID,x,id\n1,2,3\n", {}, "the header .*('ID'.*'id'|'id'.*'ID')"),
        ],
    )
    def test_faults(self, read, tmp_path, content, source, message):
        (tmp_path / "i.csv").write_bytes(content)
        with pytest.raises(UserError, match=rf"i\.csv: {message}"):
            read({"path": "i.csv"} | source, tmp_path)

    @pytest.mark.parametrize(
        ("content", "advice"),
        [
            (gzip.compress(b"a,b\n1,2\n", mtime=0), r"packed by gzip: let its name end in \.gz"),
            (
                b"PK\x03\x04\x14\x00\x06\x00\x08",
                "a spreadsheet or a zip file: save the sheet as CSV",
            ),
            (b"PAR1\x15\x04\x15\x80\x00", r"Parquet: let its name end in \.parquet"),
            (b"SQLite format 3\x00\x10", "a database: name it by source: {database: …"),
        ],
        ids=["gzip", "spreadsheet", "parquet", "sqlite"],
    )
    @pytest.mark.parametrize("encoding", ["utf-8", "cp1250"])
    def test_a_file_of_another_kind_is_not_taken_for_another_encoding(
        self, read, tmp_path, content, advice, encoding
    ):
        (tmp_path / "i.csv").write_bytes(content)
        with pytest.raises(UserError, match=rf"i\.csv: the file is no text.*it is {advice}"):
            read({"path": "i.csv", "encoding": encoding}, tmp_path)

    @pytest.mark.parametrize(
        "content",
        [b"a,b\n1,2\n", gzip.compress(b"a,b\n1,2\n" * 99)[:30]],
        ids=["not compressed", "cut short"],  # bytes of a gzip hold the time: no name of a test
    )
    def test_what_is_not_compressed_or_cut_short(self, read, tmp_path, content):
        (tmp_path / "i.csv.gz").write_bytes(content)
        with pytest.raises(UserError, match=r"i\.csv\.gz"):
            read("i.csv.gz", tmp_path)


class TestBrokenLines:
    def test_they_become_rows_that_say_why_and_all_others_stay(self, read, tmp_path):
        (tmp_path / "i.csv").write_text('user_id,item_id\n1,a\n2\n3,c,extra\n4,d\n5,"e" x\n6,f\n')
        data = read("i.csv", tmp_path).rows
        assert data["source_row"].to_pylist() == [1, 2, 3, 4, 5, 6]
        assert data["user_id"].to_pylist() == ["1", None, None, "4", None, "6"]
        assert data["item_id"].to_pylist() == ["a", None, None, "d", None, "f"]
        assert errors(data) == {
            2: "the line has fewer columns than the header",
            3: "the line has more columns than the header",
            5: "a quote in the line is not closed, or closed too early",
        }

    def test_a_line_in_another_encoding(self, read, tmp_path):
        (tmp_path / "i.csv").write_bytes(b"user_id,item_id\n1,a\n2,\xff\n3,c\n")
        data = read("i.csv", tmp_path).rows
        assert data["item_id"].to_pylist() == ["a", None, "c"]
        assert errors(data) == {2: "the line is not utf-8: see encoding under source"}

    def test_a_quote_that_is_never_closed(self, read, tmp_path):
        (tmp_path / "i.csv").write_text('user_id,item_id\n1,a\n2,"b\n3,c\n')
        data = read("i.csv", tmp_path).rows
        assert own(data)[0] == {"user_id": "1", "item_id": "a"}
        assert list(errors(data)) == [2]

    def test_the_first_and_the_last_line(self, read, tmp_path):
        (tmp_path / "i.csv").write_text("user_id,item_id\n1\n2,b\n3,c\n4,d,e")
        data = read("i.csv", tmp_path).rows
        assert data["item_id"].to_pylist() == [None, "b", "c", None]
        assert list(errors(data)) == [1, 4]

    def test_nothing_but_broken_lines(self, read, tmp_path):
        (tmp_path / "i.csv").write_text("user_id,item_id\n1\n2\n")
        data = read("i.csv", tmp_path).rows
        assert data["source_row"].to_pylist() == [1, 2]
        assert list(errors(data)) == [1, 2]

    def test_many_among_many(self, read, tmp_path):
        lines = ["x" if n % 10 == 0 else f"{n},{n}" for n in range(1, 50_001)]
        (tmp_path / "i.csv").write_text("user_id,item_id\n" + "\n".join(lines) + "\n")
        data = read("i.csv", tmp_path).rows
        assert data["source_row"].to_pylist() == list(range(1, 50_001))
        assert list(errors(data)) == list(range(10, 50_001, 10))
        assert data["item_id"].to_pylist() == [
            None if n % 10 == 0 else str(n) for n in range(1, 50_001)
        ]

    def test_after_a_quoted_line_end_rows_are_still_numbered_one_by_one(self, read, tmp_path):
        (tmp_path / "i.csv").write_text('user_id,item_id\n1,"a\nb"\n2\n3,c\n')
        data = read("i.csv", tmp_path).rows
        assert data["source_row"].to_pylist() == [1, 2, 3]
        assert data["item_id"].to_pylist() == ["a\nb", None, "c"]
        assert list(errors(data)) == [2]

    def test_blank_lines_do_not_move_it_among_its_neighbours(self, read, tmp_path):
        (tmp_path / "i.csv").write_text("user_id,item_id\n1,a\n\n2,b\n3\n4,d\n\n5,e\n")
        data = read("i.csv", tmp_path).rows
        assert data["item_id"].to_pylist() == ["a", "b", None, "d", "e"]
        numbers = data["source_row"].to_pylist()
        assert numbers == sorted(set(numbers))

    def test_what_was_in_them_is_told_nowhere(self, read, tmp_path):
        rows = "".join(f"user-zq-{n},a\n" for n in range(50))
        text = f"user_id,item_id\n{rows}user-zq-50\nuser-zq-51,x,y\n"
        (tmp_path / "i.csv").write_bytes(text.encode() + b"user-zq-52,\xff\n")
        data = read("i.csv", tmp_path).rows
        assert list(errors(data)) == [51, 52, 53]
        assert "user-zq" not in " ".join(errors(data).values())
