"""What is printed of measurements: strategies side by side, and the trials of a search."""

import json

import pandas as pd

from recsys_dagster.cli.program import program
from recsys_dagster.cli.terminal import console, plain, titled


def print_evaluation(name: str, split: str, table: pd.DataFrame) -> None:
    """Strategies by their last metric of rank, with intervals and differences to popular."""
    overall = table[table["slice"] == "all"].set_index(["strategy", "metric"])
    k = max(int(metric.partition("@")[2]) for metric in table["metric"] if "@" in metric)
    metrics = [f"{metric}@{k}" for metric in ("recall", "ndcg", "map", "hit_rate", "coverage")]
    names = sorted(
        dict.fromkeys(table["strategy"]), key=lambda own: -overall.loc[(own, metrics[1]), "value"]
    )
    users = int(overall["users"].max())
    shown = titled(f"{name}: split by {split}, {users:,} users")
    shown.add_column("strategy")
    for metric in [*metrics, f"{metrics[1]} over popular"]:
        shown.add_column(metric, justify="right")
    for own in names:
        cells = []
        for metric in metrics:
            row = overall.loc[(own, metric)]
            interval = "" if pd.isna(row["low"]) else f" [dim]±{(row.high - row.low) / 2:.3f}[/]"
            cells.append(f"{row['value']:.4f}{interval}")
        row = overall.loc[(own, metrics[1])]
        sure = "" if pd.isna(row.to_popular) else f"{row.to_popular:+.4f}"
        sure += "" if pd.isna(row.to_popular) or row.to_popular_p_holm < 0.05 else " [dim]unsure[/]"
        shown.add_row(own, *cells, sure)
    console.print(shown)


def print_tuning(name: str, table: pd.DataFrame) -> None:
    """Every trial of each strategy, what was found, and what to type next."""
    metric = table["metric"].iloc[0]
    users = int(table["users"].max())
    shown = titled(f"{name}: {metric} on validation, {users:,} users")
    for heading in ("strategy", "trial", metric, "gain", "seconds", "settings"):
        right = heading not in ("strategy", "settings")
        shown.add_column(heading, justify="right" if right else "left", overflow="fold")
    trials = table["strategy"].value_counts()
    for row in table.to_dict("records"):
        gain = f"{row['gain']:+.4f} [dim]±{row['gain_error']:.4f}[/]" if row["trial"] > 1 else ""
        shown.add_row(
            row["strategy"],
            str(row["trial"]),
            f"{row['value']:.4f}",
            gain,
            f"{row['seconds']:.1f}",
            plain(_as_text(row["settings"])),
            style="bold" if row["chosen"] else None,
            end_section=row["trial"] == trials[row["strategy"]],
        )
    console.print(shown)
    for row in table[table["chosen"]].to_dict("records"):
        said = "keeps its settings: nothing is ahead by more than its standard error"
        if row["trial"] > 1:
            said = f"{_as_text(row['settings'])} from now on, {row['gain']:+.4f}"
        console.print(f"[bold]{row['strategy']}[/]: {plain(said)}", highlight=False, soft_wrap=True)
    console.print(f"\nNext:\n  {plain(program())} run {name}", highlight=False, soft_wrap=True)


def _as_text(settings: str) -> str:
    found = json.loads(settings)
    return ", ".join(f"{knob} {value:g}" for knob, value in found.items()) or "its own settings"
