"""Databases, Parquet, JSON, joins and tables that are turned on their side."""

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tests.strangers.shape import Truth, delimited, shape, truth_of, write_lines
from tests.strangers.worlds import (
    Event,
    chinese_courses,
    english_films,
    french_books,
    german_kitchen,
    spanish_courses,
)


def _quantity(event: Event) -> float:
    return float(event.quantity)


def _day(event: Event) -> datetime:
    return event.at.replace(hour=0, minute=0, second=0, tzinfo=None)


def _nothing(event: Event) -> None:
    return None


@shape("a DuckDB file whose tables are in the schemas mart and staging")
def schemas(folder: Path) -> Truth:
    world = french_books()
    sales = pa.table(
        {
            "customer_key": [f"c{one.user}" for one in world.events],
            "product_key": [one.item.number for one in world.events],
            "units": [one.quantity for one in world.events],
            "sold_at": [one.at.replace(tzinfo=None) for one in world.events],
        }
    )
    products = pa.table(
        {
            "product_key": [one.number for one in world.items],
            "product_name": [one.title for one in world.items],
            "description": [one.text for one in world.items],
        }
    )
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute("create schema mart")
        connection.execute("create schema staging")
        connection.register("sales", sales)
        connection.register("products", products)
        connection.execute("create table mart.fct_sales as from sales")
        connection.execute("create table mart.dim_product as from products")
        connection.execute("create table staging.loads as select 1 as batch, 'ok' as state")
    return truth_of(world, "c{}".format, str, _quantity)


@shape("JSON lines with objects in them: user.id, item.id")
def nested_events(folder: Path) -> Truth:
    world = english_films()
    write_lines(
        folder / "events.jsonl",
        (
            {
                "user": {"id": f"u{one.user}", "country": "GB"},
                "item": {"id": one.item.number},
                "timestamp": f"{one.at:%Y-%m-%dT%H:%M:%S}+00:00",
            }
            for one in world.events
        ),
    )
    write_lines(
        folder / "items.jsonl",
        (
            {"id": one.number, "title": one.title, "details": {"plot": one.text}}
            for one in world.items
        ),
    )
    return truth_of(world, "u{}".format, str)


@shape("statements of a learning record store: actor, verb, object")
def xapi_statements(folder: Path) -> Truth:
    world = spanish_courses()
    write_lines(
        folder / "statements.jsonl",
        (
            {
                "id": f"st-{place:05}",
                "actor": {"account": {"name": f"learner-{one.user}", "homePage": "https://lms"}},
                "verb": {"id": "http://adlnet.gov/expapi/verbs/completed"},
                "object": {
                    "id": f"https://lms/course/{one.item.number}",
                    "definition": {"name": {"es": one.item.title}},
                },
                "timestamp": f"{one.at:%Y-%m-%dT%H:%M:%S}.000Z",
            }
            for place, one in enumerate(world.events)
        ),
    )
    write_lines(
        folder / "courses.jsonl",
        (
            {"course": f"https://lms/course/{one.number}", "name": one.title, "summary": one.text}
            for one in world.items
        ),
    )
    return truth_of(world, "learner-{}".format, "https://lms/course/{}".format)


@shape("orders, their lines and the products in three files")
def orders_and_lines(folder: Path) -> Truth:
    world = german_kitchen()
    orders = [(f"o{place}", one.user, f"{one.at:%Y-%m-%d %H:%M:%S}", "paid")
              for place, one in enumerate(world.events)]  # fmt: skip
    text = delimited(("order_id", "customer_id", "order_date", "status"), orders)
    (folder / "orders.csv").write_text(text, encoding="utf-8")
    lines = [(place + 1, f"o{place}", f"p{one.item.number}", one.quantity)
             for place, one in enumerate(world.events)]  # fmt: skip
    text = delimited(("line_id", "order_id", "product_id", "quantity"), lines)
    (folder / "order_lines.csv").write_text(text, encoding="utf-8")
    items = [(f"p{one.number}", one.title, one.text, one.category) for one in world.items]
    text = delimited(("product_id", "name", "description", "category"), items)
    (folder / "products.csv").write_text(text, encoding="utf-8")
    return truth_of(world, str, "p{}".format, _quantity)


