"""Files on object storage are read as files of this machine are, and as seldom."""

import gzip
import io
import os
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from recsys_dagster import objects
from recsys_dagster.catalog.source import Source
from recsys_dagster.errors import UserError
from recsys_dagster.home import downloads_folder
from recsys_dagster.resources.sources import files, read_source
from recsys_dagster.resources.sources.watching import observe_source

pytestmark = pytest.mark.objects

WRITTEN = TypeAdapter(Source)
LATIN = "item_id;title\n1;Amélie\n2;Ça\n".encode("latin-1")
BROKEN = 'item_id,title\n1,"a value\nof two lines"\n2,"never closed\n3,c\n4,d,too many\n'


class RefusedError(Exception):
    response: ClassVar = {"Error": {"Code": "InvalidAccessKeyId"}}


@dataclass(frozen=True)
class Answer:
    """What a server says to everything; of a hundred bytes it sends ten."""

    status: int
    headers: dict[str, str]


@contextmanager
def answering(answer):
    """The address of a server that is no object storage, or a bad one."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "100")
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(b"0123456789")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def read(source, previous=None, folder=Path()):
    return read_source(WRITTEN.validate_python(source), folder, previous)


def parquet(**columns) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "settings"),
    [
        ("a.csv", BROKEN.encode(), {}),
        ("a.csv.gz", gzip.compress(BROKEN.encode()), {}),
        ("a.tsv", b"item_id\ttitle\n007\ta\n", {}),
        ("a.csv", LATIN, {"encoding": "latin-1"}),
        ("a.txt", b"1::x\n2::y\n", {"names": ["item_id", "title"], "delimiter": "::"}),
        ("a.csv", "item_id,title\n1,a\n".encode("utf-16"), {}),
        ("a.jsonl", b'{"item_id": 1, "user": {"id": 7}}\nno json\n', {}),
        ("a.jsonl.gz", gzip.compress(b'{"item_id": 1}\n'), {}),
        ("a.json", b'[{"item_id": 1}, {"item_id": 2}]', {}),
        ("a.parquet", parquet(item_id=[1, 2], title=["a", None]), {}),
        ("odd [1] name.csv", b"item_id\n1\n", {}),
        ("50% a+b #é名.csv", b"item_id\n1\n", {}),
    ],
)
def test_every_format_is_read_as_a_file_of_this_machine_is(tmp_path, put, name, content, settings):
    (tmp_path / name).write_bytes(content)
    here = read({"path": name, **settings}, folder=tmp_path)
    there = read({"path": put(f"data/{name}", content), **settings})
    assert there.rows.equals(here.rows)
    assert there.fingerprint != "" and there.rows_read == here.rows_read
    assert list(downloads_folder().iterdir()) == []


class TestWhichObjects:
    @pytest.fixture(autouse=True)
    def folder(self, put):
        for name in ("a.csv", "b.csv", "sub/c.csv", ".hidden.csv", "_tmp/d.csv", "note.txt"):
            put(f"data/{name}", f"item_id\n{name}\n")
        put("database/e.csv", "item_id\ne\n")
        put("data/sub/", "")  # what consoles make of an empty folder

    def found(self, bucket, path):
        return list(dict.fromkeys(read(f"{bucket}/{path}").rows["source_file"].to_pylist()))

    def test_a_folder_means_what_is_in_it_and_below(self, bucket):
        assert self.found(bucket, "data") == ["a.csv", "b.csv", "sub/c.csv"]
        assert self.found(bucket, "data/") == ["a.csv", "b.csv", "sub/c.csv"]

    def test_a_pattern(self, bucket):
        assert self.found(bucket, "data/*.csv") == ["a.csv", "b.csv"]
        assert self.found(bucket, "data/**/*.csv") == ["d.csv", "a.csv", "b.csv", "c.csv"]

    def test_one_object(self, bucket):
        assert self.found(bucket, "data/note.txt") == ["note.txt"]

    def test_a_query_over_objects(self, bucket):
        source = {
            "sql": "select * from t where item_id <> 'a.csv'",
            "tables": {"t": f"{bucket}/data"},
        }
        assert read(source).rows["item_id"].to_pylist() == ["b.csv", "sub/c.csv"]


class TestOnlyWhatChanged:
    def test_an_object_of_the_same_tag_is_not_fetched(self, bucket, put, downloaded, stored):
        put("p/1.csv", "item_id\na\nb\n")
        put("p/2.csv", "item_id\nc\n")
        first = read(f"{bucket}/p")
        assert len(downloaded) == 2
        again = read(f"{bucket}/p", stored(first.rows))
        assert len(downloaded) == 2
        assert again.rows_read == 0
        assert again.fingerprint == first.fingerprint
        assert again.rows.equals(first.rows, check_metadata=True)

    def test_a_new_one_and_a_changed_one_are(self, bucket, put, downloaded, stored):
        put("p/1.csv", "item_id\na\n")
        put("p/2.csv", "item_id\nb\n")
        first = read(f"{bucket}/p")
        downloaded.clear()
        put("p/0.csv", "item_id\nz\n")
        put("p/2.csv", "item_id\nB\n")
        again = read(f"{bucket}/p", stored(first.rows))
        assert downloaded == [f"{bucket}/p/0.csv", f"{bucket}/p/2.csv"]
        assert again.rows["item_id"].to_pylist() == ["z", "a", "B"]
        assert again.rows_read == 2

    def test_a_removed_one_is_gone(self, bucket, put, stored):
        put("p/1.csv", "item_id\na\n")
        put("p/2.csv", "item_id\nb\n")
        first = read(f"{bucket}/p")
        objects.remove([f"{bucket}/p/1.csv"])
        assert read(f"{bucket}/p", stored(first.rows)).rows["item_id"].to_pylist() == ["b"]

    def test_what_moved_here_with_the_same_content_is_not_read_into_rows(
        self, bucket, put, tmp_path, monkeypatch, stored
    ):
        (tmp_path / "1.csv").write_text("item_id\na\n")
        first = read("*.csv", folder=tmp_path)
        put("p/1.csv", "item_id\na\n")
        monkeypatch.setattr(files, "read_file", None)
        assert read(f"{bucket}/p", stored(first.rows)).fingerprint == first.fingerprint


class TestWatching:
    def observe(self, address, known=(), settle_seconds=0.0):
        return observe_source(WRITTEN.validate_python(address), Path(), dict(known), settle_seconds)

    def test_a_change_is_seen_and_nothing_is_fetched(self, bucket, put, downloaded):
        put("p/1.csv", "item_id\na\n")
        first = self.observe(f"{bucket}/p")
        assert self.observe(f"{bucket}/p", first.files).fingerprint == first.fingerprint
        put("p/1.csv", "item_id\nb\n")
        assert self.observe(f"{bucket}/p", first.files).fingerprint != first.fingerprint
        assert downloaded == []

    def test_what_was_written_a_moment_ago_may_not_be_all(self, bucket, put):
        address = put("p/1.csv", "item_id\na\n")
        assert self.observe(f"{bucket}/p", settle_seconds=3600.0).being_written == address


def test_an_object_may_have_a_longer_name_than_a_file(put):
    assert read(put("名" * 290 + ".csv", "item_id\n1\n")).rows["item_id"].to_pylist() == ["1"]


class TestFaults:
    def test_no_such_bucket(self, bucket):
        for path in ("x.csv", "folder/", "*.csv"):
            with pytest.raises(UserError, match=r"^s3://nobody-has/.*: there is no bucket 'nobody"):
                read(f"s3://nobody-has/{path}")

    def test_no_such_object(self, bucket, put):
        put("data/interactions.csv", "item_id\n1\n")
        with pytest.raises(UserError, match=r"no such object.*Did you mean 'interactions.csv'"):
            read(f"{bucket}/data/interaction.csv")
        with pytest.raises(UserError, match=r"no object is called like this"):
            read(f"{bucket}/data/*.parquet")

    def test_a_folder_of_nothing_but_its_marker(self, bucket, put):
        with objects._told(bucket) as storage:
            storage.call_s3("put_object", Bucket=bucket[len("s3://") :], Key="orders/", Body=b"")
        with pytest.raises(UserError, match=r"no folder with objects in it\.$"):
            read(f"{bucket}/orders")

    def test_a_fault_of_a_file_names_the_object(self, bucket, put):
        address = put("data/a.parquet", b"no parquet")
        with pytest.raises(UserError) as fault:
            read(address)
        assert str(fault.value).startswith(f"{address}: ")
        assert "downloads" not in str(fault.value)

    def test_an_object_that_vanished_between_listing_and_reading(self, bucket, put, monkeypatch):
        address = put("p/1.csv", "item_id\na\n")
        found = files.find_files(f"{bucket}/p", Path())
        objects.remove([address])
        monkeypatch.setattr(files, "find_files", lambda *_: found)
        with pytest.raises(UserError, match=f"{address}: the object vanished"):
            read(f"{bucket}/p")

    def test_an_object_that_changed_between_listing_and_reading(self, bucket, put, monkeypatch):
        address = put("p/1.csv", "item_id\na\n")
        found = files.find_files(f"{bucket}/p", Path())
        put("p/1.csv", "item_id\nb\n")
        monkeypatch.setattr(files, "find_files", lambda *_: found)
        with pytest.raises(UserError, match=f"{address}: the object changed"):
            read(f"{bucket}/p")
        assert list(downloads_folder().iterdir()) == []

    def test_no_credentials(self, bucket, put, environment, reconnect):
        address = put("a.csv", "item_id\n1\n")
        environment.delenv("AWS_ACCESS_KEY_ID")
        environment.delenv("AWS_SECRET_ACCESS_KEY")
        reconnect()
        with pytest.raises(UserError, match=r"no credentials.*AWS_ACCESS_KEY_ID"):
            read(address)

    def test_access_is_refused(self, bucket, environment, monkeypatch):
        """The test server asks for no password: the error is that of s3fs."""

        def refused(*_, **__):
            error = PermissionError("The AWS Access Key Id you provided does not exist")
            error.__cause__ = RefusedError()
            raise error

        storage = objects._storage("s3", os.getpid())
        monkeypatch.setattr(storage, "info", refused)
        with pytest.raises(UserError, match=r"access is refused \(InvalidAccessKeyId\)") as fault:
            read(f"{bucket}/a.csv")
        assert "key-of-a-test" not in str(fault.value)

    def test_no_network(self, bucket, environment, reconnect):
        environment.setenv("AWS_ENDPOINT_URL", "http://user:hidden-word@127.0.0.1:9")
        reconnect()
        with pytest.raises(UserError, match=r"could not be reached.*AWS_ENDPOINT_URL") as fault:
            read(f"{bucket}/a.csv")
        assert "hidden-word" not in str(fault.value)

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (Answer(400, {}), r"refuses what is asked \(400\).*still valid.*region"),
            (Answer(200, {}), r"what answers there is no object storage: look at AWS_ENDPOINT_URL"),
            (
                Answer(200, {"ETag": '"x"', "Last-Modified": "Sat, 28 Nov 2026 05:48:00 GMT"}),
                r"the connection was lost \(ClientPayloadError\)",
            ),
        ],
        ids=["a session that ended", "a web page", "a body that breaks off"],
    )
    def test_what_other_servers_answer(self, bucket, environment, reconnect, answer, said):
        with answering(answer) as address:
            environment.setenv("AWS_ENDPOINT_URL", address)
            reconnect()
            with pytest.raises(UserError, match=said):
                read(f"{bucket}/a.csv")

    def test_a_file_of_this_machine_that_cannot_be_opened_is_no_fault_of_the_storage(
        self, bucket, put, tmp_path
    ):
        address = put("a.csv", "item_id\n1\n")
        with pytest.raises(UserError, match=r"could not be written: .*name too long") as fault:
            objects.download(objects.at(address), tmp_path / ("a" * 300))
        assert "object storage" not in str(fault.value)

    def test_a_pattern_of_buckets(self, bucket):
        with pytest.raises(UserError, match="a pattern is of objects in one bucket"):
            read("s3://bucket*/a.csv")

    def test_what_a_variable_holds_is_not_said(self, bucket, environment):
        environment.setenv("WHERE_IT_LIES", f"{bucket}/of-a-customer")
        with pytest.raises(UserError, match=r"^\$\{WHERE_IT_LIES\}/x.csv: ") as fault:
            read("${WHERE_IT_LIES}/x.csv")
        assert "customer" not in str(fault.value)

    def test_a_password_in_the_address(self):
        with pytest.raises(UserError, match="credentials are taken from the environment") as fault:
            read("s3://key:hidden-word@bucket/a.csv")
        assert "hidden-word" not in str(fault.value)
