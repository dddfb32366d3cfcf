"""The YAML reference is the model's own: README and editors cannot say anything else."""

import json
from pathlib import Path

import pytest
import yaml

from recsys_dagster.catalog.reference import END, START, json_schema, markdown_reference
from recsys_dagster.catalog.settings import Catalog

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_has_the_reference_that_the_model_makes():
    text = README.read_text(encoding="utf-8")
    _, _, rest = text.partition(START)
    found, _, _ = rest.partition(END)
    assert found == markdown_reference(), "run: make reference"


def test_every_key_is_explained():
    for line in markdown_reference().splitlines():
        if line.startswith("| `"):
            _, _, _, meaning = line.strip("| ").split(" | ")
            assert meaning, line


def examples_in_the_readme() -> list[str]:
    blocks = README.read_text(encoding="utf-8").split("```yaml\n")[1:]
    return [block.partition("```")[0] for block in blocks]


@pytest.mark.parametrize("text", examples_in_the_readme())
def test_the_catalogs_in_the_readme_are_catalogs(text):
    assert Catalog.model_validate(yaml.safe_load(text)).name == "shop"


def test_the_schema_knows_short_and_long_forms():
    schema = json.loads(json_schema())
    kinds = schema["$defs"]["ItemsSettings"]["properties"]["source"]["anyOf"]
    assert {"type": "string"} in kinds
    assert {"$ref": "#/$defs/SourceSettings"} in kinds
    assert "folder" not in schema["properties"]
    assert schema["additionalProperties"] is False
