"""The parts that a column of the source gives pairs."""

from collections.abc import Mapping

import pandas as pd

from recsys_dagster.errors import UserError
from recsys_dagster.steps.prepare.columns import own_columns, require_column
from recsys_dagster.steps.prepare.ids import as_ids


def labels_of(
    raw_interactions: pd.DataFrame,
    interactions: pd.DataFrame,
    column: str | None,
    columns: Mapping[str, str],
) -> pd.Series:
    """The last label that the source has of each pair.

    Args:
        raw_interactions: table `raw_interactions`.
        interactions: table `interactions`.
        column: of the source, with the labels.
        columns: explicit source names of user_id and item_id.

    Returns:
        as the source has them, with the index of `interactions`; null where a pair has none.

    Raises:
        UserError: the source has no such column.
    """
    names = own_columns(raw_interactions.columns)
    if column not in names:
        raise UserError(
            f"raw_interactions: evaluation: column: {column!r} is not in the source. Found: "
            f"{', '.join(map(repr, names))}."
        )
    keys = {
        wanted: as_ids(raw_interactions[require_column(wanted, names, columns, "raw_interactions")])
        for wanted in ("user_id", "item_id")
    }
    labelled = pd.DataFrame(keys | {"label": raw_interactions[column]})
    labelled = labelled.drop_duplicates(["user_id", "item_id"], keep="last")
    pairs = interactions[["user_id", "item_id"]]
    joined = pairs.merge(labelled, on=["user_id", "item_id"], how="left")
    return joined["label"].set_axis(interactions.index)
