"""recent: what people liked lately, the same list for everybody."""

from typing import Annotated

import numpy as np
from pydantic import Field

from recsys_dagster.catalog.base import Settings
from recsys_dagster.steps.models.base import (
    MAX_DAYS,
    NOT_RANKED,
    POSITIVES,
    Arrays,
    Evidence,
    Search,
    Strategy,
)
from recsys_dagster.steps.models.popular import load, popularity


class RecentSettings(Settings):
    """What is recent."""

    days: Annotated[float, Field(gt=0, le=MAX_DAYS), Search((3, 7, 14, 30, 90, 365))] = Field(
        default=30.0, description="positives so long before the newest interaction count"
    )


def learn(evidence: Evidence, settings: RecentSettings) -> Arrays:
    """Popularity among the positive pairs of the last days.

    Items that nobody liked in that time are not ranked: `popular` fills them in. Where there are
    no times, those are all.
    """
    recent = evidence.behaviour.positives
    recent.data *= evidence.behaviour.ages.data <= settings.days
    recent.eliminate_zeros()
    shares = popularity(recent)
    return {"popularity": np.where(shares > 0, shares, NOT_RANKED)}


STRATEGY = Strategy(
    name="recent",
    settings=RecentSettings,
    formula="popular, of the positives of the last days: `r_ui = p_i`",
    columns=(*POSITIVES, "histories.last_timestamps"),
    learn=learn,
    load=load,
    needs_history=False,
)
