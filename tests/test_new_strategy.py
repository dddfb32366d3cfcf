"""A strategy is one module and one line of the registry: everything else comes from there."""

import json
import subprocess
import sys
from pathlib import Path

TOY = '''
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from recsys_dagster.catalog.base import Settings
from recsys_dagster.steps.models.base import POSITIVES, Search, Strategy


class ToySettings(Settings):
    """How much a name counts."""

    lift: Annotated[float, Field(ge=0), Search((0, 1, 2))] = Field(
        default=1.0, description="what likes count for"
    )
    bonus: Annotated[float, Field(ge=0), Search((0, 5), scores_only=True)] = Field(
        default=0.0, description="what every item gets"
    )


@dataclass(frozen=True)
class ToyModel:
    likes: np.ndarray
    bonus: float

    def score(self, block):
        return np.tile(self.likes + np.float32(self.bonus), (len(block.lengths), 1))

    def contributions(self, block, rows, items):
        return np.ones(block.lengths[rows].sum(), dtype=np.float32)


def learn(evidence, settings):
    likes = np.asarray(evidence.behaviour.positives.sum(axis=0)).ravel()
    return {"likes": (likes * settings.lift).astype(np.float32)}


STRATEGY = Strategy(
    name="toy",
    settings=ToySettings,
    formula="likes: `r_ui = lift n_i + bonus`",
    columns=POSITIVES,
    learn=learn,
    load=lambda arrays, settings: ToyModel(arrays["likes"], settings.bonus),
)
'''
REGISTERED = """
import json
import sys

import toy
from recsys_dagster.steps import models

models.STRATEGIES["toy"] = toy.STRATEGY
models.SEARCHED = (*models.SEARCHED, "toy")  # as the registry's module derives it
"""
RUN = (
    REGISTERED
    + """
from recsys_dagster.cli.app import app

app(sys.argv[1:], standalone_mode=True)
"""
)
ASK = (
    REGISTERED
    + """
from pathlib import Path

from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.reference import json_schema, markdown_reference
from recsys_dagster.snapshots.reader import Snapshot
from recsys_dagster.resources.warehouse import Warehouse

catalogs, home = map(Path, sys.argv[1:])
schema = json.loads(json_schema())
snapshot = Snapshot.current(home / "snapshots", "tiny")
(user, *_) = snapshot.some_users(1)
warehouse = Warehouse(folder=str(home / "warehouse"))
history = [
    item
    for (item,) in warehouse.query(
        "tiny", f"select item_id from interactions where positive and user_id = '{user}'"
    )
]
unseen = {
    item
    for (item,) in warehouse.query(
        "tiny", f"select item_id from interactions where not positive and user_id = '{user}'"
    )
}
run = [[row.item_id, row.score] for row in snapshot.recommend(user, 3)]
folded = [
    [row.item_id, row.score]
    for row in snapshot.fold_in(history, n=10)
    if row.item_id not in unseen
]
print(json.dumps({
    "settings": Catalogs.read(catalogs)["tiny"].models.toy.model_dump(),
    "choices": schema["properties"]["strategy"]["enum"],
    "knobs": sorted(schema["$defs"]["ToySettings"]["properties"]),
    "reference": [line for line in markdown_reference().splitlines() if "models.toy." in line],
    "strategy": snapshot.manifest["model"]["strategy"],
    "run": run,
    "folded": folded[:3],
    "measured": [name for (name,) in warehouse.query(
        "tiny", "select distinct strategy from evaluation order by strategy"
    )],
    "tried": [json.loads(settings) for (settings,) in warehouse.query(
        "tiny", "select settings from tuning where strategy = 'toy' order by trial"
    )],
}))
"""
)


def test_one_module_and_one_line_are_enough(tiny, tmp_path, monkeypatch):
    place = tiny(strategy="toy", models={"toy": {"lift": 2.0}})
    (tmp_path / "toy.py").write_text(TOY, encoding="utf-8")
    place.environment(monkeypatch)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[1]}")

    def python(script: str, *arguments: object) -> str:
        found = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    python(RUN, "run", "tiny")
    python(RUN, "tune", "tiny", "--strategy", "toy")
    found = json.loads(python(ASK, place.catalogs, place.home).splitlines()[-1])
    assert found["settings"] == {"lift": 2.0, "bonus": 0.0}
    assert "toy" in found["choices"]
    assert found["knobs"] == ["bonus", "lift"]
    assert len(found["reference"]) == 2
    assert found["strategy"] == "toy"
    assert len(found["run"]) == 3
    assert found["run"] == found["folded"]
    assert "toy" in found["measured"]
    # The setting that the YAML names is left alone; the other one is tried.
    assert found["tried"] == [{}, {"bonus": 5}]
