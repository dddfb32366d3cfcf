"""What rules let into lists: named items, categories, and what is said of names nobody knows."""

import numpy as np
import pytest
from scipy import sparse

from recsys_dagster.catalog.rules import RuleSettings
from recsys_dagster.errors import UserError
from recsys_dagster.steps.lists.candidates import NamedItems, candidates
from recsys_dagster.steps.lists.recommendations import popular_items, recommend
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.fitted import Fitted
from recsys_dagster.steps.models.popular import popularity


@pytest.fixture
def shop(items_of):
    """Two toys, two books, and one thing that is neither."""
    items = items_of("abcde")
    return items.assign(category=["Toys", "Toys", "Books & Co", "Books & Co", None])


def left(items, allow=None, deny=(), **rules):
    named = NamedItems(allow, deny)
    found = candidates(items, RuleSettings.model_validate(rules), named)
    return "".join(items.loc[found, "item_id"])


def test_without_rules_everything_may_be_recommended(shop):
    assert left(shop) == "abcde"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"allow": ("b", "e", "gone")}, "be"),
        ({"deny": ("b", "e", "gone")}, "acd"),
        ({"categories": ["Toys"]}, "ab"),
        ({"categories": ["Books &amp; Co", "Toys"]}, "abcd"),
        ({"without_categories": ["Toys"]}, "cde"),
        ({"allow": ("a", "b", "c"), "deny": ("a",), "categories": ["Toys"]}, "b"),
    ],
    ids=str,
)
def test_rules_narrow_what_may_be_recommended(shop, rules, expected):
    assert left(shop, **rules) == expected


def test_a_category_that_no_item_has_is_an_error_with_the_nearest(shop):
    with pytest.raises(UserError, match=r"rules: categories: .*'toys'\. Did you mean 'Toys'\?"):
        left(shop, categories=["toys"])
    with pytest.raises(UserError, match=r"rules: without_categories: .*'Book'"):
        left(shop, without_categories=["Book", "Toys"])


@pytest.mark.parametrize(
    ("rules", "key"),
    [
        ({"allow": ()}, "allow"),
        ({"allow": ("gone",)}, "allow"),
        ({"deny": tuple("abcde")}, "deny"),
        ({"allow": ("e",), "categories": ["Toys"]}, "categories"),
        ({"allow": ("a",), "without_categories": ["Toys"]}, "without_categories"),
    ],
    ids=str,
)
def test_rules_that_leave_nothing_are_an_error_that_names_the_last_of_them(shop, rules, key):
    with pytest.raises(UserError, match=rf"rules: {key}: nothing of the catalogue's 5 items"):
        left(shop, **rules)


def test_an_empty_catalogue_is_told_of_elsewhere(shop):
    assert left(shop.head(0), allow=("a",), categories=["Toys"]) == ""


def test_ids_that_the_catalogue_lacks_are_counted_and_the_first_are_named(shop):
    named = NamedItems(("a", "x", "x"), tuple("abcdefghijkl"))
    assert named.unknown(shop) == [
        "rules: allow: 1 of 2 item_ids are not in the items table, and are passed over: 'x'",
        "rules: deny: 7 of 12 item_ids are not in the items table, and are passed over: "
        "'f', 'g', 'h', 'i', 'j', …",
    ]
    assert NamedItems(None, ()).unknown(shop) == []


def test_ranked_filled_and_popular_rows_follow_the_rules(behaviour_of, items_of):
    rows = [("u", "a"), ("v", "b"), ("v", "c"), ("w", "b")]
    items = items_of("abcd", ["d"])
    let_in = candidates(items, RuleSettings(deny=("b",)), NamedItems(None, ("b",)))
    left_out = items.loc[~(let_in & items["available"]), "item_id"].tolist()
    ruled = behaviour_of(rows, ["new", "u", "v", "w"], list("abcd"), unavailable=left_out)
    assert ruled.item_ids[ruled.recommendable].tolist() == ["a", "c"]
    popular = popularity(ruled.positives)
    table = popular_items(ruled, popular, items)
    assert table.loc[table["rank"].notna(), "item_id"].tolist() == ["a", "c"]
    assert table.loc[table["rank"].isna(), "item_id"].tolist() == ["b", "d"]

    class RanksB:
        def score(self, block):
            scores = np.full(block.positives.shape, -np.inf, dtype=np.float32)
            scores[:, 1:3] = 1
            return scores

        def contributions(self, block, rows, items):
            return np.zeros(block.lengths[rows].sum(), dtype=np.float32)

    fitted = Fitted(STRATEGIES["popular"], RanksB(), popular)
    nothing_similar = sparse.csr_matrix(ruled.seen.shape, dtype=np.float32)
    (lists,) = recommend(fitted, ruled, nothing_similar, 4)
    found = list(zip(ruled.user_ids[lists.users], ruled.item_ids[lists.items], strict=True))
    assert found == [("new", "c"), ("new", "a"), ("u", "c"), ("v", "a"), ("w", "c"), ("w", "a")]
    assert lists.filled.tolist() == [False, True, False, True, False, True]
