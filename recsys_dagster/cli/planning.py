"""What a catalog of some size would take: a table by stage, or JSON."""

import json
import sys
from dataclasses import asdict
from typing import Any

from recsys_dagster.cli.terminal import console, error_console, plain, titled
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.onboarding.sizing.plan import (
    CPU,
    DEVICES,
    WANTED_HOURS,
    Machine,
    StagePlan,
    in_all,
    plan,
)
from recsys_dagster.onboarding.sizing.quantities import (
    count_of,
    shown_bytes,
    shown_seconds,
    size_of,
)
from recsys_dagster.onboarding.sizing.rates import SHIPPED, Rates, known_rates
from recsys_dagster.onboarding.sizing.workload import DIMENSIONS, UNCOUNTED, Workload
from recsys_dagster.steps.models import STRATEGIES


def workload_of(users: str, items: str, interactions: str, strategy: str, encoder: str) -> Workload:
    """What is planned, as it was typed.

    Raises:
        UserError: a number or name that cannot be.
    """
    if strategy not in STRATEGIES:
        raise UserError(f"{strategy!r} is no strategy.{did_you_mean(strategy, STRATEGIES)}")
    if encoder not in DIMENSIONS:
        raise UserError(f"--encoder {encoder}: expected {', '.join(DIMENSIONS)}.")
    counts = {"--users": users, "--items": items, "--interactions": interactions}
    least = {"--items": 2}
    numbers = {name: count_of(own, name, least.get(name, 1)) for name, own in counts.items()}
    most = numbers["--users"] * numbers["--items"]
    if numbers["--interactions"] > most:
        raise UserError(
            f"--interactions {interactions}: there are {most:,} pairs of a user and an item, and "
            "an interaction is one of them."
        )
    return Workload(*numbers.values(), strategy=strategy, encoder=encoder)  # ty: ignore[invalid-argument-type]


def machine_of(device: str, cores: int | None, memory: str | None) -> Machine:
    """The machine that is planned for: this one, where nothing else is said.

    Raises:
        UserError: no such device, or no such memory.
    """
    from recsys_dagster.resources.machine import memory_limit, usable_cores

    if device not in (CPU, *DEVICES):
        raise UserError(
            f"--device {device}: expected {', '.join((CPU, *DEVICES))}."
            f"{did_you_mean(device, (CPU, *DEVICES))}"
        )
    limit = memory_limit() if memory is None else size_of(memory, "--memory")
    return Machine(cores or usable_cores(), limit, device)


def print_plan(work: Workload, machine: Machine, as_json: bool) -> None:
    """The table, and what it rests on; or JSON and nothing else."""
    rates = known_rates()
    stages = plan(work, machine, rates)
    if as_json:
        sys.stdout.write(json.dumps(_as_dict(work, machine, rates, stages), indent=2) + "\n")
        return
    heading = (
        f"{work.users:,} users, {work.items:,} items, {work.interactions:,} interactions: "
        f"{work.strategy}"
    )
    table = titled(heading)
    table.add_column("stage")
    for name in ("time", "memory", "storage"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("machines", overflow="fold")
    for stage in stages[:-1]:
        table.add_row(*_row(stage), end_section=stage is stages[-2])
    total = in_all(stages)
    sizes = (shown_bytes(total.memory), shown_bytes(total.storage))
    table.add_row("One refresh", shown_seconds(total.seconds), *sizes, "", style="bold")
    table.add_section()
    table.add_row(*_row(stages[-1]))
    console.print(table)
    for line in remarks(work, machine, rates, stages):
        console.print(plain(line), highlight=False)


def _row(stage: StagePlan) -> tuple[str, ...]:
    machines = "1"
    if not stage.fits:
        machines = f"1 with {shown_bytes(stage.needed_memory)}"
    if stage.is_worth_sharing:
        machines += f", {stage.machines:,} worker{'s' * (stage.machines > 1)}"
    storage = shown_bytes(stage.storage) if stage.storage else ""
    return stage.title, shown_seconds(stage.seconds), shown_bytes(stage.memory), storage, machines


def remarks(work: Workload, machine: Machine, rates: Rates, stages: list[StagePlan]) -> list[str]:
    """What a table rests on, in sentences."""
    memory = "any memory" if machine.memory is None else shown_bytes(machine.memory)
    device = "no GPU" if machine.device == CPU else DEVICES[machine.device].title
    lines = [
        f"A machine: {machine.cores} cores, {memory} for a run, {device}. One refresh: all stages "
        "on one machine, without workers. Serve: until the first answer."
    ]
    if any(stage.is_worth_sharing for stage in stages):
        part = "a part a core" if machine.device == CPU else "a part a core, of texts a GPU"
        lines.append(
            f"Workers: so many such machines, {part}, end a stage in {WANTED_HOURS} hours."
        )
    if any(not stage.fits for stage in stages):
        lines.append(
            "1 with …: a stage that needs more memory than the machine has cannot run there, since "
            "what stages hand to each other is held by one process. A machine for it should have "
            "so much, a quarter more than the stage takes."
        )
    if work.strategy in UNCOUNTED:
        lines.append(f"Not counted: what the fit of {work.strategy} takes.")
    where = "measured on this machine" if rates is not SHIPPED else "shipped with this version"
    lines.append(f"Rates: {where}, of {rates.machine}, {rates.measured_on}.")
    if machine.device != CPU:
        lines.append("GPUs are taken from their data sheets; none was measured.")
    if rates is SHIPPED:
        lines.append("`recsys plan --measure` measures this machine.")
    return lines


def _as_dict(
    work: Workload, machine: Machine, rates: Rates, stages: list[StagePlan]
) -> dict[str, Any]:
    named = [
        {"stage": stage.name, "title": stage.title}
        | {
            "seconds": stage.seconds,
            "memory_bytes": stage.memory,
            "storage_bytes": stage.storage,
            "machines": stage.machines,
            "can_be_shared": stage.can_be_shared,
            "fits": stage.fits,
        }
        for stage in stages
    ]
    return {
        "workload": asdict(work),
        "machine": asdict(machine),
        "stages": named,
        "refresh": {
            "seconds": in_all(stages).seconds,
            "memory_bytes": in_all(stages).memory,
            "storage_bytes": in_all(stages).storage,
        },
        "rates": {
            "machine": rates.machine,
            "measured_on": rates.measured_on,
            "shipped": rates is SHIPPED,
        },
    }


def measure_here() -> None:
    """Measure this machine, for every later plan."""
    from recsys_dagster.onboarding.sizing.measuring import measured_rates
    from recsys_dagster.onboarding.sizing.rates import require_writable_rates, write_rates

    require_writable_rates()
    with error_console.status("measuring") as status:

        def say(what: str) -> None:
            status.update(f"measuring: {what}")
            if not error_console.is_interactive:
                error_console.print(f"measuring: {what}")

        try:
            rates = measured_rates(say)
        except RuntimeError as error:
            raise UserError(f"This machine could not be measured: {error}") from None
    file = write_rates(rates)
    error_console.print(f"Measured {plain(rates.machine)}; wrote {plain(str(file))}")
