"""What a Dagster instance must be told for one run a catalog at a time, and for healing."""

import dagster as dg
from dagster._core.instance.config import PoolGranularity


def gaps(instance: dg.DagsterInstance) -> list[str]:
    """What the instance's `dagster.yaml` lacks, a sentence each with the lines to write."""
    found = []
    pools = instance.get_concurrency_config().pool_config
    if pools.pool_granularity != PoolGranularity.RUN or pools.default_pool_limit is None:
        found.append(
            "dagster.yaml: runs of one catalog are not queued one after the other; write: "
            "concurrency: {pools: {granularity: run, default_limit: 1}}"
        )
    if not instance.run_monitoring_enabled:
        found.append(
            "dagster.yaml: a run that never starts or ends is not ended; write: "
            "run_monitoring: {enabled: true, start_timeout_seconds: 180, "
            "cancel_timeout_seconds: 60, max_runtime_seconds: 86400}"
        )
    return found
