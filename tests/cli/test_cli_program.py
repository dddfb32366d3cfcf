"""Commands that are printed can be typed as they stand."""

import sys
from pathlib import Path

import pytest

from recsys_dagster.cli import main, snapshot_tables, terminal
from recsys_dagster.cli.program import as_typed, program
from recsys_dagster.snapshots.reader import Snapshot


def executable(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """The current folder, with a `.venv/bin/recsys` that is running and not on the PATH."""
    folder = tmp_path / "project"
    script = executable(folder / ".venv" / "bin" / "recsys")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(sys, "argv", [str(script)])
    return folder


class TestProgram:
    def test_what_the_path_finds_is_called_by_its_name(self, project, monkeypatch):
        monkeypatch.setenv("PATH", str(project / ".venv" / "bin"))
        assert program() == "recsys"

    def test_a_link_on_the_path_to_this_program_is_this_program(
        self, project, tmp_path, monkeypatch
    ):
        link = tmp_path / "elsewhere" / "recsys"
        link.parent.mkdir()
        link.symlink_to(project / ".venv" / "bin" / "recsys")
        assert program() == "recsys"

    def test_off_the_path_it_is_called_by_its_place_here(self, project):
        assert program() == ".venv/bin/recsys"

    def test_another_program_of_the_name_on_the_path_is_not_this_one(self, project, tmp_path):
        executable(tmp_path / "elsewhere" / "recsys")
        assert program() == ".venv/bin/recsys"

    def test_from_far_away_the_whole_path_is_shorter(self, project, tmp_path, monkeypatch):
        far = tmp_path.joinpath(*["deep"] * 40)
        far.mkdir(parents=True)
        monkeypatch.chdir(far)
        assert program() == str(project / ".venv" / "bin" / "recsys")

    def test_in_the_folder_of_the_script_it_is_not_a_bare_name(self, project, monkeypatch):
        monkeypatch.chdir(project / ".venv" / "bin")
        assert program() == "./recsys"

    def test_a_shell_reads_it_as_one_word(self, tmp_path, project, monkeypatch):
        script = executable(project / "my venv" / "recsys")
        monkeypatch.setattr(sys, "argv", [str(script)])
        assert program() == "'my venv/recsys'"

    @pytest.mark.parametrize("started", ["-c", "/usr/bin/pytest", "nowhere/recsys", ""])
    def test_started_in_another_way_it_has_its_name(self, project, monkeypatch, started):
        monkeypatch.setattr(sys, "argv", [started])
        assert program() == "recsys"


class TestPrinted:
    def test_a_message_of_the_library_names_what_can_be_typed(self, project):
        said = "run it first, with: recsys run shop; recsys/run and recsys_dagster stay"
        assert as_typed(said) == (
            "run it first, with: .venv/bin/recsys run shop; recsys/run and recsys_dagster stay"
        )

    def test_errors_and_status_do(self, tiny, project, monkeypatch, capsys):
        tiny().environment(monkeypatch)
        script = sys.argv[0]
        monkeypatch.setattr(sys, "argv", [script, "recommend", "tiny", "1"])
        with pytest.raises(SystemExit):
            main()
        assert "with: .venv/bin/recsys run tiny" in capsys.readouterr().err
        monkeypatch.setattr(sys, "argv", [script, "status"])
        monkeypatch.setattr(terminal.console, "width", 200)
        with pytest.raises(SystemExit):
            main()
        assert ".venv/bin/recsys run tiny" in capsys.readouterr().out

    def test_hints_after_the_demo_do(self, project, tmp_path, capsys):
        snapshot_tables.print_hints("movies", Snapshot(tmp_path / "snapshot", {}))
        lines = capsys.readouterr().out.splitlines()
        assert "  .venv/bin/recsys recommend movies 42          somebody else's list" in lines
        assert '  .venv/bin/recsys similar movies "Toy Story"   films most like one' in lines

    def test_init_says_how_to_run_and_how_an_open_ui_comes_to_see_the_catalog(
        self, project, monkeypatch, capsys
    ):
        monkeypatch.setenv("RECSYS_CATALOGS", str(project / "catalogs"))
        data = project / "data"
        data.mkdir()
        (data / "ratings.csv").write_text(
            "user_id,item_id,rating\n" + "".join(f"u{n % 7},i{n % 5},{n % 4}\n" for n in range(35))
        )
        (data / "items.csv").write_text(
            "item_id,title\n" + "".join(f"i{n},Title of item {n}\n" for n in range(5))
        )
        monkeypatch.setattr(sys, "argv", [sys.argv[0], "init", "data", "--name", "shop"])
        with pytest.raises(SystemExit):
            main()
        said = capsys.readouterr().out.partition("Next:")[2]
        assert "  .venv/bin/recsys run shop\n" in said
        assert "Reload definitions" in said
