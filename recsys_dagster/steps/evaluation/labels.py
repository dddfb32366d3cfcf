"""The parts that a column of the source gives pairs."""

from collections.abc import Iterable, Mapping

import pandas as pd

from recsys_dagster.errors import UserError
from recsys_dagster.steps.prepare.columns import own_columns, require_column
from recsys_dagster.steps.prepare.ids import as_ids


def label_columns(
    names: Iterable[str], column: str | None, columns: Mapping[str, str]
) -> dict[str, str]:
    """The columns of `raw_interactions` that say which part a pair is in, by our names.

    Args:
        names: all its columns.
        column: of the source, with the labels.
        columns: explicit source names of user_id and item_id.

    Raises:
        UserError: the source lacks one.
    """
    own = own_columns(names)
    if column is None or column not in own:
        raise UserError(
            f"raw_interactions: evaluation: column: {column!r} is not in the source. Found: "
            f"{', '.join(map(repr, own))}."
        )
    keys = {
        wanted: require_column(wanted, own, columns, "raw_interactions")
        for wanted in ("user_id", "item_id")
    }
    return keys | {"label": column}


def labels_of(
    raw_interactions: pd.DataFrame,
    interactions: pd.DataFrame,
    column: str | None,
    columns: Mapping[str, str],
) -> pd.Series:
    """The last label that the source has of each pair.

    Args:
        raw_interactions: the columns of `label_columns` of it.
        interactions: table `interactions`.
        column: of the source, with the labels.
        columns: explicit source names of user_id and item_id.

    Returns:
        as the source has them, with the index of `interactions`; null where a pair has none.

    Raises:
        UserError: the source has no such column.
    """
    found = label_columns(raw_interactions.columns, column, columns)
    labelled = pd.DataFrame(
        {
            ours: raw_interactions[name] if ours == "label" else as_ids(raw_interactions[name])
            for ours, name in found.items()
        }
    )
    labelled = labelled.drop_duplicates(["user_id", "item_id"], keep="last")
    pairs = interactions[["user_id", "item_id"]]
    joined = pairs.merge(labelled, on=["user_id", "item_id"], how="left")
    return joined["label"].set_axis(interactions.index)
