"""What evaluations found, kept beside the snapshots: whole, bounded, and in nobody's way."""

import json

import numpy as np
import pandas as pd
import pytest

from recsys_dagster.errors import UserError
from recsys_dagster.snapshots import evaluations
from recsys_dagster.snapshots.evaluations import EVALUATIONS, append, read

DAY = pd.Timestamp(2026, 1, 2, 3, 4, 5)


def table(value: float = 0.25) -> pd.DataFrame:
    """Two strategies: of `hybrid` recall and gini, of which there is no interval."""
    rows = [
        ("popular", "all", "recall@20", 8, 0.1, 0.05, 0.15),
        ("hybrid", "all", "recall@20", 8, value, 0.2, 0.3),
        ("hybrid", "all", "gini@20", 8, 0.5, np.nan, np.nan),
        ("hybrid", "cold_items", "recall@20", 0, np.nan, np.nan, np.nan),
    ]
    names = ["strategy", "slice", "metric", "users", "value", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def measured(folder, run="run-one", value=0.25, catalog="films"):
    append(folder, catalog, run, DAY, "time", "hybrid", table(value))


def test_an_entry_has_the_figures_of_all_users(tmp_path):
    measured(tmp_path)
    no_interval = {"value": 0.5, "low": None, "high": None, "users": 8}
    assert read(tmp_path, "films") == [
        {
            "made_at": "2026-01-02T03:04:05Z",
            "run_id": "run-one",
            "split": "time",
            "champion": "hybrid",
            "strategies": {
                "popular": {"recall@20": {"value": 0.1, "low": 0.05, "high": 0.15, "users": 8}},
                "hybrid": {
                    "recall@20": {"value": 0.25, "low": 0.2, "high": 0.3, "users": 8},
                    "gini@20": no_interval,
                },
            },
        }
    ]


def test_entries_are_lines_of_json_the_oldest_first(tmp_path):
    for run in ("one", "two", "three"):
        measured(tmp_path, run)
    assert [entry["run_id"] for entry in read(tmp_path, "films")] == ["one", "two", "three"]
    lines = (tmp_path / "films" / EVALUATIONS).read_text().splitlines()
    assert [json.loads(line)["run_id"] for line in lines] == ["one", "two", "three"]


def test_only_the_newest_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluations, "KEPT", 3)
    for run in range(5):
        measured(tmp_path, str(run))
    assert [entry["run_id"] for entry in read(tmp_path, "films")] == ["2", "3", "4"]


def test_catalogs_have_their_own(tmp_path):
    measured(tmp_path, catalog="books")
    assert read(tmp_path, "films") == []
    assert len(read(tmp_path, "books")) == 1


@pytest.mark.parametrize(
    "damaged", [b"{half", b"", b"[1]", b'"text"', b"{}", b"\xff\xfe", b"\x00"], ids=repr
)
def test_damaged_lines_are_passed_over(tmp_path, damaged):
    measured(tmp_path, "one")
    file = tmp_path / "films" / EVALUATIONS
    file.write_bytes(damaged + b"\n" + file.read_bytes() + damaged)
    assert [entry["run_id"] for entry in read(tmp_path, "films")] == ["one"]
    measured(tmp_path, "two")
    assert [entry["run_id"] for entry in read(tmp_path, "films")] == ["one", "two"]
    assert len(file.read_bytes().splitlines()) == 2


def test_a_failure_while_writing_leaves_what_was_there(tmp_path, monkeypatch):
    measured(tmp_path, "one")

    def fail(*_, **__):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", fail)
        with pytest.raises(UserError, match="no space left on the disk"):
            measured(tmp_path, "two")
    assert [path.name for path in (tmp_path / "films").iterdir()] == [EVALUATIONS]
    assert [entry["run_id"] for entry in read(tmp_path, "films")] == ["one"]


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "films" / EVALUATIONS).mkdir(parents=True)
    with pytest.raises(UserError, match=r"evaluations\.jsonl: it could not be read"):
        read(tmp_path, "films")