@shape("the same three tables in a SQLite file of a shop")
def sqlite_shop(folder: Path) -> Truth:
    world = french_books()
    with closing(sqlite3.connect(folder / "shop.sqlite3")) as connection, connection:
        connection.executescript(
            "create table customers (id integer primary key, email text, joined text);"
            "create table orders (id integer primary key, customer_id integer, created_at text);"
            "create table order_items "
            "(id integer primary key, order_id integer, product_id integer, qty integer);"
            "create table products (id integer primary key, title text, description text);"
        )
        users = sorted({one.user for one in world.events})
        connection.executemany(
            "insert into customers values (?, ?, '2022-01-01')",
            [(user, f"reader{user}@example.org") for user in users],
        )
        connection.executemany(
            "insert into orders values (?, ?, ?)",
            [(1_000 + place, one.user, f"{one.at:%Y-%m-%d %H:%M:%S}")
             for place, one in enumerate(world.events)],
        )  # fmt: skip
        connection.executemany(
            "insert into order_items values (?, ?, ?, ?)",
            [(None, 1_000 + place, one.item.number, one.quantity)
             for place, one in enumerate(world.events)],
        )  # fmt: skip
        connection.executemany(
            "insert into products values (?, ?, ?)",
            [(one.number, one.title, one.text) for one in world.items],
        )
    return truth_of(world, str, str, _quantity)


@shape("a column that says train, valid or test")
def with_a_split(folder: Path) -> Truth:
    world = english_films()
    seen: dict[int, int] = defaultdict(int)
    rows = []
    for one in world.events:
        seen[one.user] += 1
        part = {3: "valid", 4: "test"}.get(seen[one.user], "train")
        rows.append((one.user, one.item.number, int(one.at.timestamp()), part))
    text = delimited(("user_id", "item_id", "timestamp", "split"), rows)
    (folder / "interactions.csv").write_text(text, encoding="utf-8")
    text = delimited(
        ("item_id", "title", "description"),
        [(one.number, one.title, one.text) for one in world.items],
    )
    (folder / "items.csv").write_text(text, encoding="utf-8")
    return truth_of(world, str, str)


@shape("Parquet with DATE columns, a file a month")
def parquet_months(folder: Path) -> Truth:
    world = chinese_courses()
    months: dict[str, list[Event]] = defaultdict(list)
    for one in world.events:
        months[f"{one.at:%Y-%m}"].append(one)
    (folder / "enrolments").mkdir()
    for month, events in months.items():
        table = pa.table(
            {
                "learner_id": pa.array([one.user for one in events], pa.int64()),
                "course_id": pa.array([one.item.number for one in events], pa.int32()),
                "enrolled_on": pa.array([one.at.date() for one in events], pa.date32()),
            }
        )
        pq.write_table(table, folder / "enrolments" / f"{month}.parquet")
    courses = pa.table(
        {
            "course_id": pa.array([one.number for one in world.items], pa.int32()),
            "title": [one.title for one in world.items],
            "about": [one.text for one in world.items],
        }
    )
    pq.write_table(courses, folder / "courses.parquet")
    return truth_of(world, str, str, at=_day)


@shape("the export of a shop system: one file, a line a product, its texts beside the customer")
def shop_system(folder: Path) -> Truth:
    world = french_books()
    rows = [
        (
            f"#{1_001 + place}", f"reader{one.user}@example.org", "paid",
            f"{one.at:%Y-%m-%d %H:%M:%S} +0000", one.quantity, one.item.title,
            f"SKU-{one.item.number}", "EUR", "12.50",
        )
        for place, one in enumerate(world.events)
    ]  # fmt: skip
    header = ("Name", "Email", "Financial Status", "Created at", "Lineitem quantity",
              "Lineitem name", "Lineitem sku", "Currency", "Lineitem price")  # fmt: skip
    (folder / "orders_export_1.csv").write_text(delimited(header, rows), encoding="utf-8")
    bought = {one.item.number for one in world.events}
    truth = truth_of(world, "reader{}@example.org".format, "SKU-{}".format, _quantity)
    return Truth(truth.pairs, {f"SKU-{one.number}": one.title for one in world.items
                               if one.number in bought})  # fmt: skip


@shape("a basket a line: products in one cell, bars between them")
def baskets(folder: Path) -> Truth:
    world = german_kitchen()
    rows = []
    for place in range(0, len(world.events) - 1, 2):
        first, second = world.events[place : place + 2]
        rows.append((place, first.user, f"{first.item.number}|{second.item.number}"))
    text = delimited(("basket_id", "customer_id", "product_ids"), rows)
    (folder / "baskets.csv").write_text(text, encoding="utf-8")
    items = [(one.number, one.title, one.text) for one in world.items]
    text = delimited(("product_id", "name", "description"), items)
    (folder / "products.csv").write_text(text, encoding="utf-8")
    events = []
    for place in range(0, len(world.events) - 1, 2):
        first, second = world.events[place : place + 2]
        events += [first, second._replace(user=first.user)]
    return truth_of(world, str, str, at=_nothing, events=events)


