"""Coverage, inequality, scripts: small numbers that can be worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_dagster.steps.lists.statistics import (
    JAPANESE,
    NO_LETTERS,
    Spread,
    gini,
    script_of,
    script_shares,
    spaced_ranks,
)


class TestGini:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([], 0.0),
            ([0, 0], 0.0),
            ([5], 0.0),
            ([2, 2, 2], 0.0),
            ([0, 1], 0.5),
            ([1, 3], 0.25),
            ([0, 0, 0, 8], 0.75),
        ],
    )
    def test_by_hand(self, values, expected):
        assert gini(np.array(values)) == pytest.approx(expected)

    @given(st.lists(st.integers(0, 1_000), min_size=1, max_size=30))
    def test_is_half_the_mean_difference_of_all_pairs_over_the_mean(self, values):
        x = np.array(values, dtype=float)
        by_pairs = np.abs(x[:, None] - x).mean() / 2 / x.mean() if x.sum() else 0.0
        assert gini(x) == pytest.approx(by_pairs, abs=1e-12)


class TestSpread:
    def test_every_item_alike(self):
        assert Spread.of(np.array([3, 3, 3]), items=3) == Spread(3, 3, 1.0, 0.0)

    def test_items_that_nobody_gets_count(self):
        spread = Spread.of(np.array([10, 10]), items=8)
        assert (spread.recommended, spread.reachable, spread.coverage) == (2, 8, 0.25)
        assert spread.concentration == pytest.approx(0.75)

    def test_lists_without_room_for_the_catalogue_are_not_blamed_for_its_size(self):
        assert Spread.of(np.ones(20, dtype=np.int64), items=1_000_000) == Spread(20, 20, 1.0, 0.0)

    def test_the_same_list_for_everybody_is_seen_in_a_large_catalogue_too(self):
        spread = Spread.of(np.full(10, 1_000), items=1_000_000)
        assert spread.reachable == 10_000
        assert spread.coverage == pytest.approx(0.001)
        assert spread.concentration == pytest.approx(0.999)

    def test_no_lists(self):
        assert Spread.of(np.array([], dtype=np.int64), items=5) == Spread(0, 0, 0.0, 0.0)


class TestSpacedRanks:
    def test_both_ends_and_mostly_the_head(self):
        assert spaced_ranks(10_000, 5) == [1, 10, 100, 1_000, 10_000]

    @pytest.mark.parametrize(("n", "expected"), [(0, []), (1, [1]), (3, [1, 2, 3])])
    def test_few_items(self, n, expected):
        assert spaced_ranks(n, 5) == expected


class TestScripts:
    @pytest.mark.parametrize(
        ("text", "script"),
        [
            ("The Matrix (1999)", "Latin"),
            ("Crème brûlée", "Latin"),
            ("Солярис", "Cyrillic"),
            ("卧虎藏龙", "Han"),
            ("千と千尋の神隠し", JAPANESE),
            ("佐々木のラーメン", JAPANESE),
            ("기생충", "Hangul"),
            ("الرسالة", "Arabic"),
            ("शोले", "Devanagari"),
            ("Ζορμπάς", "Greek"),
            ("1984 — 2001!", NO_LETTERS),
            ("", NO_LETTERS),
            ("卧虎藏龙 is 2", "Han"),
            ("п'ять ʼʼʼʼʼʼʼ", "Cyrillic"),
        ],
    )
    def test_most_letters_decide(self, text, script):
        assert script_of(text) == script

    def test_shares_the_most_frequent_first(self):
        shares = script_shares(["Heat", "卧虎", "Alien", "7"])
        assert list(shares.items()) == [("Latin", 0.5), ("Han", 0.25), (NO_LETTERS, 0.25)]

    def test_no_texts(self):
        assert script_shares([]) == {}

    @given(st.text())
    def test_any_text_has_one(self, text):
        assert script_of(text)
