"""Tables that say who did what only after a query has turned them."""

import numpy as np
import pandas as pd
import pytest

from recsys_dagster.onboarding.proposal import Candidate, Proposal, propose


def candidate(name: str, frame: pd.DataFrame, **more) -> Candidate:
    return Candidate(f"{name}.csv", frame, f'"{name}"', {"tables": {name: f"{name}.csv"}}, **more)


def headerless(name: str, rows: list[list]) -> Candidate:
    names = [f"column{place}" for place in range(1, len(rows[0]) + 1)]
    source = {"path": name, "names": names}
    frame = pd.DataFrame(rows, columns=names).astype("str")
    return Candidate(source, frame, '"x"', {"tables": {"x": source}}, is_headerless=True)


def products(key: str = "product_id") -> Candidate:
    names = [f"A lamp for room {row} of the house" for row in range(20)]
    return candidate(
        "products", pd.DataFrame({key: [f"p{row}" for row in range(20)], "name": names})
    )


def orders() -> pd.DataFrame:
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(200), unit="h")
    return pd.DataFrame(
        {"id": [f"o{row}" for row in range(200)], "customer_id": np.arange(200) % 30,
         "created_at": days.strftime("%Y-%m-%d %H:%M:%S"), "city": "Ulm"}
    )  # fmt: skip


def lines(key: str = "order_id") -> pd.DataFrame:
    rows = np.arange(400)
    return pd.DataFrame(
        {"id": rows, key: [f"o{row % 200}" for row in rows],
         "product_id": [f"p{row * 7 % 20}" for row in rows], "quantity": rows % 3 + 1}
    )  # fmt: skip


def proposal(*candidates: Candidate) -> Proposal:
    return propose(candidates)


class TestOrdersAndLines:
    def test_they_are_joined(self):
        found = proposal(
            candidate("orders", orders()), candidate("order_lines", lines()), products()
        )
        interactions = found.settings()["interactions"]
        assert interactions["columns"] == {
            "user_id": "customer_id",
            "item_id": "product_id",
            "timestamp": "created_at",
            "weight": "quantity",
        }
        assert list(interactions["source"]["tables"]) == ["order_lines", "orders"]
        assert interactions["source"]["sql"].splitlines()[1:] == [
            'from (select *, trim(cast("order_id" as varchar)) as joined_by from "order_lines") '
            "as lines",
            "left join (",
            'select *, trim(cast("id" as varchar)) as joined_by,',
            'row_number() over (partition by trim(cast("id" as varchar)) '
            "order by source_file desc, source_row desc) as times",
            'from "orders"',
            ") as heads on heads.joined_by = lines.joined_by and heads.times = 1",
        ]
        assert any("joined by `order_id`, which is `id`" in guess for guess in found.guesses())

    def test_tables_that_say_both_by_themselves_are_taken_as_they_are(self):
        sold = lines().assign(customer_id=np.arange(400) % 30)
        found = proposal(candidate("orders", orders()), candidate("sales", sold), products())
        assert found.settings()["interactions"]["source"] == "sales.csv"
        assert found.unused == ("orders.csv",)

    def test_another_databases_orders_cannot_be_joined(self):
        there = Candidate({"database": "a.db", "table": "orders"}, orders(), "orders",
                          {"database": "a.db"})  # fmt: skip
        with pytest.raises(Exception, match="No table says"):
            proposal(there, candidate("order_lines", lines()), products())


class TestListsInCells:
    @pytest.mark.parametrize(
        ("cell", "expression"),
        [
            ("|".join, """string_split("product_ids", '|')"""),
            (", ".join, """string_split("product_ids", ',')"""),
            (
                lambda ids: str(ids).replace("'", '"'),
                """from_json(nullif(trim("product_ids"), ''), '["VARCHAR"]')""",
            ),
            (str, """regexp_extract_all("product_ids", '''([^'']*)''', 1)"""),
            (list, '"product_ids"'),
        ],
    )
    def test_a_row_for_each_item(self, cell, expression):
        baskets = pd.DataFrame(
            {"customer_id": np.arange(90) % 30,
             "product_ids": [cell([f"p{row % 20}", f"p{row * 3 % 20}"]) for row in range(90)]}
        )  # fmt: skip
        found = proposal(candidate("baskets", baskets), products())
        source = found.settings()["interactions"]["source"]
        assert f"unnest(coalesce({expression}, [null])) as element" in source["sql"]
        assert found.guesses()[0].startswith(
            "interactions: `product_ids` of baskets.csv has a list"
        )

    def test_fields_of_what_is_in_the_list(self):
        items = [[{"item_id": f"p{row % 20}", "quantity": 2}] for row in range(90)]
        events = pd.DataFrame({"user_id": np.arange(90) % 30, "items": items})
        interactions = proposal(candidate("e", events), products("item_id")).settings()
        sql = interactions["interactions"]["source"]["sql"]
        assert 'element."item_id" as "item_id", element."quantity" as "quantity"' in sql
        assert interactions["interactions"]["columns"] == {"weight": "quantity"}

    def test_names_of_several_words_are_ids_of_another_table(self):
        names = [f"{colour} {thing}" for colour in ("Blue", "Red", "Green", "Old", "New")
                 for thing in ("Jeans", "Shoe", "Hat", "Coat")]  # fmt: skip
        named = candidate("products", pd.DataFrame(
            {"product": names, "description": [f"It keeps you warm: {name}" for name in names]}
        ))  # fmt: skip
        sold = pd.DataFrame({"customer_id": np.arange(400) % 30,
                             "product": [names[row * 7 % 20] for row in range(400)]})  # fmt: skip
        found = proposal(candidate("orders", sold), named).settings()
        assert found["interactions"]["source"] == "orders.csv"

    @pytest.mark.parametrize("column", ["product", "items", "book"])
    def test_the_name_of_an_item_beside_its_id_is_no_list(self, column):
        sold = lines().assign(customer_id=np.arange(400) % 30, **{column: "Blue Jeans"})
        sold[column] = [f"Blue Jeans {row % 3}" for row in range(400)]
        found = proposal(candidate("orders", sold), products()).settings()
        assert found["interactions"]["source"] == "orders.csv"

    def test_spaces_are_no_separators_where_no_table_knows_the_parts(self):
        sold = pd.DataFrame({"customer_id": np.arange(400) % 30,
                             "product": [f"Hat {row * 7 % 20}" for row in range(400)]})  # fmt: skip
        sold["description"] = "It keeps you warm: " + sold["product"]
        found = proposal(candidate("orders", sold)).settings()
        assert found["interactions"]["source"] == "orders.csv"

    def test_genres_of_a_film_are_no_items(self):
        films = pd.DataFrame({"user_id": np.arange(90) % 30, "movie_id": np.arange(90) % 9,
                              "title": "A film", "genres": "Comedy|Drama"})  # fmt: skip
        catalogue = products("movie_id")
        catalogue.frame["movie_id"] = [str(row) for row in range(20)]
        found = proposal(candidate("seen", films), catalogue).settings()
        assert found["interactions"]["source"] == "seen.csv"


