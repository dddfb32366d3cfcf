"""Why ids of two tables do not match, and the query that makes them."""

import duckdb
import pandas as pd
import pytest

from recsys_dagster.steps.prepare.id_matching import DIFFERENCES, explain_mismatch

PAIRS = {
    "without leading zeros": (["007", "0012", "000"], ["7", "12", "0"]),
    "without a trailing .0": (["7.0", "12.0"], ["7", "12"]),
    "in lower case": (["SKU-a", "SKU-b"], ["sku-A", "sku-B"]),
    "in one Unicode form": (["caf\u00e9", "na\u00efve"], ["cafe\u0301", "nai\u0308ve"]),
    "without spaces and invisible characters": (["a\u200bb", "c d"], ["ab", "cd"]),
    "as UUIDs in lower case without hyphens": (
        ["123E4567-E89B-12D3-A456-426614174000", "00000000-0000-0000-0000-000000000001"],
        ["123e4567e89b12d3a456426614174000", "00000000000000000000000000000001"],
    ),
    "without what is in front of the first digit": (["item_7", "item_12"], ["7", "12"]),
    "without what is in front of the first digit and leading zeros": (
        ["SKU-007", "SKU-0120"],
        ["7", "120"],
    ),
    "with letters and digits alone, in lower case": (["AB-1.x", "CD-2.y"], ["ab_1_x", "cd_2_y"]),
}


def explain(unknown, known, *, none_matches=True):
    found = explain_mismatch(
        pd.Series(1, index=unknown), pd.Series(known, dtype="str"), none_matches=none_matches
    )
    return found and (found.difference.name, found.matched)


@pytest.mark.parametrize("name", PAIRS)
def test_the_difference_is_named(name):
    unknown, known = PAIRS[name]
    assert explain(unknown, known) == (name, len(unknown))
    assert explain(known, unknown) == (name, len(unknown))


def test_every_difference_is_tried():
    assert {difference.name for difference in DIFFERENCES} == set(PAIRS)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.name)
def test_the_query_does_what_the_name_says(difference):
    texts = sorted({text for pair in PAIRS.values() for texts in pair for text in texts})
    # Only UUIDs are looked at as UUIDs; whose ids are UUIDs has no others.
    if "UUID" in difference.name:
        texts = [text for texts in PAIRS[difference.name] for text in texts]
    with duckdb.connect() as connection:
        for text in texts:
            query = f"select {difference.sql} from (select $id as item_id)"
            (made,) = connection.execute(query, {"id": text}).fetchall()[0]
            assert made == difference.without(text), text


def test_most_of_the_interactions_must_be_explained():
    unknown = pd.Series({"007": 10, "x": 9, "y": 9})
    assert explain_mismatch(unknown, pd.Series(["7", "8"]), none_matches=False) is None
    unknown = pd.Series({"007": 10, "x": 9})
    found = explain_mismatch(unknown, pd.Series(["7", "8"]), none_matches=False)
    assert found is not None
    assert found.matched == 10


def test_what_tells_books_from_films_explains_nothing_where_films_are_known():
    books, films = ["book_7", "book_8"], ["film_7", "film_8", "film_9"]
    assert explain(books, films, none_matches=False) is None
    assert explain(books, films, none_matches=True) is not None


def test_what_would_make_most_items_one_explains_nothing():
    assert explain(["1", "2"], ["item1", "film1", "book1", "song1"]) is None


def test_ids_of_other_things_have_no_explanation():
    assert explain(["apple", "pear"], ["7", "8"]) is None
    assert explain([], ["7"]) is None
