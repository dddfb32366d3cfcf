"""Builders that several test modules share."""

import pandas as pd
import pytest
from hypothesis import settings

from recsys_dagster.schemas import INTERACTIONS
from recsys_dagster.steps.models.behaviour import Behaviour
from recsys_dagster.steps.prepare.histories import histories_table

# The cores are shared: how long an example takes says nothing.
settings.register_profile("steps", deadline=None)
settings.load_profile("steps")


@pytest.fixture(scope="session")
def interactions_of():
    """The table `interactions` from (user, item[, weight[, positive[, last_timestamp]]]).

    `position` and `left_out` give one value a pair, where they are not null and false.
    """

    def build(*pairs, position=None, left_out=None):
        defaults = (1.0, True, pd.NaT)
        rows = [(*pair, *defaults[len(pair) - 2 :]) for pair in pairs]
        names = ["user_id", "item_id", "weight", "positive", "last_timestamp"]
        table = pd.DataFrame(rows, columns=names)
        table = table.astype(
            {
                "user_id": "str",
                "item_id": "str",
                "weight": "float64",
                "positive": "bool",
                "last_timestamp": "datetime64[us]",
            }
        ).assign(
            first_timestamp=lambda table: table["last_timestamp"],
            last_position=pd.Series(position, index=table.index, dtype="float64"),
            interaction_count=1,
            left_out=pd.Series(left_out or False, index=table.index, dtype="bool"),
        )
        return table[INTERACTIONS.column_names]

    return build


@pytest.fixture(scope="session")
def items_of():
    """The table `items` of ids, all available but for those named."""

    def build(item_ids, unavailable=()):
        ids = pd.Series(list(item_ids), dtype="str")
        return pd.DataFrame(
            {
                "item_id": ids,
                "title": ids,
                "title_source": "item_id",
                "category": pd.Series(None, index=ids.index, dtype="str"),
                "available": ~ids.isin(list(unavailable)),
                "created_at": pd.Series(pd.NaT, index=ids.index, dtype="datetime64[us]"),
            }
        )

    return build


@pytest.fixture(scope="session")
def behaviour_of(interactions_of):
    """Matrices of pairs as `interactions_of` takes them."""

    def build(
        pairs,
        users,
        items,
        half_life_days=180.0,
        half_life_positions=50.0,
        unavailable=(),
        **of_pairs,
    ):
        histories = histories_table(
            interactions_of(*pairs, **of_pairs),
            pd.Series(users, dtype="str"),
            half_life_days,
            half_life_positions,
        )
        can_be_had = [item for item in items if item not in unavailable]
        return Behaviour.of(histories, list(items), can_be_had)

    return build
