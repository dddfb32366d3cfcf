"""Another pipeline reads what is published, in the type that it asks for."""

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from recsys_dagster.errors import UserError
from recsys_dagster.resources.published_tables import PublishedTables


def loaded(place, table, type_):
    """What an asset of somebody else's is given."""
    given = []

    def mailing(rows):
        given.append(rows)

    mailing.__annotations__ = {"rows": type_}
    key = dg.AssetKey(["tiny", table])
    asset = dg.asset(ins={"rows": dg.AssetIn(key, input_manager_key="published")})(mailing)
    published = dg.AssetSpec(key)
    resources = {"published": PublishedTables(folder=str(place.snapshots))}
    assert dg.materialize([published, asset], resources=resources, selection=[asset]).success
    return given[0]


@pytest.mark.parametrize("type_", [pd.DataFrame, pa.Table])
def test_a_table_comes_in_the_type_that_is_asked_for(published_tiny, type_):
    found = loaded(published_tiny, "recommendations", type_)
    assert isinstance(found, type_)
    assert len(found) > 0


def test_polars_frames_where_polars_is_there(published_tiny):
    polars = pytest.importorskip("polars")
    assert loaded(published_tiny, "items", polars.DataFrame).height == 10


def test_what_is_not_published_is_said(published_tiny):
    tables = PublishedTables(folder=str(published_tiny.snapshots))
    with pytest.raises(UserError, match="Did you mean 'recommendations'"):
        tables.read("tiny", "recommendation")
    with pytest.raises(UserError, match="has published nothing yet"):
        tables.read("shop", "items")
