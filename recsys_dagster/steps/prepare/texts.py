"""Columns → one clean text a row, and the hash that says whether it changed."""

import hashlib
import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from string import Formatter
from typing import Any

import numpy as np
import pandas as pd

from recsys_dagster.errors import UserError, did_you_mean

MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|<!--")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
# Where a tag begins no other one goes on: what is not closed is read once and not once a "<".
INSIDE = r"<(?![a-zA-Z/!?])"
TAG = re.compile(
    rf"""
    <(?P<closing>/\s*+)?+(?P<name>[a-zA-Z][^\s/<>]*+)
    (?: [^<>=] | {INSIDE} | =\s*+ (?: "(?:[^"<]|{INSIDE})*+" | '(?:[^'<]|{INSIDE})*+' )?+ )*+ >
    | <[!?][^<>]*+>
    """,
    re.VERBOSE,
)
PART = r"""(?:'((?:[^'\\]|\\.)*+)'|"((?:[^"\\]|\\.)*+)")"""
PRINTED_PART = re.compile(PART, re.DOTALL)
PRINTED_LIST = re.compile(rf"\s*+\[\s*+{PART}(?:\s*+,\s*+{PART})*+\s*+,?+\s*+\]\s*+$", re.DOTALL)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
WRITTEN = {"n": " ", "r": " ", "t": " "}
PIPE = re.compile(r"(?<=\w)\|(?=\w)")
"""Between words without a space, as in Comedy|Drama: a separator, not a sign."""
INVISIBLE_TAGS = frozenset({"script", "style", "head", "template"})
UNPARSED_TAGS = frozenset({"script", "style"})
"""Nothing in them is a tag but their own end."""
KEPT_FORMATS = frozenset("\u200c\u200d")
"""Joiners: they change the reading of Persian and Indic words and of emoji."""
OPENING_SEPARATORS = " .,;:|/·–—-"
TITLE_LENGTH = 60
"""Characters of a text that stand in for a title."""
CLOSING_BRACKETS = ")]}»”’"
PASSES = 20
LONGEST = 100_000
"""Characters of a clean text: far more than encoders read, and marks on one letter are sorted in
a time that grows with the square of their number."""


