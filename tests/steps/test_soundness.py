"""Rules that stop a run, as sentences."""

import pytest

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.steps.prepare.id_matching import DIFFERENCES, Explanation
from recsys_dagster.steps.prepare.soundness import (
    accepted_share,
    keys_unique,
    known_share,
    needs_positives,
    some_available,
    some_positive,
)


def test_rows_and_keys():
    assert keys_unique(3, 0, ("user_id", "item_id")).passed
    assert not keys_unique(3, 1, ("item_id",)).passed
    nothing = keys_unique(0, 0, ("user_id", "item_id"))
    assert not nothing.passed
    assert "0 rows, 0 repeated keys (user_id, item_id); at least one row" in nothing.said


def test_what_a_setting_leaves_out_is_no_fault():
    assert accepted_share("interactions", raw=100, faulty=5, by_setting=90, min_share=0.5).passed
    some = accepted_share("interactions", raw=100, faulty=6, by_setting=90, min_share=0.5)
    assert not some.passed
    assert some.said.startswith("40.0% of 10 rows accepted, at least 50% expected; the reasons are")
    none = accepted_share("interactions", raw=7, faulty=0, by_setting=7, min_share=0.5)
    assert not none.passed
    assert "all 7 rows are left out by interactions: events" in none.said


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, True),
        ({"strategy": "popular"}, True),
        ({"strategy": "content"}, True),
        ({"users": {"source": "u.csv", "text": "about"}}, True),
        ({"strategy": "content", "users": {"source": "u.csv", "text": "about"}}, False),
    ],
)
def test_only_lists_of_profile_texts_need_no_likes(settings, needed):
    smallest = {
        "name": "shop",
        "interactions": {"source": "i.csv"},
        "items": {"source": "m.csv", "text": "title"},
    }
    assert needs_positives(Catalog.model_validate(smallest | settings)) == needed
    assert some_positive(5, 0, needed).passed != needed
    assert some_positive(5, 1, needed).passed


def test_something_must_be_to_be_had():
    assert some_available(5, 1).passed
    assert not some_available(5, 0).passed


def test_few_unknown_items_are_said_and_block_nothing():
    some = known_share(272_678, 13_743, 900, 0.95, None)
    assert (some.passed, some.blocks) == (False, False)
    assert some.said.startswith(
        "94.96% of 272,678 interactions are with items of the catalogue, at"
    )
    assert "at least 95% expected; 900 items are only in interactions: never" in some.said
    assert "lower checks: known_share" in some.said
    assert known_share(100, 5, 5, 0.95, None).passed


def test_none_known_blocks_and_is_explained():
    none = known_share(10, 10, 4, 0.0, None)
    assert (none.passed, none.blocks) == (False, True)
    zeros = next(each for each in DIFFERENCES if each.name == "without leading zeros")
    explained = known_share(1000, 1000, 4, 0.95, Explanation(zeros, 983)).said
    assert "without leading zeros 98.3% would match" in explained
    assert r"select * replace (regexp_replace(item_id, '^0+(.)', '\1') as item_id)" in explained


def test_without_interactions_nothing_is_known_and_nothing_unknown():
    assert not known_share(0, 0, 0, 0.95, None).blocks
