"""The command line as a person or a program meets it."""

import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest
from dagster._core.execution import execute_in_process

from recsys_dagster.automation.runs import runs_of
from recsys_dagster.cli import main, terminal, tuning
from recsys_dagster.cli.app import app
from recsys_dagster.cli.interrupts import ENDED, INTERRUPTED, QUERY_INTERRUPTED
from recsys_dagster.errors import UserError
from recsys_dagster.resources.embedding_store import vectors_from_arrow
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.snapshots.reader import Snapshot

ROW = ["item_id", "title", "score", "rank", "strategy", "because"]


def on_one_line(printed: str) -> str:
    """A heading without the line breaks that the width of its table makes."""
    return " ".join(printed.split())


@pytest.fixture
def recsys(monkeypatch, capsys):
    """`recsys(place, *arguments)`: exit status, standard output and standard error."""

    def call(place, *arguments: str) -> tuple[int, str, str]:
        place.environment(monkeypatch)
        monkeypatch.setattr(sys, "argv", ["recsys", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        code = left.value.code
        captured = capsys.readouterr()
        # Messages are wrapped to the terminal's width.
        return int(code or 0), captured.out, " ".join(captured.err.split())

    return call


class TestReading:
    def test_recommend_json_is_json_and_nothing_else(self, finished, recsys):
        place = finished.place
        (user,) = place.warehouse.query("movies", "select min(user_id) from users")[0]
        code, out, err = recsys(place, "recommend", "movies", user, "--json", "-n", "3")
        assert (code, err) == (0, "")
        rows = json.loads(out)
        assert [row["rank"] for row in rows] == [1, 2, 3]
        for row in rows:
            assert list(row) == ROW
            assert row["strategy"] == "hybrid"
            assert row["because"]
            for reason in row["because"]:
                assert list(reason) == ["item_id", "title", "share"]
                assert 0 < reason["share"] <= 1

    def test_recommend_for_people(self, finished, recsys):
        (user,) = finished.place.warehouse.query("movies", "select min(user_id) from users")[0]
        code, out, err = recsys(finished.place, "recommend", "movies", user, "-n", "3")
        assert (code, err) == (0, "")
        assert f"recommended to user {user}" in out
        assert "%" in out

    def test_an_unknown_user_gets_what_is_popular(self, finished, recsys):
        code, out, err = recsys(finished.place, "recommend", "movies", "nobody", "--json")
        assert (code, err) == (0, "")
        rows = json.loads(out)
        assert {row["strategy"] for row in rows} == {"popular"}
        assert [row["because"] for row in rows] == [[]] * 10
        code, out, err = recsys(finished.place, "recommend", "movies", "[bold]nobody[/]")
        assert code == 0
        assert "User [bold]nobody[/] is not known" in err
        assert "popular items" in out

    def test_a_user_with_nothing_left_to_recommend_is_no_stranger(self, published, recsys):
        place = published()
        items = pd.read_csv(place.data / "items.csv")["item_id"]
        with (place.data / "interactions.csv").open("a", encoding="utf-8") as file:
            file.writelines(f"greedy,{item},5,1700000000\n" for item in items)
        assert place.run("tiny").success
        code, out, err = recsys(place, "recommend", "tiny", "greedy")
        assert code == 0
        assert "User greedy had all that may be recommended: here is what is popular." in err
        assert "popular items" in out

    def test_a_user_or_somebody_who_likes_something(self, finished, recsys):
        code, out, err = recsys(finished.place, "recommend", "movies")
        assert (code, out) == (2, "")
        assert "recsys recommend movies USER" in err
        assert "recsys recommend movies --history ITEM" in err
        for option in ("--history", "--text"):
            code, out, err = recsys(finished.place, "recommend", "movies", "7", option, "1")
            assert (code, out) == (2, "")
            assert f"The user '7' and {option} do not go together" in err

    def test_similar(self, finished, recsys):
        place = finished.place
        item, title = place.warehouse.query(
            "movies",
            "select item_id, title from items qualify count(*) over (partition by lower(title)) "
            "= 1 order by item_id limit 1",
        )[0]
        code, out, err = recsys(place, "similar", "movies", title, "--json", "-n", "2")
        assert (code, err) == (0, "")
        rows = json.loads(out)
        assert [list(row) for row in rows] == [ROW, ROW]
        assert {row["strategy"] for row in rows} == {"similar_items"}
        assert rows[0]["because"] == [{"item_id": item, "title": title, "share": 1.0}]
        assert rows[0]["score"] >= rows[1]["score"]
        code, out, _ = recsys(place, "similar", "movies", item, "-n", "2")
        assert code == 0
        assert "Most like" in out

    def test_an_unknown_item_names_the_nearest(self, finished, recsys):
        title = finished.place.warehouse.query(
            "movies", "select title from items where length(title) > 8 order by item_id limit 1"
        )[0][0]
        code, out, err = recsys(finished.place, "similar", "movies", title + "x", "--json")
        assert (code, out) == (2, "")
        assert "Nearest:" in err
        assert title in err
        assert "Traceback" not in err

    @pytest.mark.parametrize("command", ["recommend", "similar", "export-matrix", "run"])
    def test_an_unknown_catalog_names_the_nearest(self, finished, recsys, command):
        more = {"recommend": ["1"], "similar": ["1"]}.get(command, [])
        code, out, err = recsys(finished.place, command, "movie", *more)
        assert (code, out) == (2, "")
        assert "There is no catalog 'movie'. Did you mean 'movies'?" in err
        assert "Traceback" not in err

    @pytest.mark.parametrize("catalog", ["", ".", "..", "../snapshots"])
    def test_a_catalog_is_a_name_not_a_path(self, finished, recsys, catalog):
        code, _, err = recsys(finished.place, "recommend", catalog, "1")
        assert code == 2
        assert "There is no catalog" in err

    def test_going_back_needs_an_older_snapshot(self, finished, recsys):
        code, _, err = recsys(finished.place, "rollback", "movies")
        assert code == 2
        assert "'movies' has no older snapshot than the current one" in err
        code, _, err = recsys(finished.place, "rollback", "movie")
        assert code == 2
        assert "Did you mean 'movies'?" in err

    def test_status(self, finished, recsys):
        code, out, err = recsys(finished.place, "status")
        assert (code, err) == (0, "")
        assert "movies" in out
        assert "hybrid" in out
        assert "1,200" in out

    def test_a_catalog_that_was_never_run(self, tiny, recsys):
        place = tiny()
        code, _, err = recsys(place, "recommend", "tiny", "1")
        assert code == 2
        assert "has published nothing yet: run it first, with: recsys run tiny" in err
        code, out, _ = recsys(place, "status")
        assert code == 0
        assert "never" in out
        code, _, err = recsys(place, "export-matrix", "tiny")
        assert code == 2
        assert "recsys run tiny" in err
        assert not place.home.exists()


class TestForAHistory:
    @pytest.fixture
    def liked(self, finished) -> list[tuple[str, str]]:
        """The item_id and title of six items of the model, titles that are taken once."""
        return finished.place.warehouse.query(
            "movies",
            "select item_id, title from popular_items where rank is not null "
            "qualify count(*) over (partition by lower(title)) = 1 order by rank limit 6",
        )

    def test_json_is_what_the_snapshot_answers(self, finished, recsys, liked):
        (first, title), (second, _), *_ = liked
        code, out, err = recsys(
            finished.place, "recommend", "movies", "--history", title, "--history", second,
            "--json", "-n", "3",
        )  # fmt: skip
        assert (code, err) == (0, "")
        rows = json.loads(out)
        snapshot = Snapshot.current(finished.place.snapshots, "movies")
        assert rows == [asdict(row) for row in snapshot.fold_in([first, second], n=3)]
        assert [row["rank"] for row in rows] == [1, 2, 3]
        for row in rows:
            assert list(row) == ROW
            assert row["item_id"] not in (first, second)
            assert {reason["item_id"] for reason in row["because"]} <= {first, second}

    def test_the_heading_says_what_it_was_made_for(self, finished, recsys, liked):
        titles = [title for _, title in liked]
        options = [word for title in titles[:2] for word in ("--history", title)]
        code, out, err = recsys(finished.place, "recommend", "movies", *options)
        assert (code, err) == (0, "")
        assert (
            f"movies: recommended to somebody who likes {titles[0]}, {titles[1]} "
            in on_one_line(out)
        )
        assert "%" in out
        options = [word for title in titles for word in ("--history", title)]
        code, out, _ = recsys(finished.place, "recommend", "movies", *options)
        assert code == 0
        assert f"likes {', '.join(titles[:5])}, 1 more " in on_one_line(out)

    def test_a_text_alone_and_with_a_history(self, finished, recsys, liked):
        asked = ["recommend", "movies", "--text", "a quiet film about [trains]"]
        code, out, _ = recsys(finished.place, *asked)
        assert code == 0
        assert (
            "recommended to somebody who looks for “a quiet film about [trains]” "
            in on_one_line(out)
        )
        assert "content" in out
        (_, title), *_ = liked
        code, out, _ = recsys(finished.place, *asked, "--history", title)
        assert code == 0
        assert f"likes {title} and looks for “a quiet film about [trains]” " in on_one_line(out)

    def test_a_text_without_words(self, finished, recsys):
        code, out, err = recsys(finished.place, "recommend", "movies", "--text", " ")
        assert (code, out) == (2, "")
        assert "--text: expected words, found none." in err

    def test_an_unknown_item_names_the_nearest(self, finished, recsys, liked):
        (_, title), *_ = liked
        code, out, err = recsys(finished.place, "recommend", "movies", "--history", title + "x")
        assert (code, out) == (2, "")
        assert "Nearest:" in err
        assert title in err


class TestExportMatrix:
    def test_the_dense_matrix_agrees_with_the_table(self, finished, recsys, tmp_path):
        place = finished.place
        file = tmp_path / "matrix.parquet"
        code, out, err = recsys(place, "export-matrix", "movies", "--out", str(file))
        assert (code, err) == (0, "")
        users = place.warehouse.read("movies", "user_embeddings")
        items = place.warehouse.read("movies", "item_embeddings")
        assert f"{users.num_rows:,} users × {items.num_rows:,} items" in " ".join(out.split())
        matrix = pd.read_parquet(file)
        assert matrix.shape == (users.num_rows, items.num_rows + 1)
        assert list(matrix) == ["user_id", *items["item_id"].to_pylist()]

        item_vectors = vectors_from_arrow(items["embedding"]).astype(np.float64)
        user_vectors = vectors_from_arrow(users["embedding"]).astype(np.float64)
        mean = item_vectors.mean(axis=0)
        a, b = user_vectors - mean, item_vectors - mean
        a /= np.linalg.norm(a, axis=1, keepdims=True)
        b /= np.linalg.norm(b, axis=1, keepdims=True)
        np.testing.assert_allclose(matrix.iloc[:, 1:].to_numpy(), a @ b.T, atol=1e-5)

        dense = matrix.set_index("user_id").stack()
        table = place.warehouse.read("movies", "similarity_matrix").to_pandas()
        pairs = pd.MultiIndex.from_frame(table[["user_id", "item_id"]])
        np.testing.assert_allclose(dense.loc[pairs], table["similarity"], atol=1e-5)

    def test_csv_and_nothing_else(self, finished, recsys, tmp_path):
        code, _, err = recsys(
            finished.place, "export-matrix", "movies", "--out", str(tmp_path / "m.xlsx")
        )
        assert code == 2
        assert ".parquet or .csv" in err
        file = tmp_path / "m.csv"
        assert recsys(finished.place, "export-matrix", "movies", "--out", str(file))[0] == 0
        assert pd.read_csv(file, dtype={"user_id": str}).iloc[:, 1:].to_numpy().dtype.kind == "f"

    def test_a_folder_that_is_not_there(self, finished, recsys, tmp_path):
        out = str(tmp_path / "nowhere" / "m.csv")
        code, _, err = recsys(finished.place, "export-matrix", "movies", "--out", out)
        assert code == 2
        assert "nowhere" in err


class TestEvaluate:
    def test_a_page_in_a_folder_that_is_not_there_is_refused_before_measuring(self, tiny, recsys):
        code, out, err = recsys(tiny(), "evaluate", "tiny", "--html", "missing/x.html", "--json")
        assert (code, out) == (2, "")
        assert "missing/x.html: the folder missing does not exist." in err


class TestTune:
    def test_json_has_null_for_what_is_not_finite(self, capsys):
        trial = {"strategy": "ease", "trial": 1, "settings": "{}", "value": float("inf")}
        tuning.print_as_json(pd.DataFrame([trial, trial | {"trial": 2, "value": float("nan")}]))
        told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        assert [row["value"] for row in told] == [None, None]
        assert told[0] == {"strategy": "ease", "trial": 1, "settings": {}, "value": None}


class TestRun:
    def test_all_then_one_stage(self, tiny, recsys):
        place = tiny()
        code, out, err = recsys(place, "run", "tiny")
        assert (code, err) == (0, "")
        assert "tiny: 22 tables made in " in out
        assert "unchanged" not in out
        assert "published" in out
        code, out, err = recsys(place, "run", "tiny", "--select", "popular_items")
        assert (code, err) == (0, "")
        assert re.search(r"✓ popular_items +\d+\.\d s  unchanged\n", out)
        assert "tiny: nothing has changed, 1 table left as before, in " in out
        # What is made together is run together.
        code, out, err = recsys(place, "run", "tiny", "--select", "rejected_items")
        assert (code, err) == (0, "")
        assert "2 tables left as before" in out

    def test_ctrl_c_in_the_middle_of_a_query_is_no_failure(self, tiny, recsys, monkeypatch):
        def interrupted(*_) -> None:
            raise RuntimeError(QUERY_INTERRUPTED)

        monkeypatch.setattr(Warehouse, "replace", interrupted)
        code, _, err = recsys(tiny(), "run", "tiny")
        assert (code, err) == (INTERRUPTED, ENDED)

    def test_ctrl_c_before_dagster_begins_leaves_no_run_that_is_waited_for(
        self, tiny, recsys, monkeypatch
    ):
        def interrupted(**_) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(execute_in_process, "ExecuteRunWithPlanIterable", interrupted)
        code, _, err = recsys(tiny(), "run", "tiny")
        assert (code, err) == (INTERRUPTED, ENDED)
        with dg.DagsterInstance.get() as instance:
            (run,) = runs_of(instance, "tiny")
        assert run.status == dg.DagsterRunStatus.CANCELED

    def test_an_unknown_stage_names_the_nearest(self, tiny, recsys):
        code, _, err = recsys(tiny(), "run", "tiny", "--select", "populr_items")
        assert code == 2
        assert "There is no stage 'populr_items'. Did you mean 'popular_items'" in err

    def test_a_failed_check_says_which_and_why(self, tiny, recsys):
        place = tiny()
        (place.data / "items.csv").write_text("item_id,title,genres\na,b,c\n,d,e\n,f,g\n")
        code, _, err = recsys(place, "run", "tiny")
        assert code == 2
        assert "items_accepted_share: 33.3% of 3 rows accepted" in err
        assert "Traceback" not in err

    def test_a_missing_column_says_what_there_is(self, tiny, recsys):
        place = tiny(items={"source": "../data/items.csv", "text": "{titel}"})
        code, _, err = recsys(place, "run", "tiny")
        assert code == 2
        assert "Did you mean 'title'?" in err
        assert "Traceback" not in err

    def test_a_stage_before_its_inputs(self, tiny, recsys):
        code, _, err = recsys(tiny(), "run", "tiny", "--select", "popular_items")
        assert code == 2
        assert "materialise tiny/" in err
        assert "Traceback" not in err

    def test_a_failing_process_prints_its_message_and_no_noise(self, tiny, monkeypatch):
        place = tiny()
        (place.data / "items.parquet").write_bytes(b"this is not Parquet")
        tiny(items={"source": "../data/items.parquet", "text": "{title}"})
        place.environment(monkeypatch)
        done = subprocess.run(
            [Path(sys.executable).with_name("recsys"), "run", "tiny"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert "items.parquet: cannot be read" in " ".join(done.stderr.split())
        for noise in ("nanobind", "Traceback", "leaked"):
            assert noise not in done.stderr

    def test_a_warehouse_that_another_process_holds(self, tiny, monkeypatch):
        place = tiny()
        place.home.joinpath("warehouse").mkdir(parents=True)
        place.environment(monkeypatch)
        with duckdb.connect(str(place.warehouse.path("tiny"))):
            done = subprocess.run(
                [Path(sys.executable).with_name("recsys"), "run", "tiny"],
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
        assert done.returncode == 2
        assert "wait for its run to end" in " ".join(done.stderr.split())
        for noise in ("nanobind", "Traceback", "leaked"):
            assert noise not in done.stderr


class TestFaultyYaml:
    BAD = (
        "name: Bad Name\n"
        "interactions: {source: a.csv, positive: 'rating over 4'}\n"
        "items: {source: b.csv, txt: '{title}'}\n"
        "similarity: cosin\n"
        "stratgy: ease\n"
    )
    FAULTS = (
        "name:",
        "interactions.positive: ",
        "items.txt: unknown key. Did you mean 'text'?",
        "items.text:",
        "similarity:",
        "stratgy: unknown key. Did you mean 'strategy'?",
    )

    @pytest.fixture
    def place(self, published):
        """A sound catalog that has published, and a faulty one beside it."""
        place = published()
        (place.catalogs / "bad.yaml").write_text(self.BAD)
        return place

    def test_every_fault_of_every_file_is_listed(self, place, recsys):
        (place.catalogs / "worse.yaml").write_text("name: [\n")
        code, out, err = recsys(place, "validate")
        assert code == 2
        for fault in (*self.FAULTS, "worse.yaml:2: this is not YAML"):
            assert fault in out
        assert "interactions from ../data/interactions.csv: 24 rows" in out
        assert "✓ tiny" in out
        assert err == "Error 7 faults found."

    def test_the_status_has_a_row_for_it_with_its_first_fault(self, place, recsys, monkeypatch):
        monkeypatch.setattr(terminal.console, "width", 200)
        code, out, err = recsys(place, "status")
        assert (code, err) == (0, "")
        sound, faulty = (line for line in out.splitlines() if "tiny" in line or "bad" in line)
        assert "hybrid" in sound
        assert "faulty: bad.yaml:1: name: expected a letter" in faulty

    def test_another_catalog_runs(self, place, recsys):
        code, out, err = recsys(place, "run", "tiny", "--select", "popular_items")
        assert (code, err) == (0, "")
        assert "tiny: " in out
        code, _, err = recsys(place, "export-matrix", "tiny", "--out", str(place.root / "m.csv"))
        assert (code, err) == (0, "")

    def test_who_asks_for_it_is_told_its_faults(self, place, recsys):
        code, _, err = recsys(place, "run", "bad")
        assert code == 2
        for fault in self.FAULTS:
            assert fault in err
        assert "Traceback" not in err

    def test_who_asks_for_an_unknown_name_is_told_that_a_file_was_not_looked_into(
        self, place, recsys
    ):
        code, _, err = recsys(place, "run", "tinny")
        assert code == 2
        assert "Did you mean 'tiny'? Faulty, and so not looked into: " in err
        assert "bad.yaml; recsys validate says why" in err

    def test_a_folder_without_catalogs(self, tiny, recsys):
        place = tiny()
        (place.catalogs / "tiny.yaml").unlink()
        code, _, err = recsys(place, "status")
        assert code == 2
        assert "no catalog here" in err


class TestAHomeThatCannotBeUsed:
    @pytest.fixture
    def place(self, published, monkeypatch):
        place = published()
        place.environment(monkeypatch)
        return place

    @pytest.mark.parametrize("settings", ["a: [", "no_such_key: 1\n"])
    def test_faulty_settings_of_dagster_are_a_message(self, place, settings):
        (place.home / "dagster").mkdir()
        (place.home / "dagster" / "dagster.yaml").write_text(settings)
        with pytest.raises(UserError, match=r"dagster\.yaml is not what Dagster reads"):
            app(["run", "tiny"], standalone_mode=False)

    @pytest.mark.parametrize("file", ["history/runs.db", "history/runs/index.db"])
    def test_a_damaged_history_of_runs_is_a_message_and_may_be_moved_away(self, place, file):
        damaged = place.home / "dagster" / file
        damaged.parent.mkdir(parents=True)
        damaged.write_bytes(b"no database " * 1_000)
        with pytest.raises(UserError, match=r"runs is damaged .*move the folder history"):
            app(["run", "tiny"], standalone_mode=False)
        (place.home / "dagster" / "history").rename(place.home / "moved")
        app(["run", "tiny", "--select", "items"], standalone_mode=False)

    def test_a_file_in_the_place_of_the_locks_is_named(self, place):
        (place.home / "locks").write_text("")
        with pytest.raises(UserError, match=r"locks/.*: the file cannot be locked"):
            app(["run", "tiny"], standalone_mode=False)

    def test_a_file_in_the_place_of_dagsters_home_is_named(self, place):
        (place.home / "dagster").write_text("")
        with pytest.raises(UserError, match="dagster: the history of runs cannot be kept"):
            app(["run", "tiny"], standalone_mode=False)