def test_a_matrix_of_users_and_items_becomes_rows():
    cells = {f"p{item}": [5 if (user + item) % 4 == 0 else None for user in range(30)]
             for item in range(20)}  # fmt: skip
    matrix = pd.DataFrame({"user_id": np.arange(30)} | cells)
    found = proposal(candidate("matrix", matrix), products())
    source = found.settings()["interactions"]["source"]
    assert source["sql"].startswith(
        'select source_file, source_row, source_error, "user_id", "product_id", weight\n'
        'from (unpivot "matrix"'
    )
    assert source["sql"].endswith(
        'union all by name\nselect source_file, source_row, source_error, "user_id"\n'
        'from "matrix"\nwhere source_error is not null'
    )
    assert any("unpivot makes rows of them" in guess for guess in found.guesses())


class TestSplits:
    def seen(self, rows: int) -> pd.DataFrame:
        return pd.DataFrame({"user_id": np.arange(rows) % 30, "product_id": "p3"})

    def test_a_column(self):
        frame = lines().assign(user_id=np.arange(400) % 30, split=["train", "test"] * 200)
        found = proposal(candidate("seen", frame), products()).settings()
        assert found["evaluation"] == {"split": "column", "column": "split"}

    def test_files_of_one_shape_are_one_table(self):
        found = proposal(
            candidate("r_train", self.seen(200).assign(product_id=lines()["product_id"][:200])),
            candidate("r_test", self.seen(90).assign(product_id=lines()["product_id"][:90])),
            products(),
        ).settings()
        assert found["interactions"]["source"]["sql"].splitlines() == [
            "select *, 'train' as split from \"r_train\"",
            "union all by name",
            "select *, 'test' as split from \"r_test\"",
        ]
        assert found["evaluation"] == {"split": "column", "column": "split"}

    def test_a_column_of_other_words_is_none(self):
        frame = lines().assign(user_id=np.arange(400) % 30, part=["north", "south"] * 200)
        assert "evaluation" not in proposal(candidate("seen", frame), products()).settings()


class TestNoHeader:
    def test_columns_are_named_by_their_values(self):
        ratings = [[row % 30 + 1, row * 7 % 20 + 1, row % 5 + 1, 978_300_000 + row]
                   for row in range(300)]  # fmt: skip
        movies = [[row + 1, f"Film of the year {row}", ["Drama", "Comedy"][row % 2]]
                  for row in range(20)]  # fmt: skip
        found = proposal(headerless("ratings.dat", ratings), headerless("movies.dat", movies))
        settings = found.settings()
        assert settings["interactions"]["source"]["names"] == [
            "user_id", "item_id", "rating", "timestamp",
        ]  # fmt: skip
        assert settings["items"]["source"]["names"] == ["item_id", "title", "category"]
        assert len(found.guesses()) == 2

    def test_flags_of_films_are_no_ratings(self):
        movies = [[row + 1, f"Film of the year {row}", row % 2] for row in range(20)]
        ratings = [[row % 30 + 1, row * 7 % 20 + 1, row % 5 + 1] for row in range(300)]
        found = proposal(headerless("u.data", ratings), headerless("u.item", movies)).settings()
        assert found["items"]["source"]["names"] == ["item_id", "title", "column3"]

    def test_items_may_come_before_users(self):
        ratings = [[row * 7 % 20 + 1, row % 90 + 1, row % 5 + 1] for row in range(600)]
        movies = [[row + 1, f"Film of the year {row}"] for row in range(20)]
        users = [[row + 1, f"a person of town {row}"] for row in range(90)]
        found = proposal(
            headerless("ratings.dat", ratings),
            headerless("movies.dat", movies),
            headerless("users.dat", users),
        )
        assert found.settings()["interactions"]["source"]["names"][:2] == ["item_id", "user_id"]
