"""Interactions: mostly accepted, some positive, not far fewer than those published."""

import dagster as dg

from recsys_dagster.assets.checks.common import (
    Checked,
    accepted_share,
    not_fallen,
    said_by,
    table_check,
)
from recsys_dagster.steps.prepare.soundness import needs_positives, some_positive


@table_check("interactions")
def interactions_accepted_share(checked: Checked) -> dg.AssetCheckResult:
    """Most rows of the source are accepted: otherwise a column was misread."""
    return accepted_share(checked, "interactions")


@table_check("interactions")
def interactions_some_positive(checked: Checked) -> dg.AssetCheckResult:
    """Somebody likes something: otherwise nothing is learned, and every score is 0."""
    pairs, positive = checked.numbers(
        "select count(*), count(*) filter (positive) from interactions"
    )
    return said_by(some_positive(pairs, positive, needs_positives(checked.catalog)))


@table_check("interactions")
def interactions_not_fallen(checked: Checked) -> dg.AssetCheckResult:
    """Interactions and their users are not far fewer than those of the published snapshot:
    otherwise the source was read while it was being written, or a part of it is missing.
    """
    pairs, users = checked.numbers("select count(*), count(distinct user_id) from interactions")
    return not_fallen(checked, {"interactions": pairs, "users": users})
