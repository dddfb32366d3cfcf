"""Tables of strangers: understood without an edit, or refused with the line to write."""

from pathlib import Path

import pandas as pd
import pytest

from recsys_dagster.catalog.files import read_catalog
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.cli.proposing import propose_catalog
from recsys_dagster.errors import UserError
from recsys_dagster.onboarding.inspection import inspect_catalog
from recsys_dagster.resources.sources import read_source
from recsys_dagster.resources.warehouse import to_pandas
from recsys_dagster.steps.prepare.interactions import parse_interactions
from recsys_dagster.steps.prepare.items import parse_items
from recsys_dagster.steps.prepare.texts import titles_from_texts
from tests.strangers.judging import Tables, misread
from tests.strangers.shapes import SHAPES


def understood(catalog: Catalog) -> Tables:
    """What the first stages of a run make of a catalog's sources."""
    raw = {
        name: to_pandas(read_source(source, catalog.folder).rows)
        for name, source in (
            ("interactions", catalog.interactions.source),
            ("items", catalog.items.source),
        )
    }
    now = pd.Timestamp.now("UTC").tz_localize(None)
    interactions = parse_interactions(raw["interactions"], catalog.interactions, now)
    items = parse_items(raw["items"], columns=catalog.items.columns)
    accepted = titles_from_texts(items.accepted, catalog.items.text)
    return Tables(interactions.accepted, interactions.rejected, accepted, items.rejected)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_stranger_is_understood_or_told_what_to_write(shape, tmp_path, monkeypatch):
    monkeypatch.setenv("RECSYS_CATALOGS", str(tmp_path / "catalogs"))
    folder = Path(tmp_path / shape.name)
    folder.mkdir()
    truth = shape.write(folder)
    try:
        catalog = read_catalog(propose_catalog(folder, None, force=False).file)
        faults = inspect_catalog(catalog).faults
    except UserError as error:
        faults = [str(error)]
    if faults:
        assert shape.refusal is not None, faults
        assert shape.refusal in "\n".join(faults)
    else:
        assert misread(truth, understood(catalog)) == []
