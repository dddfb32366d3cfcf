"""Texts: what a person would read, once, on one line, and a hash that tells them apart."""

import hashlib
import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recsys_dagster.errors import UserError
from recsys_dagster.steps.prepare.texts import (
    TITLE_LENGTH,
    Template,
    clean_text,
    first_words,
    hash_text,
    item_texts,
    titles_from_texts,
    user_texts,
)

MARKUP_PIECES = [
    "<b>",
    "</b>",
    "<b",
    "<",
    ">",
    "<3",
    "a < b",
    "&lt;",
    "&gt;",
    "&amp;",
    "&amp;lt;",
    "&",
    "&#60;",
    "&#0;",
    "&nbsp;",
    "<!--",
    "-->",
    "<script>",
    "</script>",
    "<!DOCTYPE x>",
    "<br/>",
    "＜i＞",
    "＆lt;",
    "é",
    "e",
    "\u0301",
    "\u00ad",
    "\u200d",
    "\u202e",
    "\x00",
    "\n",
    " ",
    "ﬁ",
    "x",
    ";",
    "#",
    "/",
    "]]>",
    "<![CDATA[",
    "<?php",
    "<title>",
    "<textarea>",
    "👩‍👩‍👧",
    "שלום",
]
messy = st.one_of(st.text(), st.lists(st.sampled_from(MARKUP_PIECES)).map("".join))


# Cleaning


@given(messy)
@example("&amp;lt;b&amp;gt;x")
@example("e\u00ad\u0301")
@example("＜b＞x＜/b＞")
def test_a_clean_text_is_clean(text):
    clean = clean_text(text)
    assert clean_text(clean) == clean
    assert clean == " ".join(clean.split())
    assert not {unicodedata.category(character) for character in clean} & {"Cc", "Cs", "Co", "Cn"}
    assert hash_text(clean) == hash_text(clean_text(text))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # markup
        ("<p>Hello <b>world</b></p>", "Hello world"),
        ("one<br>two<br/>three", "one two three"),
        ("<style>p {}</style>Text<script>alert('x')</script>", "Text"),
        ("<head><title>T</title></head><body>Text</body>", "Text"),
        ("<html><head><title>T</title><body>Text", "Text"),
        ("before<!-- hidden -->after", "beforeafter"),
        ('<a href="x>y">link</a>', "link"),
        # entities
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("caf&eacute; &#233; &#xe9;", "café é é"),
        ("<i>Tom &amp; Jerry</i>", "Tom & Jerry"),
        ("AT&T and R&D", "AT&T and R&D"),
        ("twice &amp;amp; escaped", "twice & escaped"),
        ("&lt;b&gt;escaped markup&lt;/b&gt;", "escaped markup"),
        # not markup
        ("a < b", "a < b"),
        ("a<b", "a<b"),
        ("1 < 2 > 0", "1 < 2 > 0"),
        ("I <3 you", "I <3 you"),
        ("<3", "<3"),
        ("I &lt;3 you", "I <3 you"),
        ("<b>I <3 you</b>", "I <3 you"),
        ("if a < b <i>then</i>", "if a < b then"),
        # Unicode
        ("ﬁne Ｆｕｌｌ ①", "fine Full 1"),
        ("e\u0301", "é"),
        ("family 👩‍👩‍👧 ❤️", "family 👩‍👩‍👧 ❤️"),
        ("\u202bשלום\u202c عالم\u200f", "שלום عالم"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("我喜欢看电影，真的", unicodedata.normalize("NFKC", "我喜欢看电影，真的")),
        ("soft\u00adhyphen zero\u200bwidth \ufeffmark", "softhyphen zerowidth mark"),
        ("bell\x07tab\tnew\r\nline\x00end\u0085\u2028x", "bell tab new line end x"),
        ("  much \u00a0 space \u3000 ", "much space"),
        ("lone \ud800 surrogate", "lone surrogate"),
        # values
        (None, ""),
        (float("nan"), ""),
        (pd.NA, ""),
        (pd.NaT, ""),
        ("", ""),
        (1995.0, "1995"),
        (np.float64(1995), "1995"),
        (2.5, "2.5"),
        (7, "7"),
        (True, "True"),
        (["Crime", None, " ", "<b>Drama</b>"], "Crime, Drama"),
        (np.array(["a", "b"], dtype=object), "a, b"),
        ((), ""),
        ({"b", "a", "c"}, "a, b, c"),
    ],
)  # fmt: skip
def test_cleaning(value, expected):
    assert clean_text(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<b>5 < 6</b> <i x='1 < 2' y=\"a > b\" disabled>k</i>", "5 < 6 k"),
        ("<p title=it's>don't</p>", "don't"),
        ("<b>x</b> <a href=", "x <a href="),
        ("<i>a</i> <b and <i>c</i>", "a <b and c"),
        ("<i>a</i> <!-- not closed", "a <!-- not closed"),
        ('<a title="<b>bold</b>">link</a>', "link"),
        ("<?xml version='1'?><!DOCTYPE html><p>Text</p>", "Text"),
        ("<script>if (a<b) x('<i>')</script ><p>Text", "Text"),
        ("<p>Text</p><script>never closed <b>x</b>", "Text"),
        ("<script src='x'/>Text", "Text"),
        ("<template><p>a</p></template>Text", "Text"),
        ("&" + "amp;" * 12 + "lt;b&gt;x", "x"),
    ],
)  # fmt: skip
def test_markup_as_people_write_it(value, expected):
    assert clean_text(value) == expected


