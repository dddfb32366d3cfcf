"""The figures of the README, each beside what is aimed at.

`python -m benchmarks.foundation --json FILE` also writes them as rows of name, value and unit.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import cli, dagster_overhead, encode, l3ae, neighbours

PARTS: dict[str, Callable[[], list[dict]]] = {
    "encode": lambda: encode.measure(encode.film_texts(), repeats=5),
    "topk": neighbours.measure,
    "scoring": neighbours.measure_scoring,
    "l3ae": l3ae.measure,
    "dagster": dagster_overhead.measure,
    "cli": cli.measure,
}
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Aim:
    """A bound that a figure should keep.

    Attributes:
        bound: the value aimed at.
        at_least: whether the figure should be no less; else no more.
    """

    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        """Whether a figure keeps it."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


def aims() -> dict[str, Aim]:
    """What is aimed at on this machine, by the name of the figure."""
    return {
        "encode.speedup": Aim(1.6 if _has_avx512_bf16() else 1.0, at_least=True),
        "encode.min_cosine": Aim(0.999, at_least=True),
        "topk.vs_sklearn": Aim(10, at_least=True),
        "topk.vs_faiss": Aim(0.95, at_least=True),
        "scoring.vs_gemm": Aim(0.9, at_least=True),
        "scoring.masked_vs_gemm": Aim(0.75, at_least=True),
        "l3ae_fit.speedup": Aim(4, at_least=True),
        "l3ae_fit.max_error": Aim(1e-5, at_least=False),
        "second_run.share": Aim(0.1, at_least=False),
        "cli.recommend_ratio": Aim(3, at_least=False),
        "cli.help_ratio": Aim(2, at_least=False),
    }


def _has_avx512_bf16() -> bool:
    return CPUINFO.is_file() and "avx512_bf16" in CPUINFO.read_text("utf-8", "replace").split()


def as_table(rows: list[dict], title: str, aimed: Mapping[str, Aim]) -> Table:
    """Rows with their aims, and whether each is met."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for name, right in (("name", 0), ("value", 1), ("unit", 0), ("aim", 1), ("met", 0)):
        table.add_column(name, justify="right" if right else "left")
    for row in rows:
        name, value, aim = row["name"], row["value"], aimed.get(row["name"])
        met = "" if aim is None else "[green]yes[/]" if aim.met(value) else "[red]no[/]"
        shown = f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"
        table.add_row(name, shown, escape(row["unit"]), "" if aim is None else str(aim), met)
    return table


def run(parts: list[str], console: Console) -> list[dict]:
    """Measure parts in order; one that fails is said to, and the others go on."""
    rows: list[dict] = []
    for part in parts:
        try:
            with console.status(f"measuring {part}"):
                measured = PARTS[part]()
        except Exception:
            console.print(f"[red]{part} could not be measured:[/]")
            console.print_exception(max_frames=4)
            continue
        rows += measured
        values = {row["name"]: row["value"] for row in measured}
        # Two names of one time are how neighbours says that the whole matrix did not fit.
        if part == "topk" and values["topk.vs_sklearn"] == values["topk.vs_sklearn_blocks"]:
            console.print(
                "[yellow]Too little free memory for scikit-learn's whole score matrix (6.4 GB): "
                "topk.vs_sklearn was measured in blocks of rows, which is faster.[/]"
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument("--only", choices=PARTS, help="measure one part")
    options = parser.parse_args()
    console = Console()
    rows = run([options.only] if options.only else list(PARTS), console)
    console.print(as_table(rows, "Foundation", aims()))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
