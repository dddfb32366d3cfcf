"""The server starts neither Dagster nor torch, and its client nothing of the pipeline."""

import json
import os
import subprocess
import sys

ASKED = """
import json, sys
from pathlib import Path
from fastapi.testclient import TestClient
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.serving.app import ServerSettings, create_app
home, catalogs = Path(sys.argv[1]), Path(sys.argv[2])
settings = ServerSettings(home / "snapshots", Catalogs.read(catalogs), home / "keys.json")
with TestClient(create_app(settings), base_url="http://localhost") as client:
    user = client.get("/v1/tiny/users/user-zq-11/recommendations?n=5").json()
    history = client.post("/v1/tiny/recommendations", json={"items": ["space1"]}).json()
print(json.dumps([user["how"], history["how"], sorted(sys.modules)]))
"""


def test_lists_and_histories_are_answered_without_dagster_and_torch(shop):
    done = subprocess.run(
        [sys.executable, "-c", ASKED, str(shop.home), str(shop.catalogs)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    stored, computed, modules = json.loads(done.stdout)
    assert (stored, computed) == ("stored", "computed")
    assert not {"dagster", "torch", "sentence_transformers", "faiss", "matplotlib"} & set(modules)


def test_the_client_needs_httpx_alone():
    code = "import json, sys, recsys_dagster.client; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stdout))
    assert "httpx" in modules
    assert not {"dagster", "duckdb", "numpy", "pyarrow", "pydantic", "fastapi"} & modules
