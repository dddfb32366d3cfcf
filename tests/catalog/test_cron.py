"""A schedule is judged without Dagster, which would refuse it for all catalogs at once."""

import pytest
from dagster._utils.schedules import is_valid_cron_schedule
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
    ("schedule", "told"),
    [("0 24 * * *", "as hour numbers from 0 to 23"), ("0 3 * * dim", "of the week .*sun, mon")],
)
def test_what_is_wrong_is_named(schedule, told):
    with pytest.raises(ValueError, match=told):
        require_cron(schedule)
