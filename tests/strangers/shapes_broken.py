"""Broken lines in tables that a query turns: each is rejected once, and nothing else is lost."""

from pathlib import Path

from tests.strangers.shape import Truth, delimited, shape, truth_of
from tests.strangers.worlds import Event, english_films, german_kitchen

CUT_OFF = "the connection was lost\n"
"""A line of one cell."""


def _quantity(event: Event) -> float:
    return float(event.quantity)


def _broken(text: str, after: int) -> str:
    """A file whose lines were cut off twice."""
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:after], CUT_OFF, *lines[after:], CUT_OFF])


def _products(folder: Path) -> None:
    items = [(f"p{one.number}", one.title, one.text) for one in german_kitchen().items]
    text = delimited(("product_id", "name", "description"), items)
    (folder / "products.csv").write_text(text, encoding="utf-8")


@shape("people in lines, films in columns, two lines cut off")
def broken_matrix(folder: Path) -> Truth:
    world = english_films()
    last = {(one.user, one.item.number): one for one in world.events}
    rows = [
        (user, *(last[user, one.number].stars if (user, one.number) in last else ""
                 for one in world.items))
        for user in sorted({user for user, _ in last})
    ]  # fmt: skip
    text = delimited(("user", *(f"f{one.number}" for one in world.items)), rows)
    (folder / "ratings.csv").write_text(_broken(text, 4), encoding="utf-8")
    films = [(f"f{one.number}", one.title, one.text) for one in world.items]
    text = delimited(("film", "title", "plot"), films)
    (folder / "films.csv").write_text(text, encoding="utf-8")
    return truth_of(world, str, "f{}".format, lambda one: float(one.stars), lambda one: None,
                    events=last.values(), rejected=2)  # fmt: skip


@shape("order lines with spaces behind the order, two of them cut off, an order cut off")
def broken_lines(folder: Path) -> Truth:
    world = german_kitchen()
    orders = [(f"o{place}", one.user, f"{one.at:%Y-%m-%d %H:%M:%S}")
              for place, one in enumerate(world.events)]  # fmt: skip
    text = delimited(("order_id", "customer_id", "order_date"), orders)
    (folder / "orders.csv").write_text(_broken(text, 9), encoding="utf-8")
    lines = [(f"o{place} ", f"p{one.item.number}", one.quantity)
             for place, one in enumerate(world.events)]  # fmt: skip
    text = delimited(("order_id", "product_id", "quantity"), lines)
    (folder / "order_lines.csv").write_text(_broken(text, 7), encoding="utf-8")
    _products(folder)
    return truth_of(world, str, "p{}".format, _quantity, rejected=2)


@shape("a basket a line as Python prints lists, some empty, two lines cut off")
def broken_baskets(folder: Path) -> Truth:
    world = german_kitchen()
    rows = [(one.user, str([f"p{one.item.number}"] * one.quantity)) for one in world.events]
    text = delimited(("customer_id", "product_ids"), [*rows, (1, "[]"), (2, "[]")])
    (folder / "baskets.csv").write_text(_broken(text, 7), encoding="utf-8")
    _products(folder)
    return truth_of(world, str, "p{}".format, _quantity, lambda one: None, rejected=2)
