"""A sensor that fails as long as a catalog file does: what does not run cannot fail by itself."""

from collections.abc import Sequence

import dagster as dg

from recsys_dagster.catalog.files import FaultyCatalog
from recsys_dagster.errors import UserError

TOLD_EVERY_SECONDS = 600


def faulty_sensor(
    faulty: Sequence[FaultyCatalog], jobs: Sequence[dg.JobDefinition]
) -> dg.SensorDefinition | None:
    """The sensor whose every tick is a failure with the faults; None where every file is sound.

    Args:
        faulty: the files.
        jobs: of the catalogs that are sound; none of them is asked for.
    """
    if not faulty:
        return None

    @dg.sensor(
        name="faulty_catalogs",
        jobs=list(jobs),
        minimum_interval_seconds=TOLD_EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fails as long as a catalog file is faulty, and says why. The catalogs of the "
        "other files run as ever.",
    )
    def faulty_catalogs(_: dg.SensorEvaluationContext) -> None:
        raise UserError("\n".join(each.fault for each in faulty))

    return faulty_catalogs
