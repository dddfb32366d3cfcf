"""What a plan says: the arithmetic, held to the code that does the work; times are not."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_dagster.errors import UserError
from recsys_dagster.onboarding.sizing import rates as rates_module
from recsys_dagster.onboarding.sizing.measuring import (
    PUBLISHED_BY,
    SECONDS_BY,
    SIZES,
    STORED_BY,
    TABLES,
    Sample,
    rates_of,
    slopes,
    steps_of,
)
from recsys_dagster.onboarding.sizing.one_run import OneRun, Step
from recsys_dagster.onboarding.sizing.plan import (
    BASE_BYTES,
    CPU,
    DEVICES,
    STAGES,
    WANTED_HOURS,
    Machine,
    in_all,
    memory_of,
    plan,
)
from recsys_dagster.onboarding.sizing.quantities import (
    count_of,
    shown_bytes,
    shown_seconds,
    size_of,
)
from recsys_dagster.onboarding.sizing.rates import SHIPPED, known_rates, rates_file, write_rates
from recsys_dagster.onboarding.sizing.workload import Workload, counts_of
from recsys_dagster.schemas import TABLES as ALL_TABLES
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.memory import GIB, MAX_DENSE, MAX_HEAD, needed_bytes

SMALL = Workload(users=1_000, items=500, interactions=20_000)
HUGE = Workload(users=100_000_000, items=10_000_000, interactions=10_000_000_000)
HERE = Machine(cores=2, memory=16 * GIB)
sizes = st.builds(
    Workload,
    users=st.integers(1, 10**8),
    items=st.integers(2, 10**7),
    interactions=st.integers(1, 10**10),
    strategy=st.sampled_from(sorted(STRATEGIES)),
    encoder=st.sampled_from(["exact", "fast", "tiny", "tfidf"]),
)
machines = st.builds(
    Machine,
    cores=st.integers(1, 128),
    memory=st.none() | st.integers(GIB, 4096 * GIB),
    device=st.sampled_from([CPU, *DEVICES]),
)


def seconds_of(work: Workload, machine: Machine = HERE) -> dict[str, float]:
    return {stage.name: stage.seconds for stage in plan(work, machine, SHIPPED)}


class TestNumbersAsPeopleWriteThem:
    @pytest.mark.parametrize(
        "written",
        ["1e8", "1E8", "100M", "100m", "0.1b", "100_000_000", "100,000,000", "100000k", " 1e+8 "],
    )
    def test_a_hundred_million(self, written):
        assert count_of(written, "--users") == 100_000_000

    @pytest.mark.parametrize(
        "written",
        [
            "",
            "many",
            "-5",
            "0",
            "1.5",
            "1e99",
            "nan",
            "inf",
            "1e8e8",
            "5 TB",
            "１０",
            "1,5M",
            "2,5k",
        ],
    )
    def test_what_is_none_is_refused_by_name(self, written):
        with pytest.raises(UserError, match=r"--users.*expected a whole number"):
            count_of(written, "--users")

    @pytest.mark.parametrize("written", ["64GiB", "64gib", "64Gi", "64 GiB", "65536MiB"])
    def test_memory(self, written):
        assert size_of(written, "--memory") == 64 * GIB

    def test_decimal_memory_is_less(self):
        assert size_of("64GB", "--memory") == size_of("64G", "--memory") == 64 * 10**9

    @pytest.mark.parametrize(
        "written", ["64", "1MiB", "lots", "-1GiB", "1e3GiB", "2000000TiB", f"{'9' * 400}GiB"]
    )
    def test_no_memory(self, written):
        with pytest.raises(UserError, match=r"--memory.*at least 1 GiB"):
            size_of(written, "--memory")

    @pytest.mark.parametrize(
        ("seconds", "shown"),
        [
            (0.2, "under 1 s"),
            (12, "12 s"),
            (99, "99 s"),
            (600, "10 min"),
            (4 * 3600, "4.0 h"),
            (30 * 86_400, "30 days"),
            (5e9, "57,870 days"),
        ],
    )
    def test_times(self, seconds, shown):
        assert shown_seconds(seconds) == shown

    def test_sizes(self):
        assert [shown_bytes(n) for n in (12, 5 * 2**20, 64 * GIB, 3 * 2**50)] == [
            "12 B",
            "5.0 MiB",
            "64 GiB",
            "3.0 PiB",
        ]


class TestWhatThereIsToDo:
    def test_all_pairs_are_compared_up_to_the_setting_and_an_index_is_asked_above(self):
        exact = dataclasses.replace(HUGE, max_exact_pairs=math.inf)
        pairs = HUGE.users * HUGE.items + HUGE.items**2
        assert counts_of(exact, None)["compared"] == pairs * HUGE.dimension
        assert counts_of(exact, None)["scanned"] == 0
        asked = counts_of(HUGE, None)
        assert asked["compared"] + asked["scanned"] < 0.01 * pairs * HUGE.dimension
        assert counts_of(HUGE, None, searched_by_gpu=True)["scanned"] == 0

    def test_a_fit_is_dense_while_that_fits_and_of_a_head_above(self):
        of_all = counts_of(Workload(1_000, MAX_DENSE, 1_000), None)
        assert of_all["cubes"] == MAX_DENSE**3
        assert of_all["tail"] == 0
        of_head = counts_of(Workload(1_000, MAX_DENSE + 1, 1_000), None)
        assert of_head["cubes"] == MAX_HEAD**3
        assert of_head["tail"] == MAX_HEAD * (MAX_DENSE + 1)

    def test_its_memory_is_what_the_fit_itself_asks_for(self):
        for items in (500, MAX_DENSE, 200_000, 10_000_000):
            work = Workload(1_000, items, 1_000)
            assert counts_of(work, 8 * GIB)["fit_bytes"] == needed_bytes(items, items, 8 * GIB)

    def test_less_memory_makes_the_head_smaller(self):
        work = Workload(1_000, 100_000, 1_000_000)
        assert counts_of(work, 2 * GIB)["cubes"] < counts_of(work, 64 * GIB)["cubes"]

    def test_strategies_without_weights_have_no_fit(self):
        counts = counts_of(dataclasses.replace(SMALL, strategy="popular"), None)
        assert counts["cubes"] == counts["fit_bytes"] == counts["scored"] == 0

    def test_lists_are_no_longer_than_the_catalogue(self):
        assert counts_of(Workload(10, 5, 20), None)["list_rows"] == 50

    @given(sizes)
    def test_everything_that_has_a_rate_is_counted(self, work):
        counts = counts_of(work, None)
        asked = (SHIPPED.seconds, SHIPPED.memory, SHIPPED.storage)
        assert {n for by in asked for of in by.values() for n in of} <= counts.keys()
        assert {n for of in SECONDS_BY.values() for n in of} <= counts.keys()


class TestPlan:
    def test_every_stage_in_flow_order(self):
        assert [stage.name for stage in plan(SMALL, HERE, SHIPPED)] == list(STAGES)

    @given(sizes, machines)
    def test_it_is_finite_and_never_negative(self, work, machine):
        for stage in plan(work, machine, SHIPPED):
            for number in (stage.seconds, stage.memory, stage.storage, stage.machines):
                assert 0 <= number < math.inf
            assert stage.fits == (machine.memory is None or stage.memory <= machine.memory)

    @given(sizes, st.integers(1, 4))
    def test_more_users_and_interactions_never_take_less(self, work, factor):
        more = dataclasses.replace(
            work, users=factor * work.users, interactions=factor * work.interactions
        )
        one, other = plan(work, HERE, SHIPPED), plan(more, HERE, SHIPPED)
        for before, after in zip(one, other, strict=True):
            # Up to a number of pairs all are compared; the index above it takes less.
            if before.name not in ("similarity", "model"):
                assert after.seconds >= before.seconds
            assert after.memory >= before.memory
            assert after.storage >= before.storage

    def test_cores_share_what_can_be_shared_and_nothing_else(self):
        few, many = seconds_of(HUGE), seconds_of(HUGE, Machine(64, 16 * GIB))
        assert many["encode"] == pytest.approx(few["encode"] / 32, rel=0.01)
        assert many["read"] == few["read"]

    def test_a_gpu_encodes_and_compares(self):
        cpu, gpu = seconds_of(HUGE), seconds_of(HUGE, Machine(2, 16 * GIB, "a10"))
        faster = seconds_of(HUGE, Machine(2, 16 * GIB, "h100"))
        assert faster["encode"] < gpu["encode"] < cpu["encode"] / 50
        assert faster["similarity"] < gpu["similarity"]
        assert {gpu[name] - cpu[name] for name in ("read", "model", "lists")} == {0}

    def test_what_is_trained_for_some_minutes_takes_them(self):
        trained = dataclasses.replace(SMALL, strategy="neural")
        assert seconds_of(trained)["model"] >= 120

    @pytest.mark.parametrize("strategy", ["neural", "sequential", "auto"])
    def test_hybrid_is_fitted_beside_what_is_trained(self, strategy):
        alone = counts_of(SMALL, None)
        beside = counts_of(dataclasses.replace(SMALL, strategy=strategy), None)
        for name in ("cubes", "fit_bytes", "weights"):
            assert beside[name] == alone[name] > 0

    def test_what_wins_a_competition_is_fitted_once_more(self):
        chosen = seconds_of(dataclasses.replace(SMALL, strategy="auto"))["model"]
        trained = seconds_of(dataclasses.replace(SMALL, strategy="neural"))["model"]
        assert chosen - trained == pytest.approx(60 * STRATEGIES["auto"].settings().minutes)

    def test_as_many_workers_as_end_a_stage_in_time(self):
        one_core = dataclasses.replace(HERE, cores=1)
        lists = next(stage for stage in plan(HUGE, one_core, SHIPPED) if stage.name == "lists")
        hours = lists.seconds / lists.machines / 3600
        assert 0.9 * WANTED_HOURS < hours <= WANTED_HOURS
        more = next(stage for stage in plan(HUGE, HERE, SHIPPED) if stage.name == "lists")
        assert more.machines == pytest.approx(lists.machines / HERE.cores, abs=1)
        assert more.seconds < 1.01 * lists.seconds / HERE.cores

    def test_stages_that_one_process_does_are_given_one_machine(self):
        of = {stage.name: stage.machines for stage in plan(HUGE, HERE, SHIPPED)}
        assert {of[name] for name in ("read", "prepare", "model", "publish")} == {1}

    def test_a_refresh_is_all_of_it_but_serving(self):
        stages = plan(SMALL, HERE, SHIPPED)
        total = in_all(stages)
        assert total.seconds == pytest.approx(sum(own.seconds for own in stages[:-1]))
        assert total.memory == max(own.memory for own in stages[:-1])


class TestRates:
    def test_slopes_are_found_in_what_they_made(self):
        counts = [
            counts_of(Workload(u, i, n), None)
            for u, i, n in ((100, 50, 1_000), (400, 50, 4_000), (100, 200, 1_000), (100, 50, 3_000))
        ]
        made = {"runs": 2.0, "interactions": 1e-3, "items": 0.05}
        took = [sum(rate * count[name] for name, rate in made.items()) for count in counts]
        assert slopes(counts, took, made) == pytest.approx(made)

    def test_no_slope_is_negative(self):
        counts = [counts_of(Workload(u, 50, 1_000), None) for u in (100, 400)]
        assert min(slopes(counts, [4.0, 1.0], ("runs", "users")).values()) >= 0

    def test_shipped_until_this_machine_was_measured(self, home):
        assert known_rates() is SHIPPED
        measured = dataclasses.replace(SHIPPED, machine="8 cores of something")
        assert write_rates(measured) == rates_file()
        assert known_rates() == measured
        assert [file.name for file in home.iterdir()] == ["rates.json"]

    @pytest.mark.parametrize(
        "written",
        ["", "[]", "{}", '{"format": 1}', "not json", '{"format": 2, "machine": "x"}'],
    )
    def test_a_damaged_file_is_said(self, home, written):
        rates_file().write_text(written)
        with pytest.raises(UserError, match=r"rates\.json.*--measure"):
            known_rates()

    @pytest.mark.parametrize("wrong", ["fast", -1, None, float("inf")])
    def test_a_rate_that_is_no_number_is_said(self, home, wrong):
        content = dataclasses.asdict(SHIPPED)
        content["seconds"]["model"]["cubes"] = wrong
        rates_file().write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"rates\.json"):
            known_rates()

    def test_every_stage_of_a_run_has_rates(self):
        for of_stage in (SHIPPED.seconds, SHIPPED.memory):
            assert list(of_stage) == list(STAGES)

    @pytest.fixture
    def home(self, tmp_path, monkeypatch):
        monkeypatch.setenv("RECSYS_HOME", str(tmp_path))
        assert rates_module.rates_file().parent == tmp_path
        return tmp_path


class TestMeasuring:
    """What is found on a machine that takes exactly what is known."""

    NOT_FITTED = ("evaluation_split", "tuning", "evaluation")

    def took(self, users: int, items: int, interactions: int) -> Sample:
        counts = counts_of(Workload(users, items, interactions, encoder="tfidf"), None)

        def of(rates, stage) -> float:
            return sum(rate * counts[name] for name, rate in rates.get(stage, {}).items())

        steps = {}
        for stage, tables in TABLES.items():
            peak = memory_of(stage, counts) + of(SHIPPED.memory, stage) - BASE_BYTES
            seconds = of(SHIPPED.seconds, stage)
            steps[f"x__{tables[0]}"] = Step(9 * seconds, 0.75 * seconds, peak)
            steps[f"x__{tables[0]}_{tables[0]}_sound"] = Step(9 * seconds, 0.25 * seconds, 0.0)
        stored = {table: 7.0 * sum(counts[name] for name in by) for table, by in STORED_BY.items()}
        files = {file: 3.0 * sum(counts[name] for name in by) for file, by in PUBLISHED_BY.items()}
        return Sample(counts, OneRun(1.0, 1.0, 1.0, steps, stored, files))

    def test_plans_are_those_of_the_machine(self):
        alone = {
            stage: {name: rate for name, rate in of.items() if name not in SECONDS_BY[stage]}
            for stage, of in SHIPPED.seconds.items()
            if stage in SECONDS_BY
        }
        found = rates_of([self.took(*size) for size in SIZES], alone)
        work = Workload(30_000, 6_000, 700_000, encoder="tfidf")
        for own, shipped in zip(plan(work, HERE, found), plan(work, HERE, SHIPPED), strict=True):
            assert own.seconds == pytest.approx(shipped.seconds, rel=0.03), own.name
            assert own.memory == pytest.approx(shipped.memory, rel=0.03), own.name
        assert found.storage["lists"] == pytest.approx({"list_rows": 7}, rel=0.01)

    def test_every_table_of_a_refresh_is_of_one_stage(self):
        known = [table for tables in TABLES.values() for table in tables]
        assert len(known) == len(set(known))
        assert set(known) - {"published"} == ALL_TABLES.keys() - set(self.NOT_FITTED)
        assert STORED_BY.keys() <= ALL_TABLES.keys()

    def test_a_step_is_of_the_table_that_it_makes_or_checks(self):
        for key, stage in {
            "x__items_items_accepted_share": "prepare",
            "x__item_embeddings_one_vector_per_item": "encode",
            "x__item_neighbours": "similarity",
            "x__users_schema": "prepare",
            "x__user_embeddings": "vectors",
            "x__raw_items": "read",
        }.items():
            run = OneRun(1.0, 1.0, 1.0, {key: Step(1.0, 1.0, 1.0)}, {}, {})
            assert [own for own, tables in TABLES.items() if steps_of(run, tables)] == [stage]
