"""Business rules end to end: from the YAML and its files to what is published."""

import pandas as pd
import pytest
import yaml

from recsys_dagster.errors import UserError
from recsys_dagster.onboarding.inspection import inspect_catalog
from recsys_dagster.snapshots.reader import Snapshot

ITEMS = {
    "source": "../data/items.csv",
    "text": "{title}. {genres}",
    "columns": {"category": "theme"},
}
NEWEST = "2024-01-17"


@pytest.fixture
def shop(tiny):
    """`shop(**rules)`: `tiny` with the theme of each item as its category, and `love5` just in."""

    def make(**rules):
        place = tiny(items=ITEMS, rules=rules)
        describe(place)
        return place

    return make


@pytest.fixture(scope="module")
def without_rules(shared):
    """The same without rules, published."""

    def change(place) -> None:
        describe(place)
        assert place.run("tiny").success

    return shared(change, items=ITEMS)


@pytest.fixture
def open_shop(without_rules, copy_of):
    """`open_shop(**rules)`: a copy of what was published without rules, which now has some."""

    def make(**rules):
        place = copy_of(without_rules)
        settings = yaml.safe_load((place.catalogs / "tiny.yaml").read_text())
        place.write_catalog("tiny", settings | {"rules": rules})
        return place

    return make


def describe(place):
    file = place.data / "items.csv"
    items = pd.read_csv(file, dtype="str")
    items["theme"] = items["item_id"].str[:-1]
    items["created_at"] = ["2020-01-01"] * 9 + [NEWEST]
    items.to_csv(file, index=False)


def lists(place):
    """The table `recommendations`, with the category of each item."""
    rows = place.warehouse.read("tiny", "recommendations").to_pandas()
    items = place.warehouse.read("tiny", "items").to_pandas()
    return rows.merge(items[["item_id", "category"]]).sort_values(["user_id", "rank"])


def popular(place):
    sql = "select item_id from popular_items where rank is not null order by rank"
    return [item_id for (item_id,) in place.warehouse.query("tiny", sql)]


def failed_checks(result):
    return {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}


class TestWhatMayBeRecommended:
    def test_known_and_unknown_users_get_only_what_rules_let_through(self, shop):
        place = shop(deny="../data/deny.txt", categories=["space"])
        (place.data / "deny.txt").write_text("space2\nspace3\n")
        result = place.run("tiny")
        assert result.success
        assert failed_checks(result) == set()
        allowed = {"space1", "space4", "space5"}
        assert set(popular(place)) == allowed
        found = lists(place)
        assert set(found["item_id"]) == allowed
        # Somebody who never saw space gets all of it, by the strategy or as fillers.
        assert found.groupby("user_id").size()["user-zq-10"] == 3
        snapshot = Snapshot.current(place.snapshots, "tiny")
        assert {row.item_id for row in snapshot.recommend("nobody", 10)} == allowed

    def test_who_has_seen_all_that_is_allowed_gets_no_list_and_nobody_minds(self, shop):
        place = shop(allow=["space2", "space3", "space4"])
        result = place.run("tiny")
        assert result.success
        seen = place.warehouse.query(
            "tiny",
            "select user_id from interactions where item_id in ('space2', 'space3', 'space4') "
            "group by user_id having count(*) = 3",
        )
        assert seen
        assert not {user for (user,) in seen} & set(lists(place)["user_id"])
        assert "every_user_served" not in failed_checks(result)

    def test_a_changed_file_makes_lists_again_and_nothing_before_them(self, open_shop, run_facts):
        place = open_shop(deny="../data/deny.txt")
        file = place.data / "deny.txt"
        file.write_text("space2\n")
        assert place.run("tiny", ["popular_items", "recommendations", "published"]).success
        _, figures = run_facts

        def made_again():
            result = place.run("tiny")
            assert result.success
            stages = ["items", "similarity_matrix", "popular_items", "recommendations", "published"]
            return {stage for stage in stages if not figures(result, "tiny", stage)["unchanged"]}

        file.write_text("\n space2 \n\n")
        assert made_again() == set()
        file.write_text("space2\nlove1\n")
        assert made_again() == {"popular_items", "recommendations", "published"}
        assert {"space2", "love1"}.isdisjoint(popular(place))
        assert {"space2", "love1"}.isdisjoint(lists(place)["item_id"])

    def test_ids_that_the_catalogue_lacks_are_warned_of(self, open_shop, capfd):
        place = open_shop(deny=["space9", "space1"])
        assert place.run("tiny", ["popular_items"]).success
        told = capfd.readouterr().err
        assert "rules: deny: 1 of 2 item_ids are not in the items table" in told
        assert "'space9'" in told

    @pytest.mark.parametrize(
        ("rules", "message"),
        [
            ({"allow": "../data/gone.txt"}, r"rules: allow: .*gone\.txt: there is no such file"),
            ({"allow": ["space9"]}, "rules: allow: nothing of the catalogue's 10 items is left"),
            ({"categories": ["spice"]}, r"'spice'\. Did you mean 'space'\?"),
        ],
        ids=["file", "nothing", "category"],
    )
    def test_faults_stop_a_run_and_are_told_without_one(self, shop, rules, message):
        place = shop(**rules)
        (fault,) = inspect_catalog(place.catalog("tiny")).faults
        with pytest.raises(UserError, match=message):
            raise UserError(fault)
        result = place.run("tiny")
        assert not result.success
        assert not (place.snapshots / "tiny").exists()


