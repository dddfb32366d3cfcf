"""Whole runs of a catalog whose blocks are done on Ray; minutes long."""

import dagster as dg
import pandas as pd
import pytest

from recsys_dagster.resources import ray_encoder
from recsys_dagster.resources.encoder import SentenceEncoder
from recsys_dagster.steps.evaluation import ranked
from recsys_dagster.steps.lists import recommendations
from recsys_dagster.steps.models import gram
from recsys_dagster.steps.similarity import nearest
from recsys_dagster.versions import content_digest

pytestmark = [pytest.mark.ray, pytest.mark.parametrize("ray", ["two workers"], indirect=True)]
EXACT = ("similarity_matrix", "recommendations", "evaluation")


@pytest.fixture(autouse=True)
def on_ray(ray, monkeypatch, no_pictures):
    """Blocks so small that each stage has several."""
    monkeypatch.setenv("RECSYS_COMPUTE", "ray")
    monkeypatch.setattr(recommendations, "BLOCK_CELLS", 20_000)
    monkeypatch.setattr(ranked, "BLOCK_CELLS", 5_000)
    monkeypatch.setattr(nearest, "_QUERY_BLOCK", 100)
    monkeypatch.setattr(gram, "GRAM_ROWS", 100)
    monkeypatch.setattr(ray_encoder, "MIN_CHARACTERS", 4_096)


def tables(place):
    rows = {table: place.warehouse.read("movies", table) for table in EXACT}
    # The fingerprints of models, which rest on neighbours, whose last digits differ.
    rows["evaluation"] = rows["evaluation"].drop_columns(["model"])
    return {table: content_digest(own, table) for table, own in rows.items()}


def test_tables_are_those_of_one_process(finished, finished_copy, run_facts):
    with finished_copy.warehouse.connect("movies") as connection:
        for (table,) in connection.execute("from (show tables) select name").fetchall():
            connection.execute(f'drop table "{table}"')
    result = finished_copy.run("movies")
    assert result.success
    _, figures = run_facts
    assert figures(result, "movies", "item_embeddings")["texts_encoded"] == 0
    assert figures(result, "movies", "recommendations")["computed_on"] == "Ray on this machine"
    assert tables(finished_copy) == tables(finished.place)
    here, there = (
        place.warehouse.read("movies", "item_neighbours").to_pandas()
        for place in (finished.place, finished_copy)
    )
    pd.testing.assert_frame_equal(there, here, rtol=1e-6)


def test_texts_are_encoded_and_nothing_is_made_again_elsewhere(
    movies_slice, tmp_path, monkeypatch, run_facts
):
    materialised, figures = run_facts
    place = movies_slice.copy(tmp_path / "place")
    result = place.run("movies")
    assert result.success
    encoded = figures(result, "movies", "item_embeddings")
    assert encoded["texts_encoded"] > 100
    assert encoded["computed_on"] == "Ray on this machine"

    monkeypatch.setenv("RECSYS_COMPUTE", "local")
    again = place.run("movies")
    assert again.success
    left = {name: figures(again, "movies", name) for name in materialised(again)}
    assert [name for name, own in left.items() if own.get("unchanged") is False] == []


def test_what_is_wrong_on_a_node_is_what_the_run_says(movies_slice, tmp_path, monkeypatch):
    place = movies_slice.copy(tmp_path / "place")
    monkeypatch.setattr(SentenceEncoder, "files", "other files")
    with dg.DagsterInstance.ephemeral() as instance:
        result = place.run("movies", instance=instance)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_key == "movies__item_embeddings"
    assert "Give all nodes the same image" in failure.step_failure_data.error.cause.message