@shape("events of an analytics export: lists of items in an event, microseconds")
def analytics_events(folder: Path) -> Truth:
    world = english_films()
    write_lines(
        folder / "events.json",
        (
            {
                "event_name": "purchase",
                "event_timestamp": int(one.at.timestamp()) * 1_000_000,
                "user_pseudo_id": f"{one.user}.77",
                "items": [{"item_id": f"F{one.item.number}", "quantity": one.quantity}],
            }
            for one in world.events
        ),
    )
    text = delimited(
        ("item_id", "item_name", "synopsis"),
        [(f"F{one.number}", one.title, one.text) for one in world.items],
    )
    (folder / "catalogue.csv").write_text(text, encoding="utf-8")
    return truth_of(world, "{}.77".format, "F{}".format, _quantity)


@shape("an array of reviews in one .json, as an API gives it")
def json_array(folder: Path) -> Truth:
    world = english_films()
    last = {(one.user, one.item.number): one for one in world.events}
    reviews = [
        {"reviewer": f"r{one.user}", "film": one.item.number, "stars": one.stars,
         "date": f"{one.at:%b %d, %Y}"}
        for one in last.values()
    ]  # fmt: skip
    (folder / "reviews.json").write_text(json.dumps(reviews, indent=1), encoding="utf-8")
    films = [
        {"film": one.number, "title": one.title, "tags": [one.category, "feature"],
         "plot": one.text}
        for one in world.items
    ]  # fmt: skip
    (folder / "films.json").write_text(json.dumps(films), encoding="utf-8")
    return truth_of(world, "r{}".format, str, lambda one: float(one.stars), _day,
                    events=last.values())  # fmt: skip


@shape("people in lines, films in columns, stars in the cells", refusal="unpivot")
def wide_matrix(folder: Path) -> Truth:
    world = english_films()
    last = {(one.user, one.item.number): one for one in world.events}
    users = sorted({user for user, _ in last})
    rows = [
        (user, *(last[user, one.number].stars if (user, one.number) in last else ""
                 for one in world.items))
        for user in users
    ]  # fmt: skip
    text = delimited(("user", *(one.number for one in world.items)), rows)
    (folder / "ratings.csv").write_text(text, encoding="utf-8")
    text = delimited(
        ("film", "title", "plot"), [(one.number, one.title, one.text) for one in world.items]
    )
    (folder / "films.csv").write_text(text, encoding="utf-8")
    return truth_of(world, str, str, lambda one: float(one.stars), _nothing, events=last.values())


@shape("a folder a day, the date only in its name")
def folders_of_days(folder: Path) -> Truth:
    world = german_kitchen()
    days: dict[str, list[Event]] = defaultdict(list)
    for one in world.events:
        days[f"{one.at:%Y-%m-%d}"].append(one)
    for day, events in days.items():
        inner = folder / "purchases" / f"date={day}"
        inner.mkdir(parents=True)
        table = pa.table(
            {
                "member_id": [f"m{one.user}" for one in events],
                "sku": [one.item.number for one in events],
                "qty": [one.quantity for one in events],
            }
        )
        pq.write_table(table, inner / "part-0.parquet")
    products = pa.table(
        {
            "sku": [one.number for one in world.items],
            "name": [one.title for one in world.items],
            "description": [one.text for one in world.items],
        }
    )
    pq.write_table(products, folder / "products.parquet")
    return truth_of(world, "m{}".format, str, _quantity, _day)


@shape("train.csv and test.csv, as competitions publish them")
def two_parts(folder: Path) -> Truth:
    world = spanish_courses()
    cut = len(world.events) * 4 // 5
    for name, events in (("train", world.events[:cut]), ("test", world.events[cut:])):
        rows = [(one.user, one.item.number, int(one.at.timestamp())) for one in events]
        text = delimited(("user_id", "item_id", "timestamp"), rows)
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    text = delimited(
        ("item_id", "title", "description"),
        [(one.number, one.title, one.text) for one in world.items],
    )
    (folder / "items.csv").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text("# Courses\n\nPlease cite us.\n", encoding="utf-8")
    return truth_of(world, str, str)


@shape("sales of a spreadsheet program", refusal="CSV")
def spreadsheet(folder: Path) -> Truth:
    (folder / "sales.xlsx").write_bytes(b"PK\x03\x04" + bytes(200))
    (folder / "products.xlsx").write_bytes(b"PK\x03\x04" + bytes(200))
    return Truth({}, {})