class TestOrder:
    def test_no_list_has_more_of_a_category_than_it_may(self, shop):
        place = shop(max_per_category=2)
        result = place.run("tiny")
        assert result.success
        assert failed_checks(result) == set()
        found = lists(place)
        counts = found.groupby(["user_id", "category"]).size()
        assert counts.max() == counts.min() == 2  # five places, two categories: four rows each
        assert found.groupby("user_id")["rank"].apply(list).map(lambda r: r == [1, 2, 3, 4]).all()

    def test_diversity_mixes_themes_that_scores_keep_apart(self, without_rules, open_shop):
        plain = lists(without_rules)
        place = open_shop(diversity=0.9)
        assert place.run("tiny").success
        found = lists(place)
        first = plain[plain["rank"] == 1].set_index("user_id")["item_id"]
        assert found[found["rank"] == 1].set_index("user_id")["item_id"].equals(first)
        assert _themes_in_two(found) > _themes_in_two(plain)
        # Scores are those of the strategy, whatever the order.
        both = plain.merge(found, on=["user_id", "item_id", "strategy"])
        assert len(both)
        assert both["score_x"].equals(both["score_y"])

    def test_a_new_item_is_lifted(self, open_shop):
        place = open_shop(freshness_boost=5, freshness_half_life_days=10)
        assert place.run("tiny", ["popular_items", "recommendations"]).success
        found = lists(place).set_index(["user_id", "item_id"])
        seen = {
            user
            for (user,) in place.warehouse.query(
                "tiny", "select user_id from interactions where item_id = 'love5'"
            )
        }
        ranked = found[found["strategy"] == "hybrid"].reset_index()
        lifted = ranked[ranked["item_id"] == "love5"]
        assert len(lifted)
        assert (lifted["rank"] == 1).all()
        assert set(ranked["user_id"]) - set(lifted["user_id"]) == seen

    def test_where_no_age_is_known_it_is_said_that_nothing_is_lifted(self, shop, capfd):
        place = shop(freshness_boost=5)
        assert place.run("tiny").success
        assert "lifts no item" not in capfd.readouterr().err
        for table, untimed in (("items", "created_at"), ("interactions", "timestamp")):
            file = place.data / f"{table}.csv"
            pd.read_csv(file, dtype="str").drop(columns=untimed).to_csv(file, index=False)
        assert place.run("tiny").success
        told = capfd.readouterr().err
        assert "rules.freshness_boost lifts no item: none has a created_at or a timed" in told

    def test_the_ui_knows_which_columns_rules_read(self, shop):
        place = shop(diversity=0.5, freshness_boost=1, max_per_category=3)
        result = place.run("tiny")
        read = {
            event.asset_key.path[-1]: {
                column: {(dep.asset_key.path[-1], dep.column_name) for dep in made_of}
                for column, made_of in event.materialization.metadata[
                    "dagster/column_lineage"
                ].value.deps_by_column.items()
            }
            for event in result.get_asset_materialization_events()
            if event.asset_key.path[-1] in ("popular_items", "recommendations")
        }
        assert {
            ("popular_items", "category"),
            ("popular_items", "age_days"),
            ("model", "fingerprint"),
        } <= read["recommendations"]["rank"]
        assert read["popular_items"]["category"] == {("items", "category")}
        assert {
            ("items", "created_at"),
            ("histories", "first_timestamps"),
        } <= read["popular_items"]["age_days"]


def _themes_in_two(found):
    """How many lists begin with two themes."""
    top = found[found["rank"] <= 2]
    return (top.groupby("user_id")["category"].nunique() == 2).sum()
