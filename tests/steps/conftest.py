"""Builders that several test modules share."""

import pandas as pd
import pytest
from hypothesis import settings

from recsys_dagster.steps.matrices import Behaviour

# The cores are shared: how long an example takes says nothing.
settings.register_profile("steps", deadline=None)
settings.load_profile("steps")


@pytest.fixture(scope="session")
def interactions_of():
    """The table `interactions` from (user, item[, weight[, positive[, last_timestamp]]])."""

    def build(*pairs):
        defaults = (1.0, True, pd.NaT)
        rows = [(*pair, *defaults[len(pair) - 2 :]) for pair in pairs]
        names = ["user_id", "item_id", "weight", "positive", "last_timestamp"]
        table = pd.DataFrame(rows, columns=names)
        return table.astype(
            {
                "user_id": "str",
                "item_id": "str",
                "weight": "float64",
                "positive": "bool",
                "last_timestamp": "datetime64[us]",
            }
        ).assign(
            first_timestamp=lambda table: table["last_timestamp"],
            interaction_count=1,
        )

    return build


@pytest.fixture(scope="session")
def behaviour_of(interactions_of):
    """Matrices of pairs as `interactions_of` takes them."""

    def build(pairs, users, items, half_life_days=180.0):
        return Behaviour.of(
            interactions_of(*pairs),
            pd.Series(users, dtype="str"),
            pd.Series(items, dtype="str"),
            half_life_days,
        )

    return build
