"""Ray on this machine, with two workers, or as a cluster of three nodes."""

import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
OBJECT_STORE = 200 * 2**20


@pytest.fixture(scope="module", params=["two workers", "three nodes"])
def ray(request):
    """Ray, running, and connected to from this process."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        # Workers find the functions of these tests, as they do the package's.
        patch.setenv("PYTHONPATH", ":".join([HERE, *(each for each in sys.path if each)]))
        if request.param == "two workers":
            ray.init(
                address="local",
                num_cpus=2,
                include_dashboard=False,
                log_to_driver=False,
                object_store_memory=OBJECT_STORE,
            )
            yield ray
            ray.shutdown()
            return
        from ray.cluster_utils import Cluster

        of_a_node = {"num_cpus": 1, "object_store_memory": OBJECT_STORE}
        cluster = Cluster(
            initialize_head=True, head_node_args={**of_a_node, "include_dashboard": False}
        )
        for _ in range(2):
            cluster.add_node(**of_a_node)
        ray.init(address=cluster.address, log_to_driver=False)
        yield ray
        ray.shutdown()
        cluster.shutdown()
