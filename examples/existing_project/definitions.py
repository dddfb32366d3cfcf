"""Somebody's Dagster project, with a recommender on top of one of its assets."""

from pathlib import Path

import dagster as dg
import pandas as pd

from recsys_dagster import build_defs
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.demo import interactions


@dg.asset(key=["films", "ratings"])
def ratings() -> pd.DataFrame:
    """Ratings of the last few years, as this project's own pipeline makes them."""
    found = interactions()
    return found[found["timestamp"] >= pd.Timestamp("2014-01-01").timestamp()]


# Dagster takes one Definitions object a module: both parts are made inside of merge.
defs = dg.Definitions.merge(
    dg.Definitions(assets=[ratings]),
    build_defs(Catalogs.read(Path(__file__).parent / "catalogs")),
)
