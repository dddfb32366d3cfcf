"""A catalog whose tables and snapshots lie on object storage, from the sensor to the server."""

import dagster as dg
import pytest
from fastapi.testclient import TestClient

from recsys_dagster.automation.sensors import watch_sensor
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.cli import app as commands
from recsys_dagster.home import snapshots_folder
from recsys_dagster.resources.published_tables import PublishedTables
from recsys_dagster.serving.app import ServerSettings, create_app
from recsys_dagster.serving.guard import Limits
from recsys_dagster.snapshots.current import names
from recsys_dagster.snapshots.reader import Snapshot
from tests.conftest import TINY_SETTINGS, figures, materialised

pytestmark = pytest.mark.objects


@pytest.fixture
def shop(tiny, put, bucket, environment, tmp_path):
    """The tiny catalog with its tables in a bucket, which it is published to as well."""
    place = tiny()
    environment.setenv("RECSYS_SNAPSHOTS", f"{bucket}/snapshots/")
    for name in ("interactions.csv", "items.csv"):
        put(f"tables/{name}", (place.data / name).read_bytes())
        (place.data / name).unlink()
    tables = {
        "interactions": {"source": "${TABLES}/interactions*.csv", "positive": "rating >= 4"},
        "items": {"source": "${TABLES}/items.csv", "text": "{title}. {genres}"},
    }
    environment.setenv("TABLES", f"{bucket}/tables")
    place.write_catalog("tiny", TINY_SETTINGS | tables | {"refresh": {"settle_seconds": 0}})
    return place


def tick(place, instance, cursor=None):
    context = dg.build_sensor_context(instance, cursor=cursor)
    return watch_sensor(place.catalog("tiny")).evaluate_tick(context)


def test_from_the_sensor_to_the_server(shop, put, environment, reconnect, tmp_path, capsys):
    instance = dg.DagsterInstance.ephemeral()
    first_tick = tick(shop, instance)
    assert len(first_tick.run_requests) == 1
    first = shop.run("tiny")
    assert first.success
    assert figures(first, "tiny", "published")["snapshot"].startswith("s3://")
    again = shop.run("tiny")
    assert again.success
    assert figures(again, "tiny", "published")["unchanged"]
    assert tick(shop, instance, first_tick.cursor).skip_message == "no content has changed"

    put("tables/interactions-2.csv", "user_id,item_id,rating,timestamp\nnew,love1,5,2024-03-01\n")
    assert len(tick(shop, instance, first_tick.cursor).run_requests) == 1
    second = shop.run("tiny")
    assert second.success
    assert figures(second, "tiny", "raw_interactions")["rows_read"] == 1
    assert figures(second, "tiny", "raw_interactions")["source"] == "${TABLES}/interactions*.csv"
    assert "published" in materialised(second)

    # Another machine has neither tables nor warehouse, and no catalog file.
    environment.setenv("RECSYS_HOME", str(tmp_path / "other"))
    folder = snapshots_folder()
    assert Snapshot.current(folder, "tiny").knows("new")
    assert PublishedTables().read("tiny", "items").num_rows == 10
    commands.recommend("tiny", "new", as_json=True)
    assert '"rank": 1' in capsys.readouterr().out

    settings = ServerSettings(
        folder, Catalogs({}), tmp_path / "keys.json", limits=Limits(requests_per_second=0)
    )
    answers = "/v1/tiny/users/user-zq-11/recommendations"
    newest, oldest = names(folder, "tiny")
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        assert client.get(answers).json()["snapshot"] == newest
        commands.rollback("tiny")
        client.app.state.catalogs.look()
        assert client.get(answers).json()["snapshot"] == oldest
        assert client.get("/c/tiny/quality").status_code == 200
        environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        reconnect()
        client.app.state.catalogs.look()
        assert client.get(answers).json()["snapshot"] == oldest
    # Nor does one that starts without a network wait for it.
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        assert client.get(answers).json()["snapshot"] == oldest


def test_cleaning_up_and_what_is_said_of_a_run_that_failed(shop, put, environment):
    assert shop.run("tiny").success
    job = shop.definitions().resolve_job_def("clean_up")
    assert job.execute_in_process(instance=dg.DagsterInstance.ephemeral()).success
    snapshot = Snapshot.current(snapshots_folder(), "tiny")
    snapshot.verify()
    put("tables/items.csv", "no,header\n")
    assert not shop.run("tiny").success
    assert Snapshot.current(snapshots_folder(), "tiny").path == snapshot.path