def clean_text(value: Any) -> str:
    """A value as one line of plain text; missing values become "".

    Markup and entities to text, Unicode NFKC, controls and format characters out, white space
    folded. Lists become their parts joined by ", ", sets in alphabetical order. What was escaped
    several times is unescaped as often, up to 20 times: a clean text stays as it is when cleaned
    again. A list printed into a text becomes its parts, and `Comedy|Drama` "Comedy, Drama". What
    is shown after 100,000 characters is left out.
    """
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        parts = [clean_text(part) for part in value]
        if isinstance(value, set | frozenset):
            parts.sort()  # a set's order changes with the process, and so would the text's hash
        value = ", ".join(filter(None, parts))
    if pd.isna(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    # One pass can uncover work for the next: "&lt;b&gt;" is a tag then, and without the soft
    # hyphen between them a letter and its accent compose.
    for _ in range(PASSES):
        cleaner = _cleaned_once(text)
        if cleaner == text:
            break
        text = cleaner
    return text


def _cleaned_once(text: str) -> str:
    if PRINTED_LIST.match(text):
        text = _parts_of_printed_list(text)
    if MARKUP.search(text):
        text = _text_of_markup(text)
    elif "&" in text:
        text = html.unescape(text)
    if len(text) > LONGEST:
        text = " ".join(text.split())[:LONGEST]
    # Normalised, a trade mark sign would be two letters of the word before it.
    text = unicodedata.normalize("NFKC", text.replace("\N{TRADE MARK SIGN}", ""))
    if not text.isascii() or not text.isprintable():
        text = "".join(_visible(character) for character in text)
    return PIPE.sub(", ", " ".join(text.split()))


def _text_of_markup(text: str) -> str:
    """What a browser would show; tags become spaces, and a tag that is not closed is text."""
    commented, end, rest = text.rpartition("-->")
    text = COMMENT.sub("", commented + end) + rest
    parts: list[str] = []
    shown_to, hidden, unparsed = 0, 0, ""
    for tag in TAG.finditer(text):
        name, is_end = (tag["name"] or "").lower(), tag["closing"] is not None
        if unparsed and not (is_end and name == unparsed):
            continue
        if not hidden:
            parts.append(html.unescape(text[shown_to : tag.start()]))
        shown_to, unparsed = tag.end(), ""
        if not name:
            continue
        parts.append(" ")
        if is_end:
            hidden = max(0, hidden - (name in INVISIBLE_TAGS))
        elif not tag[0].endswith("/>"):
            # A head need not be closed: the body ends it.
            hidden = 0 if name == "body" else hidden + (name in INVISIBLE_TAGS)
            unparsed = name if name in UNPARSED_TAGS else ""
    if not hidden:
        parts.append(html.unescape(text[shown_to:]))
    return "".join(parts)


def _parts_of_printed_list(text: str) -> str:
    """`['red', "blue"]`, a list that somebody wrote into a text column, as its parts."""
    parts = (single or double for single, double in PRINTED_PART.findall(text))
    return " ".join(
        ESCAPED.sub(lambda match: WRITTEN.get(match[1], match[1]), part) for part in parts
    )


def _visible(character: str) -> str:
    if character in KEPT_FORMATS:
        return character
    category = unicodedata.category(character)
    if category == "Cc":
        return " "
    return "" if category in ("Cf", "Cs", "Co", "Cn") else character


@dataclass(frozen=True)
class Template:
    """How columns become one text: pairs of (literal before, column), and the last literal.

    A missing column takes its surroundings along: "{title} ({year}). {genres}" without a year is
    "Heat. Crime", not "Heat (). Crime".
    """

    fields: tuple[tuple[str, str], ...]
    tail: str

    @classmethod
    def parse(cls, text: str | Sequence[str]) -> "Template":
        """A template such as "{title}. {genres}", one column, or a list of them joined by ". ".

        Raises:
            UserError: the template has no column or does not parse.
        """
        fields: list[tuple[str, str]] = []
        literal = ""
        if isinstance(text, str) and "{" not in text and "}" not in text:
            fields = [("", text)] if text else []
        elif not isinstance(text, str):
            fields = [("" if i == 0 else ". ", name) for i, name in enumerate(text)]
        else:
            try:
                for part, name, _, _ in Formatter().parse(text):
                    literal += part
                    if name is not None:  # None: the end, or the middle of an escaped brace
                        fields.append((literal, name))
                        literal = ""
            except ValueError as error:
                raise UserError(f"text: {text!r} is not a template: {error}.") from None
        if not fields or any(name == "" for _, name in fields):
            raise UserError(f'text: {text!r} names no column; expected for example "{{title}}".')
        return cls(tuple(fields), literal)

    @property
    def columns(self) -> list[str]:
        """The columns it needs, in order, without repeats."""
        return list(dict.fromkeys(name for _, name in self.fields))

    def found_in(self, names: Iterable[str]) -> "Template":
        """The same with the names of a table, where only their case differs from it.

        What is there under its exact name, or not at all, stays as it is written.
        """
        exact = set(names)
        spelled = {name.casefold(): name for name in exact}
        found = [
            (literal, name if name in exact else spelled.get(name.casefold(), name))
            for literal, name in self.fields
        ]
        return replace(self, fields=tuple(found))

    def compose(self, values: dict[str, str]) -> str:
        """The text of one row of clean values; empty where every value is."""
        text, after_missing = "", False
        for literal, name in self.fields:
            value = values[name]
            if not value:
                if text and not after_missing:
                    # They close what was opened before a value that is there.
                    text += literal[: len(literal) - len(literal.lstrip(CLOSING_BRACKETS))]
                after_missing = True
                continue
            text += self._joint(text, literal, after_missing) + value
            after_missing = False
        return text if after_missing or not text else text + self.tail

    @staticmethod
    def _joint(before: str, literal: str, after_missing: bool) -> str:
        if after_missing:
            literal = literal.lstrip(CLOSING_BRACKETS)
        if not before:
            return literal.lstrip(OPENING_SEPARATORS) if after_missing else literal
        if literal.startswith(".") and before[-1] in ".!?。！？…":
            return literal[1:]
        return literal


def hash_text(text: str) -> str:
    """SHA-256 of the text in UTF-8, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _composed(table: pd.DataFrame, template: Template, name: str) -> list[str]:
    template = template.found_in(table.columns)
    lacking = [column for column in template.columns if column not in table.columns]
    if lacking:
        raise UserError(
            f"{name}: text asks for the column {lacking[0]!r}, which is not in the source."
            f"{did_you_mean(lacking[0], table.columns)}"
        )
    clean = [table[column].map(clean_text) for column in template.columns]
    return [
        template.compose(dict(zip(template.columns, values, strict=True)))
        for values in zip(*clean, strict=True)
    ]


def titles_from_texts(items: pd.DataFrame, text: str | Sequence[str]) -> pd.DataFrame:
    """Items under the first words of their text where their source has no title for them.

    The id stays where there is no text either, or none can be composed yet: `item_texts` says why.
    """
    bare = items["title_source"] == "item_id"
    template = Template.parse(text).found_in(items.columns)
    if not bare.any() or not set(template.columns) <= set(items.columns):
        return items
    texts = _composed(_with_own_titles(items[bare]), template, "items")
    words = pd.Series([first_words(text) for text in texts], index=items.index[bare], dtype="str")
    words = words[words != ""].reindex(items.index)
    return items.assign(
        title=words.fillna(items["title"]),
        title_source=items["title_source"].mask(words.notna(), "text"),
    )


def first_words(text: str) -> str:
    """The beginning of a clean text, cut between words and marked with "…" where it goes on."""
    if len(text) <= TITLE_LENGTH:
        return text
    head = text[:TITLE_LENGTH]
    # Not every script has spaces, and not every text words.
    words = head.rpartition(" ")[0]
    return (words if len(words) > TITLE_LENGTH // 2 else head[:-1]).rstrip(OPENING_SEPARATORS) + "…"


def _with_own_titles(items: pd.DataFrame) -> pd.DataFrame:
    """Without the titles that stand in for one: what is made of a text is no part of it."""
    stands_in = (items["title_source"] != "title") | (items["title"] == items["item_id"])
    return items.assign(title=items["title"].mask(stands_in))


def item_texts(items: pd.DataFrame, text: str | Sequence[str]) -> pd.DataFrame:
    """The table `item_texts`: every item has a text; title, then id, stand in for an empty one.

    A title that stands in for one, or is only the item_id, says nothing and is not composed.

    Raises:
        UserError: the template names a column that `items` lacks.
    """
    composed = _composed(_with_own_titles(items), Template.parse(text), "items")
    fallback = [
        clean_text(title) or clean_text(item_id) or item_id
        for item_id, title in zip(items["item_id"], items["title"], strict=True)
    ]
    texts = [text or other for text, other in zip(composed, fallback, strict=True)]
    return pd.DataFrame(
        {
            "item_id": items["item_id"],
            "text": pd.Series(texts, index=items.index, dtype="str"),
            "text_hash": pd.Series(map(hash_text, texts), index=items.index, dtype="str"),
            "is_fallback": pd.Series(
                [not text for text in composed], index=items.index, dtype=bool
            ),
        }
    )


def user_texts(users: pd.DataFrame, text: str | Sequence[str] | None) -> pd.DataFrame:
    """The table `user_texts`: users without a text have no row; without a template nobody has one.

    Raises:
        UserError: the template names a column that `users` lacks.
    """
    composed = _composed(users, Template.parse(text), "users") if text else [""] * len(users)
    texts = pd.DataFrame(
        {
            "user_id": users["user_id"],
            "text": pd.Series(composed, index=users.index, dtype="str"),
        }
    )
    texts = texts[texts["text"] != ""].reset_index(drop=True)
    return texts.assign(text_hash=texts["text"].map(hash_text).astype("str"))
