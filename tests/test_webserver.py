"""The real webserver and daemon: the graph over GraphQL, and one stage run alone."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError

import pytest

from recsys_dagster.home import prepare_dagster_home
from recsys_dagster.schemas import TABLES

PATIENCE_SECONDS = 600
"""For each thing that is waited for: a machine may be busy with other work."""
ROOT = Path(__file__).parents[1]

GRAPH = """
query { repositoriesOrError { ... on RepositoryConnection { nodes {
  name location { name } assetNodes { assetKey { path } groupName dependencyKeys { path } }
} } } }
"""
LAUNCH = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on PythonError { message stack }
  ... on InvalidSubsetError { message }
  ... on RunConfigValidationInvalid { errors { message } }
} }
"""
RUN = """
query ($id: ID!) { runOrError(runId: $id) { ... on Run {
  status
  assetMaterializations { assetKey { path } }
  eventConnection { events { __typename ... on MessageEvent { message } } }
} } }
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`dagster dev` in a process group of its own."""

    def __init__(self, log: Path, environment: dict[str, str]):
        self.log = log
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/graphql"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    Path(sys.executable).with_name("dagster"),
                    *("dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)),
                ],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ask(self, query: str, **variables) -> dict:
        request = urllib.request.Request(
            self.url,
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def until(self, what: str, look):
        """Ask until there is an answer; fails with the server's log when time is up."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                found = look()
            except (URLError, ConnectionError, TimeoutError):
                found = None
            if found:
                return found
            time.sleep(0.5)
        pytest.fail(f"{what} did not come; the server said:\n{self.log.read_text()[-4000:]}")

    def stop(self) -> None:
        try:
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self.process.pid, signal.SIGINT)
                self.process.wait(60)
        finally:
            # Also what outlived its parent: the group is ours alone.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(15)


@pytest.fixture
def server(finished_copy, tmp_path, monkeypatch):
    finished_copy.environment(monkeypatch)
    prepare_dagster_home()
    server = Server(tmp_path / "server.log", dict(os.environ))
    yield server
    server.stop()


def test_the_graph_is_served_and_a_stage_runs_alone(server):
    def repositories():
        return server.ask(GRAPH)["repositoriesOrError"].get("nodes")

    (repository,) = server.until("the code location", repositories)
    assert repository["location"]["name"] == "recsys"
    depends_on = {
        tuple(node["assetKey"]["path"]): {tuple(key["path"]) for key in node["dependencyKeys"]}
        for node in repository["assetNodes"]
    }
    sources = {"interactions_source", "items_source"}
    assert {key[1] for key in depends_on} == {*TABLES, "published", *sources}
    assert {key[0] for key in depends_on} == {"movies"}
    groups = {node["assetKey"]["path"][1]: node["groupName"] for node in repository["assetNodes"]}
    measuring = {"evaluation_split", "tuning", "evaluation"}
    assert {table for table, group in groups.items() if group == "movies_quality"} == measuring
    assert set(groups.values()) == {"movies", "movies_quality"}
    assert depends_on[("movies", "raw_items")] == {("movies", "items_source")}
    assert depends_on[("movies", "interactions")] == {("movies", "raw_interactions")}
    assert depends_on[("movies", "popular_items")] == {("movies", "histories"), ("movies", "items")}
    assert depends_on[("movies", "model")] == {
        ("movies", table) for table in ("histories", "item_embeddings", "item_neighbours", "tuning")
    }
    assert depends_on[("movies", "evaluation")] == {
        ("movies", table)
        for table in ("evaluation_split", "item_embeddings", "item_neighbours", "tuning")
    }
    assert ("movies", "recommendations") in depends_on[("movies", "published")]

    launched = server.ask(
        LAUNCH,
        params={
            "selector": {
                "repositoryLocationName": "recsys",
                "repositoryName": repository["name"],
                "pipelineName": "refresh_movies",
                "assetSelection": [{"path": ["movies", "popular_items"]}],
                "assetCheckSelection": [],
            },
            "mode": "default",
        },
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]

    def ended():
        run = server.ask(RUN, id=run_id)["runOrError"]
        return run if run["status"] in ("SUCCESS", "FAILURE", "CANCELED") else None

    run = server.until("the end of the run", ended)
    assert run["status"] == "SUCCESS", run["eventConnection"]
    assert run["assetMaterializations"] == [{"assetKey": {"path": ["movies", "popular_items"]}}]