@pytest.mark.parametrize(
    ("value", "begins"),
    [
        ("<b>" + "<a " * 300_000, "<a <a <a"),
        ("<b>" + "<a x='" * 160_000, "<a x='<a x='"),
        ("<a '='" * 160_000 + "<>", "<a '='<a '='"),
        ("<b>" + "<!--" * 250_000, "<!--<!--"),
        ("<a " * 300_000 + ">" * 300_000, "<a <a <a"),
        ("&" + "amp;" * 250_000, "&amp;amp;"),
        ("['a'" + " " * 1_000_000 + "x", "['a' x"),
        ("<img src='data:" + "A" * 1_000_000 + "'>Text", "Text"),
    ],
    ids=["tags", "quotes", "quotes apart", "comments", "nested", "escaped", "list", "image"],
)
def test_a_text_that_is_long_and_broken_is_cleaned_in_a_moment(value, begins):
    assert clean_text(value).startswith(begins)


def test_of_a_text_that_has_no_end_the_beginning_is_kept():
    assert clean_text("ab " * 1_000_000) == ("ab " * 100_000)[:100_000].strip()


# Templates


@pytest.mark.parametrize(
    ("title", "year", "genres", "expected"),
    [
        ("Heat", "1995", "Crime", "Heat (1995). Crime"),
        ("Heat", "1995", "", "Heat (1995)"),
        ("Heat", "", "Crime", "Heat. Crime"),
        ("Heat", "", "", "Heat"),
        ("", "1995", "Crime", "(1995). Crime"),
        ("", "1995", "", "(1995)"),
        ("", "", "Crime", "Crime"),
        ("", "", "", ""),
    ],
)
def test_a_missing_column_takes_its_surroundings_along(title, year, genres, expected):
    template = Template.parse("{title} ({year}). {genres}")
    assert template.compose({"title": title, "year": year, "genres": genres}) == expected


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("{a} ({b}) [{c}]", "xyz", "x (y) [z]"),
        ("{a} ({b}) [{c}]", "xy ", "x (y)"),
        ("{a} ({b}) [{c}]", "x z", "x [z]"),
        ("{a} ({b}) [{c}]", "x  ", "x"),
        ("{a} «{b}» ({c})", "xy ", "x «y»"),
        ("A: {a}. B: {b}.", "xy", "A: x. B: y."),
        ("A: {a}. B: {b}.", " y", "B: y."),
        ("A: {a}. B: {b}.", "x ", "A: x"),
        ("{a}. {b}", "?y", "? y"),
        ("{a}. {b}", "。y", "。 y"),
        ("{a} / {a}", "x", "x / x"),
        ("{{{a}}} {b}", "xy", "{x} y"),
        ("{{note}} {a}", "x", "{note} x"),
        (("a", "b", "c"), "xyz", "x. y. z"),
        (("a", "b", "c"), " yz", "y. z"),
        (("a", "b", "c"), "x z", "x. z"),
    ],
)
def test_templates(template, values, expected):
    parsed = Template.parse(template)
    row = dict(zip("abc", (value.strip() for value in values.ljust(3)), strict=True))
    assert parsed.compose(row) == expected


