"""A proposal, and how it is written as YAML: every choice with its reason above it."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from recsys_dagster.onboarding.estimates import Size

SECTIONS = ("interactions", "items", "users")
WIDTH = 96
ENDLESS = 10**9


@dataclass(frozen=True)
class Choice:
    """One line of the catalog.

    Attributes:
        key: what is set; empty for a remark about something that is not.
        value: what to; a tuple of choices is a mapping of its own.
        why: the reason.
        is_guess: whether it rests on values, or on one of several readings, so that somebody who
            knows the data should look at it.
    """

    key: str
    value: Any = None
    why: str = ""
    is_guess: bool = False

    @property
    def comment(self) -> str:
        """What stands above it in the file."""
        return f"A guess: {self.why}" if self.is_guess else self.why


@dataclass(frozen=True)
class Counts:
    """What a section's source must give, as far as it was looked at.

    Attributes:
        rows: how many can be read.
        keys: by column, how many different ids.
    """

    rows: int
    keys: Mapping[str, int]


@dataclass(frozen=True)
class Proposal:
    """What was chosen, section by section; an empty section is left out.

    Attributes:
        interactions: the section of that name.
        items: the same.
        users: the same.
        more: entries that are no sections, such as the strategy.
        size: what estimates are made from.
        is_english: whether the texts of items are mostly in English.
        unused: names of the tables that have no part in it.
        counts: by section, what its query must give; none where only some rows were looked at.
    """

    interactions: tuple[Choice, ...]
    items: tuple[Choice, ...]
    users: tuple[Choice, ...] = ()
    more: tuple[Choice, ...] = ()
    size: Size | None = None
    is_english: bool = True
    unused: tuple[str, ...] = ()
    counts: Mapping[str, Counts] = field(default_factory=dict)

    def guesses(self) -> list[str]:
        """What should be looked at, a line each: the section, the entry and the reason."""
        return [
            f"{section}: {said}"
            for section in SECTIONS
            for said in _guesses(getattr(self, section))
        ] + list(_guesses(self.more))

    def settings(self) -> dict[str, Any]:
        """The choices as the content of the YAML file, without its name."""
        plain = {section: _plain(getattr(self, section)) for section in SECTIONS}
        sections = {name: section for name, section in plain.items() if section}
        return sections | _plain(self.more)


def _guesses(choices: Sequence[Choice]) -> Iterator[str]:
    for choice in choices:
        if _is_mapping(choice.value):
            yield from _guesses(choice.value)
        elif choice.is_guess and choice.key and isinstance(choice.value, str):
            yield f"{choice.key} is `{choice.value}`: {choice.why}"
        elif choice.is_guess:
            yield choice.why


def _plain(choices: Sequence[Choice]) -> dict[str, Any]:
    return {
        choice.key: _plain(choice.value) if _is_mapping(choice.value) else choice.value
        for choice in choices
        if choice.key
    }


def _is_mapping(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(part, Choice) for part in value)


def render(proposal: Proposal, name: str, remarks: Sequence[str] = ()) -> str:
    """The text of a YAML file.

    Args:
        proposal: what to write.
        name: of the catalog.
        remarks: comments for the top of the file.
    """
    lines = [line for remark in remarks for line in _comment(remark, 0)]
    lines += [f"name: {_scalar(name)}"]
    for section in SECTIONS:
        choices: tuple[Choice, ...] = getattr(proposal, section)
        if choices:
            is_remark = not any(choice.key for choice in choices)
            lines += [""] if is_remark else ["", f"{section}:"]
            lines += _lines(choices, 0 if is_remark else 2)
    for choice in proposal.more:
        lines += ["", *_lines([choice], 0)]
    return "\n".join(lines) + "\n"


def _lines(choices: Sequence[Choice], indent: int) -> Iterator[str]:
    space = " " * indent
    for choice in choices:
        yield from _comment(choice.comment, indent)
        if not choice.key:
            continue
        if _is_mapping(choice.value):
            yield f"{space}{choice.key}:"
            yield from _lines(choice.value, indent + 2)
        elif isinstance(choice.value, dict):
            yield f"{space}{choice.key}:"
            yield from _lines([Choice(*entry) for entry in choice.value.items()], indent + 2)
        elif isinstance(choice.value, str) and "\n" in choice.value:
            yield f"{space}{choice.key}: |-"
            yield from textwrap.indent(choice.value, space + "  ").splitlines()
        else:
            yield f"{space}{_scalar(choice.key)}: {_scalar(choice.value)}"


def _comment(text: str, indent: int) -> Iterator[str]:
    """A comment of as many lines as it takes; what cannot be printed would end it."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    yield from textwrap.wrap(
        printable,
        WIDTH,
        initial_indent=" " * indent + "# ",
        subsequent_indent=" " * indent + "# ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _scalar(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=ENDLESS)
    text = text.removesuffix("...\n").strip()
    if text.isprintable():
        return text
    return yaml.safe_dump(value, default_flow_style=True, default_style='"', width=ENDLESS).strip()
