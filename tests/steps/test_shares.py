"""Figures that are rounded, and stay on their side of what was expected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_dagster.steps.prepare.shares import beside, expected, percent


@pytest.mark.parametrize(
    ("share", "bound", "text"),
    [
        (0.9496, 0.95, "94.96%"),
        (0.94999, 0.95, "94.999%"),
        (0.95, 0.95, "95.0%"),
        (0.95001, 0.95, "95.001%"),
        (0.9, 0.95, "90.0%"),
        (0.99996, None, "99.996%"),
        (1.0, None, "100.0%"),
        (0.00001, None, "0.001%"),
        (0.0, None, "0.0%"),
        (1 / 3, 0.5, "33.3%"),
        (0.29, 0.29, "29.0%"),
    ],
)
def test_a_share_is_never_rounded_across_its_bound(share, bound, text):
    assert percent(share, bound) == text


@given(
    st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.sampled_from([0.01, 0.29, 0.5, 0.95, 0.955, 0.99]),
)
def test_text_and_bound_compare_as_share_and_bound_do(counts, bound):
    share = counts[0] / counts[1]
    said = float(percent(share, bound).removesuffix("%"))
    of_bound = float(expected(bound).removesuffix("%"))
    assert (said < of_bound) == (share < bound)
    assert (said == 100) == (share == 1)
    assert (said == 0) == (share == 0)


def test_a_bound_is_told_as_it_was_written():
    assert [expected(bound) for bound in (0.5, 0.955, 0.9999, 1, 0, 0.29)] == [
        "50%",
        "95.5%",
        "99.99%",
        "100%",
        "0%",
        "29%",
    ]


def test_other_figures_too():
    assert beside(0.98004, (0.98,), 3) == "0.98004"
    assert beside(0.5, (0.98,), 3) == "0.500"
