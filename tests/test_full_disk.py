"""Disks that are full or read-only: one message that says which place, and nothing by halves."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from recsys_dagster.cli import main
from recsys_dagster.errors import UserError
from recsys_dagster.resources.locks import Holder, hold, is_held
from recsys_dagster.writing import reason_of, unwritten, whole_file

NO_SPACE = "there is no space left on the disk"


@pytest.fixture
def disk(tmp_path) -> Generator[Callable[..., Path]]:
    """`disk(size)`: a file system of its own; what it holds is lost."""
    mounted = []

    def mount(size: str, *options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", *options, "tmpfs", str(place)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no file system can be mounted here")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.fixture
def recsys(monkeypatch, capfd):
    """`recsys(place, *arguments, home=…)`: exit status and both outputs of a command."""

    def call(place, *arguments: str, home: Path | None = None) -> tuple[int, str, str]:
        place.environment(monkeypatch)
        monkeypatch.setenv("RECSYS_HOME", str(home or place.home))
        monkeypatch.setattr(sys, "argv", ["recsys", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        said = capfd.readouterr()
        return int(left.value.code or 0), said.out, " ".join(said.err.split())

    return call


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("[Errno 28] No space left on device", NO_SPACE),
        ('IO Error: Could not write file "x": No space left on device', NO_SPACE),
        ("(sqlite3.OperationalError) database or disk is full", NO_SPACE),
        ("[Errno 122] Disk quota exceeded", "the quota of the disk is used up"),
        ("[Errno 27] File too large", "files may not grow so large"),
        ("(sqlite3.OperationalError) disk I/O error", "it may be failing"),
        ("[Errno 30] Read-only file system: 'x'", "read-only"),
        ("[Errno 13] Permission denied: 'x'", "no permission"),
    ],
)
def test_why_nothing_could_be_written(said, why):
    assert why in (reason_of(OSError(said)) or "")
    assert str(unwritten(Path("/srv/x"), OSError(said))).startswith("/srv/x: it could not be writ")


def test_other_errors_are_about_something_else():
    assert reason_of(OSError("[Errno 2] No such file or directory")) is None


class TestAWholeFile:
    def test_is_there_at_the_end_and_not_before(self, tmp_path):
        path = tmp_path / "page.html"
        with whole_file(path) as hidden:
            hidden.write_text("half")
            assert not path.exists()
            hidden.write_text("whole")
        assert path.read_text() == "whole"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
    def test_is_what_it_was_where_it_could_not_be_written(self, tmp_path, error):
        path = tmp_path / "page.html"
        path.write_text("before")
        raised = UserError if isinstance(error, OSError) else KeyboardInterrupt
        with pytest.raises(raised), whole_file(path) as hidden:
            hidden.write_text("half")
            raise error
        assert path.read_text() == "before"
        assert list(tmp_path.iterdir()) == [path]


class TestLocks:
    def test_a_lock_that_cannot_be_written_says_why(self, disk):
        small = disk("4k")
        (small / "full").write_bytes(b"x" * 4096)
        lock = small / "run.lock"
        with (
            pytest.raises(UserError, match=rf"run\.\w+: .*{NO_SPACE}"),
            hold(lock, Holder.here("run", "refresh"), lambda _: None),
        ):
            pass

    def test_where_nothing_can_be_locked_nobody_is_declared_dead(self, disk):
        place = disk("1m")
        (place / "run.lock").touch()
        assert not is_held(place / "run.lock")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        assert is_held(place / "run.lock")


def test_a_home_that_cannot_be_made_ready_is_a_message(disk):
    place = disk("1m")
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "recsys_dagster.home"],
        env=os.environ | {"DAGSTER_HOME": str(place / "dagster")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error {place}/dagster: it could not be written: the file sys")


class TestCommands:
    def test_a_run_whose_warehouse_does_not_fit(self, published, recsys, disk):
        small = disk("1m")
        code, _, err = recsys(published(), "run", "tiny", home=small)
        assert code == 2
        assert f"{small}/warehouse/tiny.duckdb: it could not be written: {NO_SPACE}" in err
        assert "nothing is published yet" in err
        assert "Traceback" not in err
        assert not (small / "snapshots").exists()

    @pytest.mark.parametrize("ending", ["csv", "parquet"])
    def test_a_matrix_that_does_not_fit(self, published, recsys, disk, ending):
        small = disk("4k")
        (small / "full").write_bytes(b"x" * 4096)
        code, _, err = recsys(published(), "export-matrix", "tiny", "--out", f"{small}/m.{ending}")
        assert code == 2
        said = f"{small}/m.{ending}: it could not be written: {NO_SPACE}"
        assert err == f"Error {said}: free some, and run again."
        assert [file.name for file in small.iterdir()] == ["full"]

    def test_a_home_that_is_read_only(self, published, recsys, disk):
        place = published()
        warehouse = place.home / "warehouse"
        (content,) = warehouse.iterdir()
        held = disk("20m")
        (held / content.name).write_bytes(content.read_bytes())
        subprocess.run(["mount", "-o", "remount,ro", str(held)], check=True)
        content.unlink()
        warehouse.rmdir()
        warehouse.symlink_to(held)
        code, _, err = recsys(place, "export-matrix", "tiny", "--out", str(place.root / "m.csv"))
        assert code == 2
        assert f"{warehouse / content.name}: it could not be written: " in err
        assert "read-only" in err
        assert "another process" not in err

    @pytest.mark.parametrize("arguments", [["schema"], ["recommend", "tiny", "x", "--json"]])
    def test_output_that_does_not_fit(self, published, monkeypatch, arguments):
        place = published()
        place.environment(monkeypatch)
        program = Path(sys.executable).with_name("recsys")
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [program, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 2
        assert "what is printed: it could not be written: " in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("arguments", [["schema"], ["status"], ["recommend", "tiny", "x"]])
    def test_who_reads_no_further_has_what_they_want(self, published, monkeypatch, arguments):
        place = published()
        place.environment(monkeypatch)
        program = Path(sys.executable).with_name("recsys")
        done = subprocess.Popen(
            [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        done.stdout.close()
        assert "rror" not in done.stderr.read()
        done.stderr.close()
        done.wait()
