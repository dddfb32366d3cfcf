"""A process that is told how much memory it may take keeps to it, in a child that is measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GIB = 2**30
FIT = """
import json, resource
import numpy as np
from scipy import sparse
from making import evidence_of
from recsys_dagster.resources.training import Training
from recsys_dagster.steps.models import STRATEGIES
from dataclasses import replace
from pathlib import Path
import sys

items = 14_000
random = np.random.default_rng(0)
columns = (items * random.random(400_000) ** 3).astype(int)
X = sparse.csr_matrix(
    (np.ones(400_000, np.float32), (random.integers(0, 9_000, 400_000), columns)),
    shape=(9_000, items),
)
X.data[:] = 1
trainer = Training(Path(sys.argv[1]), "x", lambda _: None).trainer
strategy = STRATEGIES["ease"]
learned = strategy.learn(replace(evidence_of(X), trainer=trainer), strategy.settings())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"peak": peak, "about": strategy.about(learned)}))
"""


@pytest.mark.faults
def test_a_fit_keeps_to_the_limit(tmp_path):
    def peak_with(limit):
        paths = [str(folder) for folder in ("tests/steps/models", Path.cwd())]
        environment = os.environ | {
            "RECSYS_MEMORY_LIMIT": limit,
            "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
        }
        done = subprocess.run(
            [sys.executable, "-c", FIT, str(tmp_path)],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout)

    limited = peak_with("1GiB")
    assert 500 <= limited["about"]["head"] < limited["about"]["learned"]
    assert limited["peak"] < GIB
    free = peak_with("100%")
    assert free["about"] == {}
    assert free["peak"] > GIB