@given(st.text("{}()[]ab .", max_size=12))
def test_a_template_with_every_value_says_what_format_says(text):
    try:
        template = Template.parse(text)
    except UserError:
        return
    values = dict.fromkeys(template.columns, "x")
    if "{" in text and all(name.isalpha() for name in values):
        assert template.compose(values) == text.format(**values)


@pytest.mark.parametrize("text", ["", "{}", "{title", "title}", "{{title}}", (), []])
def test_a_template_needs_a_column(text):
    with pytest.raises(UserError, match="text"):
        Template.parse(text)


def test_a_text_without_braces_is_one_column():
    assert Template.parse("title").compose({"title": "Heat"}) == "Heat"


# Tables


def test_hashes_are_sha256_of_the_text():
    assert hash_text("é") == hashlib.sha256("é".encode()).hexdigest()


@given(st.lists(st.sampled_from(["Heat", "<b>Heat</b>", " Heat ", "Alien"]), min_size=1))
def test_same_text_same_hash_other_text_other_hash(titles):
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(len(titles))], "title": titles})
    items["title_source"] = "title"
    table = item_texts(items, "{title}")
    assert table["text"].nunique() == table["text_hash"].nunique()
    assert table.groupby("text")["text_hash"].nunique().eq(1).all()
    assert set(table["text"]) <= {"Heat", "Alien"}


def test_title_then_id_stand_in_for_an_empty_text():
    items = pd.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "title": ["A", "Title", "\u200b"],
            "title_source": "title",
            "about": ["Text", None, "<p></p>"],
        },
        index=[7, 8, 9],
    )
    table = item_texts(items, "{about}")
    assert table["text"].tolist() == ["Text", "Title", "c"]
    assert table["is_fallback"].tolist() == [False, True, True]
    assert table["text_hash"].tolist() == [hash_text(text) for text in table["text"]]


@pytest.mark.parametrize("text", ["{Title}. {ABOUT}", ["TITLE", "about"]])
def test_columns_are_found_whatever_their_case(text):
    items = pd.DataFrame(
        {"item_id": ["a"], "title": ["Heat"], "title_source": "title", "About": ["Crime"]}
    )
    assert item_texts(items, text)["text"].tolist() == ["Heat. Crime"]


def test_a_column_of_exactly_the_name_goes_before_one_in_other_case():
    users = pd.DataFrame({"user_id": ["u"], "about": ["no"], "About": ["yes"], "ABOUT": ["no"]})
    assert user_texts(users, "About")["text"].tolist() == ["yes"]


def test_a_text_in_other_case_stands_in_for_a_title():
    items = pd.DataFrame(
        {"item_id": ["a"], "title": ["a"], "title_source": "item_id", "About": ["Crime"]}
    )
    assert titles_from_texts(items, "{about}")["title"].tolist() == ["Crime"]


