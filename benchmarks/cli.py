"""How long a person waits for a list or for help, beside loading what neither can do without."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.synthetic import NAME, publish_synthetic

ITEMS, USERS = 500, 1_000
REPEATS = 9
LEAST = "import typer, duckdb"
LEAST_FOR_HELP = "import typer"


def measure() -> list[dict]:
    """`recsys recommend CATALOG USER` and `recsys --help`, in turn with the least there is of each.

    Returns:
        Rows {"name", "value", "unit"}: `cli.recommend_ratio`, the median seconds of the command
        over those of loading typer and duckdb; `cli.recommend_ms`, the command's;
        `cli.help_ratio`, those of help over loading typer.
    """
    recsys = str(Path(sys.executable).with_name("recsys"))
    with tempfile.TemporaryDirectory(prefix="recsys-bench-") as home:
        (user,) = publish_synthetic(Path(home), ITEMS, USERS).some_users(1)
        environment = os.environ | {"RECSYS_HOME": home}
        commands = [
            [recsys, "recommend", NAME, user],
            [sys.executable, "-c", LEAST],
            [recsys, "--help"],
            [sys.executable, "-c", LEAST_FOR_HELP],
        ]
        for command in commands:
            _seconds(command, environment)
        rounds = [[_seconds(command, environment) for command in commands] for _ in range(REPEATS)]
    ours, least, of_help, least_of_help = (median(times) for times in zip(*rounds, strict=True))
    return [
        {"name": "cli.recommend_ratio", "value": ours / least, "unit": "of loading typer, duckdb"},
        {"name": "cli.recommend_ms", "value": 1_000 * ours, "unit": "ms"},
        {"name": "cli.help_ratio", "value": of_help / least_of_help, "unit": "of loading typer"},
    ]


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
