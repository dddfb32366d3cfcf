"""What a stranger showed of `recsys init`: one oddity each."""

import pandas as pd
import pytest

from recsys_dagster.onboarding.proposal import Candidate, propose

ITEMS = Candidate(
    "items.csv",
    pd.DataFrame(
        {
            "item_id": [str(n) for n in range(8)],
            "title": [f"Something {name}" for name in ["old", "new", "red", "big"] * 2],
        }
    ),
)


def interactions(**columns):
    """What is proposed for interactions with these columns beside the keys."""
    rows = len(next(iter(columns.values())))
    keys = {
        "user_id": [f"u{n % 5}" for n in range(rows)],
        "item_id": [str(n % 8) for n in range(rows)],
    }
    table = Candidate("events.csv", pd.DataFrame(keys | columns))
    return propose([table, ITEMS])


def settings(**columns):
    return interactions(**columns).settings()["interactions"]


def guesses(**columns):
    return [choice.why for choice in interactions(**columns).interactions if choice.is_guess]


def test_times_with_a_zone_in_letters_need_no_format():
    found = settings(event_time=[f"2023-01-{day:02} 17:31:03 UTC" for day in range(1, 31)])
    assert found["columns"] == {"timestamp": "event_time"}
    assert "timestamp_format" not in found


def test_times_that_cannot_be_read_are_said_with_an_example():
    (guess,) = guesses(bought=[f"10-JAN-23 05.31.{second:02}.000000 PM" for second in range(30)])
    assert "`bought` looks like a time and cannot be read" in guess
    assert "10-JAN-23 05.31.00.000000 PM" in guess


def test_votes_below_zero_take_back():
    found = settings(vote=[1, 1, -1] * 10)
    assert found["columns"] == {"weight": "vote"}
    assert found["returns"] is True
    assert "events" not in found


@pytest.mark.parametrize("word", ["dropped", "remove_from_cart", "Unfollow", "refunded"])
def test_events_against_an_item_are_no_likes(word):
    found = settings(event=["view", word] * 15)
    assert found["events"] == {"view": 1, word: 0}
    assert found["positive"] == "weight > 0"


def test_a_quantity_goes_before_a_value_that_may_be_money():
    found = settings(value=[12.5, 30.0, 7.9] * 10, quantity=[1, 2, 5] * 10)
    assert found["columns"] == {"weight": "quantity"}


def test_a_rating_with_the_name_of_the_item_in_front():
    found = settings(**{"Book-Rating": [0, 7, 10] * 10})
    assert found["columns"] == {"weight": "Book-Rating"}
    assert found["positive"] == "weight >= 7"


def test_dates_written_as_numbers_are_nobody():
    sales = pd.DataFrame(
        {
            "ERDAT": [f"202301{day:02}" for day in range(1, 31)],
            "KUNNR": [f"K{n % 9}" for n in range(30)],
            "MATNR": [str(n % 8) for n in range(30)],
        }
    )
    items = Candidate("mara.csv", ITEMS.frame.rename(columns={"item_id": "MATNR"}))
    found = propose([Candidate("sales.csv", sales), items]).settings()["interactions"]
    assert found["columns"]["user_id"] == "KUNNR"


def test_ids_may_be_long_hashes():
    users = [f"{n % 5:064x}" for n in range(30)]
    sales = pd.DataFrame({"customer_id": users, "article_id": [str(n % 8) for n in range(30)]})
    found = propose([Candidate("transactions.csv", sales), ITEMS]).settings()["interactions"]
    assert found["columns"]["user_id"] == "customer_id"


def test_dates_of_zeros_are_no_dates_and_hide_no_others():
    times = ["0000-00-00 00:00:00", *(f"2023-01-{day:02} 17:31:03" for day in range(1, 5))] * 6
    assert settings(created=times)["columns"] == {"timestamp": "created"}
