"""A schedule is judged without Dagster, which would refuse it for all catalogs at once."""

import pytest
from dagster._utils.schedules import cron_string_iterator, is_valid_cron_schedule
from dagster._vendored.croniter.croniter import CroniterBadDateError
from hypothesis import given
from hypothesis import strategies as st

from recsys_dagster.catalog.cron import require_cron

numbers = st.integers(0, 62).map(str) | st.sampled_from(["sun", "MON", "sat", "jan", "dec", "x"])
spans = numbers | st.just("*") | st.tuples(numbers, numbers).map("-".join)
parts = spans | st.tuples(spans, st.integers(0, 12).map(str)).map("/".join)
fields = st.lists(parts, min_size=1, max_size=3).map(",".join)


def is_taken(schedule: str) -> bool:
    try:
        require_cron(schedule)
    except ValueError:
        return False
    return True


@given(st.integers(0, 4), fields)
def test_what_is_taken_runs(place, field):
    schedule = " ".join("*" if other != place else field for other in range(5))
    assert is_valid_cron_schedule(schedule) or not is_taken(schedule)


@given(st.integers(0, 4), st.data())
def test_numbers_within_their_range_are_taken(place, data):
    least, most = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)][place]
    number = st.integers(least, most).map(str)
    span = number | st.just("*") | st.tuples(number, number).map("-".join)
    field = data.draw(span | st.tuples(span, st.integers(1, 9).map(str)).map("/".join))
    schedule = " ".join("*" if other != place else field for other in range(5))
    assert is_taken(schedule)
    assert is_valid_cron_schedule(schedule)


@pytest.mark.parametrize(
    "schedule", ["@hourly", "@yearly", "0 3 * * 1-5", "*/5 0-6,22 1 jan-mar sun", "0 3 29 2 *"]
)
def test_schedules_that_run(schedule):
    assert is_taken(schedule)
    assert is_valid_cron_schedule(schedule)


@pytest.mark.parametrize(
    "schedule", ["0 3 31 feb *", "0 3 30 2 1", "@noon", "0 3 * *", "", "0 3 * * * *"]
)
def test_schedules_that_never_run(schedule):
    assert not is_taken(schedule)


@pytest.mark.parametrize(
    ("schedule", "runs"),
    [
        ("0 0 31 4 *", False),
        ("0 0 31 4 1", False),  # Dagster finds no time for it, whatever the day of the week
        ("0 0 31 4,6,9,11 *", False),
        ("0 0 30,31 2 *", False),
        ("0 0 30,31 4 *", True),
        ("0 0 31 4,5 *", True),
        ("0 0 30 feb-apr *", True),
        ("0 0 29 2 *", True),
    ],
)
def test_a_day_of_the_month_comes_where_one_of_the_months_has_it(schedule, runs):
    assert is_taken(schedule) == runs
    if runs:
        assert next(cron_string_iterator(1_700_000_000, schedule, "UTC"))
    else:
        with pytest.raises(CroniterBadDateError):
            next(cron_string_iterator(1_700_000_000, schedule, "UTC"))


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ("0 24 * * *", "as hour numbers from 0 to 23"),
        ("0 3 * * dim", "of the week .*sun, mon"),
        ("0 3 31 apr,jun *", "the month apr,jun has at most 30 days, and the day .* is 31"),
    ],
)
def test_what_is_wrong_is_named(schedule, told):
    with pytest.raises(ValueError, match=told):
        require_cron(schedule)