def test_an_id_that_stands_in_for_a_title_is_no_text():
    items = pd.DataFrame(
        {
            "item_id": ["a17", "b17"],
            "title": ["a17", "Heat"],
            "title_source": ["item_id", "title"],
            "genres": ["Crime", None],
        }
    )
    assert item_texts(items, "{title}. {genres}")["text"].tolist() == ["Crime", "Heat"]
    alone = item_texts(items, "{title}")
    assert alone["text"].tolist() == ["a17", "Heat"]
    assert alone["is_fallback"].tolist() == [True, False]


class TestTitlesFromTexts:
    ITEMS = pd.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "title": ["Heat", "b", "c"],
            "title_source": ["title", "item_id", "item_id"],
            "about": ["Two men.", "A ship far out &amp; alone.", None],
        }
    )

    def test_the_text_stands_in_for_a_title_and_the_id_where_there_is_none_either(self):
        titled = titles_from_texts(self.ITEMS, "{title}: {about}")
        assert titled["title"].tolist() == ["Heat", "A ship far out & alone.", "c"]
        assert titled["title_source"].tolist() == ["title", "text", "item_id"]

    @pytest.mark.parametrize("template", ["{title}: {about}", "{about}", "{title}"])
    def test_what_is_encoded_does_not_change(self, template):
        titled = titles_from_texts(self.ITEMS, template)
        pd.testing.assert_frame_equal(
            item_texts(titled, template), item_texts(self.ITEMS, template)
        )

    def test_a_template_that_cannot_be_composed_is_told_of_where_texts_are_made(self):
        assert titles_from_texts(self.ITEMS, "{abuot}")["title"].tolist() == ["Heat", "b", "c"]

    @given(st.text(st.sampled_from("ab .é"), max_size=200).map(clean_text))
    def test_a_title_is_short_and_the_beginning(self, text):
        title = first_words(text)
        assert len(title) <= TITLE_LENGTH
        assert title == text or (title.endswith("…") and text.startswith(title[:-1]))

    def test_it_is_cut_between_words_where_there_are_any(self):
        assert first_words("word " * 20) == "word " * 11 + "word…"
        assert first_words("語" * 100) == "語" * (TITLE_LENGTH - 1) + "…"


def test_user_texts_leave_out_users_without_one():
    users = pd.DataFrame(
        {"user_id": ["u1", "u2", "u3"], "about": ["x", None, "y"]}, index=[5, 2, 0]
    )
    table = user_texts(users, ["about"])
    assert table[["user_id", "text"]].to_numpy().tolist() == [["u1", "x"], ["u3", "y"]]
    assert table["text_hash"].tolist() == [hash_text("x"), hash_text("y")]
    assert len(user_texts(users, None)) == 0


def test_empty_tables():
    items = pd.DataFrame({"item_id": [], "title": [], "title_source": []}, dtype="str")
    assert list(item_texts(items, "{title}").columns) == [
        "item_id",
        "text",
        "text_hash",
        "is_fallback",
    ]
    assert len(user_texts(pd.DataFrame({"user_id": [], "a": []}, dtype="str"), "{a}")) == 0


def test_an_unknown_column_is_named():
    items = pd.DataFrame(
        {"item_id": ["a"], "title": ["A"], "title_source": ["title"], "genres": ["x"]}
    )
    with pytest.raises(UserError, match=r"'genre'.* Did you mean 'genres'"):
        item_texts(items, "{title}. {genre}")


def test_a_trade_mark_sign_does_not_become_letters():
    assert clean_text("DARK SOULS™: Remastered®") == "DARK SOULS: Remastered®"


@pytest.mark.parametrize(
    ("printed", "clean"),
    [
        ("""['A red pen', "it's new"]""", "A red pen it's new"),
        ("Comedy|Drama|Film noir", "Comedy, Drama, Film noir"),
        ("either | or", "either | or"),
        ("['not closed'", "['not closed'"),
        ("[1, 2]", "[1, 2]"),
    ],
)
def test_lists_written_into_a_text_become_their_parts(printed, clean):
    assert clean_text(printed) == clean
