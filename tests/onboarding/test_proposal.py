"""Proposals: from tables nobody described to the settings of a catalog, each with its reason."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from recsys_dagster.errors import UserError
from recsys_dagster.onboarding.proposal import Candidate, Choice, Proposal, propose, render

SHARED = Path(__file__).parents[3] / "shared" / "data"


def proposed(**frames: pd.DataFrame) -> dict:
    """The settings proposed for tables of these names."""
    return propose([Candidate(f"{name}.csv", frame) for name, frame in frames.items()]).settings()


def rendered(**frames: pd.DataFrame) -> str:
    return render(propose([Candidate(f"{name}.csv", frame) for name, frame in frames.items()]), "x")


def remarks(**frames: pd.DataFrame) -> str:
    """The comments of a rendered proposal without their line breaks."""
    lines = [line.strip() for line in rendered(**frames).splitlines()]
    return " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))


def films(count: int = 40) -> pd.DataFrame:
    genres = ["Comedy|Drama", "Action", "Horror|Thriller"]
    return pd.DataFrame(
        {
            "movieId": [str(film) for film in range(1, count + 1)],
            "title": [f"Film number {film} (19{film + 50})" for film in range(1, count + 1)],
            "genres": [genres[film % 3] for film in range(count)],
        }
    )


def ratings(**columns: list) -> pd.DataFrame:
    """400 rows: 25 users, 40 films, texts as a CSV has them."""
    rows = np.arange(400)
    return pd.DataFrame(
        {
            "userId": (rows // 16 + 1).astype(str),
            "movieId": (rows * 7 % 40 + 1).astype(str),
            "rating": (rows % 10 / 2 + 0.5).astype(str),
            "timestamp": (rows * 3600 + 1_260_759_144).astype(str),
        }
        | columns
    )


def dated(format_: str) -> list[str]:
    days = pd.Timestamp("2023-01-09 10:00") + pd.to_timedelta(np.arange(400) * 9, unit="h")
    return list(days.strftime(format_))


class TestTables:
    def test_known_names_need_no_columns(self):
        assert proposed(movies=films(), ratings=ratings()) == {
            "interactions": {"source": "ratings.csv", "positive": "rating >= 4"},
            "items": {
                "source": "movies.csv",
                "columns": {"category": "genres"},
                "text": ["title", "genres"],
            },
        }

    def test_most_rows_are_the_interactions_and_the_others_are_named(self):
        tags = ratings().head(30)[["userId", "movieId"]].assign(tag="funny")
        tables = {"tags": tags, "movies": films(), "ratings": ratings()}
        assert proposed(**tables)["interactions"]["source"] == "ratings.csv"
        assert "Users and items are also in tags.csv." in remarks(**tables)

    def test_the_same_pairs_in_several_splits_are_not_more(self):
        splits = pd.concat([ratings()[["userId", "movieId"]]] * 3)
        tables = {"a_splits": splits, "movies": films(), "ratings": ratings()}
        assert proposed(**tables)["interactions"]["source"] == "ratings.csv"

    def test_names_of_a_shop(self):
        rows = np.arange(300)
        sales = pd.DataFrame(
            {
                "InvoiceNo": (rows // 4 + 536365).astype(str),
                "StockCode": [f"8{row % 30:03}A" for row in rows],
                "Quantity": np.where(rows % 50 == 49, -1, rows % 6 + 1).astype(str),
                "InvoiceDate": dated("%d/%m/%Y %H:%M")[:300],
                "CustomerID": (rows // 15 + 17000).astype(str),
            }
        )
        products = pd.DataFrame(
            {
                "id": [str(row) for row in range(30)],
                "product_code": [f"8{row:03}A" for row in range(30)],
                "product_name": [f"LANTERN NO {row} WHITE" for row in range(30)],
                "brand_name": ["Acme Inc", "Best Ltd"] * 15,
                "stock": ["3", "0", "12"] * 10,
                "launch_date": [f"2024-03-{row + 1:02}" for row in range(30)],
                "date_added": ["soon"] * 30,
                "image_url": ["https://example.org/a.jpg"] * 29 + ["https://example.org/b.jpg"],
            }
        )
        assert proposed(products=products, sales=sales) == {
            "interactions": {
                "source": "sales.csv",
                "columns": {
                    "user_id": "CustomerID",
                    "item_id": "StockCode",
                    "timestamp": "InvoiceDate",
                    "weight": "Quantity",
                },
                "timestamp_format": "%d/%m/%Y %H:%M",
                "returns": True,
            },
            "items": {
                "source": "products.csv",
                "columns": {
                    "item_id": "product_code",
                    "title": "product_name",
                    "available": "stock",
                    "created_at": "launch_date",
                },
                "text": ["product_name", "brand_name"],
            },
        }

    def test_names_that_say_nothing_are_found_by_values(self):
        rows = np.arange(400)
        log = pd.DataFrame(
            {"a": rows // 16 + 5000, "b": [f"k{row * 7 % 40}" for row in rows], "c": rows % 5 + 1}
        )
        things = pd.DataFrame(
            {
                "x": [f"k{row}" for row in range(40)],
                "y": [f"A fine thing, number {row}" for row in range(40)],
            }
        )
        found = proposed(log=log, things=things)
        assert found["interactions"]["columns"] == {"user_id": "a", "item_id": "b"}
        assert found["items"]["columns"] == {"item_id": "x", "title": "y"}
        assert "100.0% of its values are in things.csv" in remarks(log=log, things=things)
        assert "A guess: of the other columns" in remarks(log=log, things=things)

    def test_small_numbers_are_in_every_column_of_row_numbers_and_no_key(self):
        log = ratings().rename(columns={"userId": "who", "movieId": "what", "rating": "mark"})
        log["mark"] = (np.arange(400) % 5 + 1).astype(str)
        people = pd.DataFrame({"nr": [str(user) for user in range(1, 26)]})
        things = films().rename(columns={"movieId": "nr"})
        found = proposed(log=log, people=people, things=things)
        assert found["interactions"]["columns"]["user_id"] == "who"
        assert found["interactions"]["columns"]["item_id"] == "what"
        assert found["items"]["source"] == "things.csv"

    def test_running_numbers_of_other_things_are_neither_users_nor_items(self):
        tags = pd.DataFrame(
            {"tagID": [str(tag) for tag in range(1, 61)], "tagValue": ["loud", "quiet"] * 30}
        )
        tables = {"movies": films(), "ratings": ratings(), "tags": tags}
        assert "users" not in proposed(**tables)
        assert proposed(**tables)["items"]["source"] == "movies.csv"

    def test_a_plain_id_is_told_by_the_name_of_its_table(self):
        movies = films().rename(columns={"movieId": "id"})
        users = pd.DataFrame(
            {"id": [str(user) for user in range(1, 61)], "job": ["old farmer", "young nurse"] * 30}
        )
        found = proposed(movies=movies, users=users, ratings=ratings())
        assert found["items"]["source"] == "movies.csv"
        assert found["items"]["columns"]["item_id"] == "id"
        assert found["users"] == {
            "source": "users.csv",
            "columns": {"user_id": "id"},
            "text": "job",
            "vectors": "blend",
        }

    def test_of_two_keys_the_one_that_points_to_a_table(self):
        clicks = ratings().rename(columns={"movieId": "song_id"}).drop(columns="rating")
        clicks["product_id"] = (np.arange(400) % 9 + 900).astype(str)
        songs = films().rename(columns={"movieId": "song_id"})
        found = proposed(clicks=clicks, songs=songs)
        assert found["interactions"]["columns"] == {"item_id": "song_id"}
        assert "rather than `product_id`" in remarks(clicks=clicks, songs=songs)

    def test_users_without_a_text_are_left_out_with_a_remark(self):
        users = pd.DataFrame({"userId": [str(user) for user in range(1, 26)], "sex": ["M"] * 25})
        tables = {"movies": films(), "ratings": ratings(), "users": users}
        assert "users" not in proposed(**tables)
        assert "users.csv has users in `userId`, but no text" in remarks(**tables)

    def test_names_of_people_are_no_profile(self):
        users = pd.DataFrame(
            {
                "userId": [str(user) for user in range(1, 26)],
                "full_name": [f"Ann {chr(65 + user)}son" for user in range(25)],
                "job": ["old farmer", "young nurse", "a baker", "a clerk", "none yet"] * 5,
            }
        )
        tables = {"movies": films(), "ratings": ratings(), "users": users}
        assert proposed(**tables)["users"]["text"] == "job"
        assert "since they name a person: `full_name`" in remarks(**tables)


class TestNothingFits:
    def test_what_was_found_and_what_is_needed(self):
        weather = pd.DataFrame({"day": dated("%Y-%m-%d"), "degrees": np.arange(400) / 7})
        with pytest.raises(UserError) as error:
            proposed(weather=weather)
        assert "weather.csv: day, degrees" in str(error.value)
        assert "one table with a column of users" in str(error.value)

    def test_users_and_items_in_two_tables_are_joined_by_a_query(self):
        orders = pd.DataFrame({"order_id": range(50), "customer_id": np.arange(50) % 9})
        lines = pd.DataFrame({"order_id": np.arange(90) % 50, "product_id": np.arange(90) % 8})
        with pytest.raises(UserError, match=r"lines.csv with orders.csv says who did what"):
            propose(
                [
                    Candidate("orders.csv", orders, "orders", {"tables": {"orders": "orders.csv"}}),
                    Candidate("lines.csv", lines, "lines", {"tables": {"lines": "lines.csv"}}),
                ]
            )

    def test_items_without_a_text(self):
        with pytest.raises(UserError, match="nothing says what the items are") as error:
            proposed(ratings=ratings())
        assert "'movieId'" in str(error.value)

    def test_no_rows_at_all(self):
        with pytest.raises(UserError, match="No table says"):
            proposed(ratings=ratings().head(0))


class TestTime:
    @pytest.mark.parametrize(
        "format_",
        [
            "%d/%m/%Y %H:%M",
            "%m/%d/%Y %H:%M",
            "%d.%m.%Y",
            "%d-%b-%Y",
            "%m/%d/%y",
            "%B %d, %Y",
            "%m %d, %Y",
            "%Y%m%d",
            "%m/%d/%Y %I:%M:%S %p",
            "%a %b %d %H:%M:%S +0000 %Y",
        ],
    )
    def test_usual_formats(self, format_):
        found = proposed(movies=films(), ratings=ratings(timestamp=dated(format_)))
        expected = format_.replace("+0000", "%z")
        assert found["interactions"]["timestamp_format"] == expected

    @pytest.mark.parametrize("format_", ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])
    def test_iso_needs_none(self, format_):
        found = proposed(movies=films(), ratings=ratings(timestamp=dated(format_)))
        assert "timestamp_format" not in found["interactions"]

    def test_a_format_that_cannot_be_told_is_admitted(self):
        days = [f"0{row % 9 + 1}/0{row % 7 + 1}/2020" for row in range(400)]
        found = remarks(movies=films(), ratings=ratings(timestamp=days))
        assert "nothing in it says whether day or month is first" in found

    def test_other_names_and_other_times(self):
        clicks = ratings().rename(columns={"timestamp": "created_at"})
        clicks["updated"] = clicks["created_at"]
        found = proposed(movies=films(), clicks=clicks)
        assert found["interactions"]["columns"] == {"timestamp": "created_at"}

    def test_numbers_not_named_like_a_time_are_none(self):
        clicks = ratings().rename(columns={"timestamp": "session_number"})
        found = proposed(movies=films(), clicks=clicks)
        assert "columns" not in found["interactions"]

    def test_a_year_is_no_time(self):
        clicks = ratings(timestamp=None).drop(columns="timestamp").assign(year="2015")
        assert "columns" not in proposed(movies=films(), clicks=clicks)["interactions"]

    def test_without_a_time_the_order(self):
        steps = ratings().drop(columns=["timestamp", "rating"])
        steps["step"] = np.arange(400) % 16
        found = proposed(movies=films(), steps=steps)
        assert found["interactions"]["columns"] == {"position": "step"}


class TestWeight:
    @pytest.mark.parametrize(
        ("values", "condition"),
        [
            ([1, 2, 3, 4, 5], "rating >= 4"),
            ([0, 0.5, 4.5, 5], "rating >= 4"),
            ([1, 4, 8, 10], "rating >= 7"),
            ([0, 1], "rating >= 1"),
            ([1], None),
            ([10, 50, 100], None),
        ],
    )
    def test_ratings(self, values, condition):
        column = [values[row % len(values)] for row in range(400)]
        found = proposed(movies=films(), ratings=ratings(rating=column))
        assert found["interactions"].get("positive") == condition

    def test_a_name_that_no_condition_can_have(self):
        frame = ratings().rename(columns={"rating": "Star Rating", "timestamp": "stars"})
        frame["stars"] = [row % 5 + 1 for row in range(400)]
        frame = frame.rename(columns={"stars": "Review Rating"})
        found = proposed(movies=films(), ratings=frame)["interactions"]
        assert found["columns"] == {"weight": "Review Rating"}
        assert found["positive"] == "weight >= 4"

    def test_small_quantities_are_no_ratings(self):
        frame = ratings().rename(columns={"rating": "qty"})
        frame["qty"] = [row % 5 + 1 for row in range(400)]
        found = proposed(movies=films(), sales=frame)["interactions"]
        assert found == {"source": "sales.csv", "columns": {"weight": "qty"}}

    def test_quantities_that_vary_widely(self):
        frame = ratings(rating=None).rename(columns={"rating": "plays"})
        frame["plays"] = [5000 if row == 7 else row % 40 + 1 for row in range(400)]
        assert proposed(movies=films(), plays=frame)["interactions"]["weight_scale"] == "log"

    def test_rows_without_a_weight_are_counted(self):
        text = remarks(
            movies=films(), ratings=ratings(rating=[None if r < 3 else r % 5 for r in range(400)])
        )
        assert "3 rows have no number in `rating`" in text


class TestEvents:
    def test_every_event_is_listed_with_weight_1(self):
        log = ratings().drop(columns="rating")
        log["action"] = ["view", "view", "cart", "view", "yes"] * 80
        found = proposed(movies=films(), log=log)["interactions"]
        assert found["columns"] == {"event": "action"}
        assert list(found["events"].items()) == [("view", 1), ("cart", 1), ("yes", 1)]

    def test_votes_against_an_item_are_no_likes(self):
        log = ratings().drop(columns="rating")
        log["VoteType"] = ["up", "down"] * 200
        found = proposed(movies=films(), log=log)["interactions"]
        assert found["events"] == {"up": 1, "down": 0}
        assert found["positive"] == "weight > 0"

    def test_rows_without_an_event_would_be_lost(self):
        log = ratings().drop(columns="rating")
        log["action"] = ["view", "buy", None, "view"] * 100
        assert "events" not in proposed(movies=films(), log=log)["interactions"]


class TestTexts:
    def test_title_first_then_short_before_long_and_nothing_that_says_nothing(self):
        movies = films().assign(
            overview="A long story about " + films()["genres"] + " and many people who meet there",
            language="english",
            imdb_id=[f"tt{film:07}" for film in range(40)],
            release_date="1999-01-01",
            poster="https://example.org/poster",
            adult=["True", "False"] * 20,
            country_code=["US", "DE"] * 20,
            website=[f"www.film{film}.org" for film in range(40)],
            constant="always the same",
        )
        assert proposed(movies=movies, ratings=ratings())["items"]["text"] == [
            "title",
            "genres",
            "overview",
        ]

    def test_five_at_most_and_the_others_are_mentioned(self):
        more = {f"{name}_note": f"{name} " + films()["title"] for name in "abcdefg"}
        tables = {"movies": films().assign(**more), "ratings": ratings()}
        assert len(proposed(**tables)["items"]["text"]) == 5
        assert "There are also `d_note`, `e_note`, `f_note`, `g_note`." in remarks(**tables)

    def test_lists_are_texts(self):
        movies = films().assign(genres=[["Comedy", "Drama"], ["Action"]] * 20)
        assert (
            proposed(movies=movies, ratings=ratings())["items"]["text"] == ["genres", "title"][::-1]
        )

    def test_texts_in_the_interactions(self):
        rows = np.arange(400)
        sales = ratings().drop(columns="rating").rename(columns={"movieId": "StockCode"})
        sales["Description"] = "NICE LAMP NO " + sales["StockCode"]
        sales["Country"] = np.where(rows // 3 % 10 == 0, "France", "United Kingdom")
        sales["remark"] = [f"said {row}" for row in rows]
        proposal = propose([Candidate("s.csv", sales, '"s"', {"tables": {"s": "s.csv"}})])
        assert proposal.settings()["items"] == {
            "source": {
                "sql": 'select "StockCode", mode("Description") as "Description"\n'
                'from "s"\n'
                'where "StockCode" is not null\n'
                'group by "StockCode"',
                "tables": {"s": "s.csv"},
            },
            "columns": {"item_id": "StockCode", "title": "Description"},
            "text": "Description",
        }


class TestRendering:
    def test_what_is_written_is_what_was_proposed(self):
        log = ratings().drop(columns="rating")
        log["action"] = ["yes", "null", "1: #x", "é\u2028ü"] * 100
        proposal = propose([Candidate("m.csv", films()), Candidate("l.csv", log)])
        written = yaml.safe_load(render(proposal, "shop", ["two\nlines \x00 of a remark"]))
        assert written == {"name": "shop"} | proposal.settings()

    def test_reasons_stand_above_their_lines(self):
        proposal = Proposal(
            (Choice("source", {"database": "a.db", "table": "t: x"}, "Because."),),
            (
                Choice("columns", (Choice("title", "na me", "a reason " * 20),)),
                Choice("text", ["a", "b"]),
            ),
            (Choice("", why="no users"),),
        )
        assert render(proposal, "on").splitlines() == [
            "name: 'on'",
            "",
            "interactions:",
            "  # Because.",
            "  source:",
            "    database: a.db",
            "    table: 't: x'",
            "",
            "items:",
            "  columns:",
            "    # " + " ".join(["a reason"] * 10),
            "    # " + " ".join(["a reason"] * 10),
            "    title: na me",
            "  text: [a, b]",
            "",
            "# no users",
        ]


def _folder(name: str) -> list[Candidate]:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there")
    return [
        Candidate(file.name, pd.read_parquet(file))
        for file in sorted((SHARED / name).glob("*.parquet"))
    ]


EXPECTED = {
    "onlineretail": {"returns": True, "weight_scale": "log", "events": 3, "text": "title"},
    "coco-courses": {"text": "title"},
    "steam-reviews": {"positive": "value >= 1", "text": "title"},
    "amazon-movies": {"text": "description", "users": "description"},
    "ml-latest-small": {"positive": "value >= 4", "text": "title"},
    "se-history-meta": {"events": 3, "text": "title"},
    "mooccubex": {"text": "description"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_real_data(name):
    found = propose(_folder(name)).settings()
    interactions, items = found["interactions"], found["items"]
    texts = items["text"]
    assert interactions.pop("source") == "interactions.parquet"
    assert items["source"] == "items.parquet"
    assert "columns" not in interactions
    seen = {"text": texts if isinstance(texts, str) else texts[0]}
    if "users" in found:
        seen["users"] = found["users"]["text"]
    events = {"events": len(interactions.pop("events"))} if "events" in interactions else {}
    assert interactions | events | seen == EXPECTED[name]
