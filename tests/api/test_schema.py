"""Requests made up from the OpenAPI document: the server keeps to what it says of itself.

schemathesis is run as a program, because its plugin for pytest does not keep up with pytest.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.conftest import NAME, listening, own_shop, shop  # noqa: F401 - fixtures

pytestmark = pytest.mark.api

EXAMPLES = 150
SETTINGS = f"""
[parameters]
# Most requests are to go further than a catalog that there is not.
"path.catalog" = "{NAME}"
"""


def test_answers_are_as_described(listening, tmp_path):  # noqa: F811
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(SETTINGS, encoding="utf-8")
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "--config-file",
            str(settings),
            "run",
            f"{listening}/openapi.json",
            "--max-examples",
            str(EXAMPLES),
            "--seed",
            "1",
            "--checks",
            "all",
            # What a body says may be wrong by the catalog's data, which no schema knows.
            "--exclude-checks",
            "positive_data_acceptance",
            "--generation-database",
            "none",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-20_000:]
