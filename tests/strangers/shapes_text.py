"""Text files: other languages, alphabets, separators, encodings, numbers, clocks."""

import gzip
from pathlib import Path

from tests.strangers.shape import Truth, delimited, shape, truth_of
from tests.strangers.worlds import (
    Event,
    chinese_courses,
    english_films,
    french_books,
    german_kitchen,
    japanese_stationery,
    russian_shop,
    spanish_courses,
)


def _unix(event: Event) -> int:
    return int(event.at.timestamp())


def _stars(event: Event) -> float:
    return float(event.stars)


def _quantity(event: Event) -> float:
    return float(event.quantity)


def _minute(event: Event):
    return event.at.replace(second=0, tzinfo=None)


def _day(event: Event):
    return event.at.replace(hour=0, minute=0, second=0, tzinfo=None)


@shape("semicolons, cp1252, 31.12.2023, decimal commas, and a turnover beside the customer")
def german_shop(folder: Path) -> Truth:
    world = german_kitchen()
    orders = [
        (
            f"{event.at:%d.%m.%Y %H:%M}",
            f"RE-{number:05}",
            10_000 + event.user,
            f"A{event.item.number:03}",
            f"{event.quantity},0",
            f"{event.quantity * (7.9 + event.item.number):.2f}".replace(".", ","),
        )
        for number, event in enumerate(world.events)
    ]
    header = ("Bestelldatum", "Rechnungsnr.", "Kundennummer", "Artikelnr.", "Menge")
    text = delimited((*header, "Umsatz (€)"), orders, ";", "\r\n")
    (folder / "Bestellungen 2023.csv").write_bytes(text.encode("cp1252"))
    items = [
        (f"A{item.number:03}", item.title, item.text, item.category, f"{7 + item.number},90 €")
        for item in world.items
    ]
    header = ("Artikelnr.", "Bezeichnung", "Beschreibung", "Warengruppe", "Preis")
    text = delimited(header, items, ";", "\r\n")
    (folder / "Artikelstamm.csv").write_bytes(text.encode("cp1252"))
    return truth_of(
        world, lambda user: str(10_000 + user), lambda item: f"A{item:03}", _quantity, _minute
    )


@shape("a quote that is not closed, once in each table")
def unclosed_quote(folder: Path) -> Truth:
    world = english_films()
    events = _last_of_pairs(world.events)
    lines = delimited(
        ("userId", "movieId", "rating", "timestamp"),
        [(one.user, one.item.number, one.stars, _unix(one)) for one in events],
    ).splitlines()
    lines[40] = f'"{lines[40]}'
    lost = events.pop(39)
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    films = delimited(
        ("movieId", "title", "genres", "overview"),
        [(one.number, one.title, one.category, one.text) for one in world.items],
    ).splitlines()
    films.insert(5, f'99,"Lost Reel,Comedy,{lost.at:%Y}, nobody closed the quote')
    (folder / "movies.csv").write_text("\n".join(films) + "\n", encoding="utf-8")
    return truth_of(world, str, str, _stars, events=events, rejected=1, rejected_items=1)


def _last_of_pairs(events):
    """A rating is one of each pair: written several times, it would be added up."""
    return list({(event.user, event.item.number): event for event in events}.values())


@shape("no header, two colons, latin-1, as MovieLens 1M was published")
def two_colons(folder: Path) -> Truth:
    world = french_books()
    events = _last_of_pairs(world.events)
    ratings = [f"{one.user}::{one.item.number}::{one.stars}::{_unix(one)}" for one in events]
    (folder / "ratings.dat").write_text("\n".join(ratings) + "\n", encoding="latin-1")
    items = [f"{one.number}::{one.title}::{one.category}" for one in world.items]
    (folder / "books.dat").write_text("\n".join(items) + "\n", encoding="latin-1")
    return truth_of(world, str, str, _stars, events=events)


@shape("Unicode text of a spreadsheet: UTF-16 with a mark, tabs, .txt")
def spreadsheet_unicode(folder: Path) -> Truth:
    world = russian_shop()
    sales = [
        (f"K{one.user}", one.item.number, one.quantity, f"{one.at:%Y-%m-%d %H:%M:%S}")
        for one in world.events
    ]
    header = ("Код клиента", "Код товара", "Количество", "Дата")
    (folder / "Продажи.txt").write_bytes(delimited(header, sales, "\t", "\r\n").encode("utf-16"))
    header = ("Код товара", "Наименование", "Описание", "Категория")
    items = [(one.number, one.title, one.text, one.category) for one in world.items]
    (folder / "Товары.txt").write_bytes(delimited(header, items, "\t", "\r\n").encode("utf-16"))
    return truth_of(world, "K{}".format, str, _quantity)


@shape("seconds and milliseconds in one column")
def two_clocks(folder: Path) -> Truth:
    world = english_films()
    rows = [
        (one.user, one.item.number, _unix(one) * (1 if place % 2 else 1_000))
        for place, one in enumerate(world.events)
    ]
    text = delimited(("user_id", "item_id", "timestamp"), rows)
    (folder / "views.csv").write_text(text, encoding="utf-8")
    rows = [(one.number, one.title, one.text) for one in world.items]
    text = delimited(("item_id", "title", "description"), rows)
    (folder / "items.csv").write_text(text, encoding="utf-8")
    return truth_of(world, str, str)


@shape("accents, day before month, a number sign in the header")
def french_bookshop(folder: Path) -> Truth:
    world = french_books()
    rows = [
        (f"{one.at:%d/%m/%Y}", f"C{one.user:04}", f"L{one.item.number}", one.quantity, "12,50")
        for one in world.events
    ]
    header = ("Date de commande", "N° client", "Réf. livre", "Quantité", "Montant TTC")
    (folder / "ventes.csv").write_text(delimited(header, rows, ";"), encoding="utf-8-sig")
    header = ("Réf. livre", "Titre", "Résumé", "Rayon", "Prix")
    rows = [(f"L{one.number}", one.title, one.text, one.category, "12,50") for one in world.items]
    (folder / "livres.csv").write_text(delimited(header, rows, ";"), encoding="utf-8-sig")
    return truth_of(world, "C{:04}".format, "L{}".format, _quantity, _day)


@shape("Chinese names in GB 18030")
def chinese_platform(folder: Path) -> Truth:
    world = chinese_courses()
    header = ("学员编号", "课程编号", "学习时间")
    rows = [
        (f"S{one.user:03}", one.item.number, f"{one.at:%Y/%m/%d %H:%M:%S}") for one in world.events
    ]
    (folder / "选课记录.csv").write_bytes(delimited(header, rows).encode("gb18030"))
    header = ("课程编号", "课程名称", "课程简介", "类别")
    rows = [(one.number, one.title, one.text, one.category) for one in world.items]
    (folder / "课程.csv").write_bytes(delimited(header, rows).encode("gb18030"))
    return truth_of(world, "S{:03}".format, str)


@shape("Japanese names in Shift JIS, dates with year, month and day in words")
def japanese_shop(folder: Path) -> Truth:
    world = japanese_stationery()
    header = ("購入日", "会員番号", "商品コード", "数量")
    rows = [
        (f"{one.at.year}年{one.at.month}月{one.at.day}日", one.user, f"JP{one.item.number}",
         one.quantity)
        for one in world.events
    ]  # fmt: skip
    (folder / "購入履歴.csv").write_bytes(delimited(header, rows, ",", "\r\n").encode("cp932"))
    header = ("商品コード", "商品名", "説明", "カテゴリ")
    rows = [(f"JP{one.number}", one.title, one.text, one.category) for one in world.items]
    (folder / "商品.csv").write_bytes(delimited(header, rows, ",", "\r\n").encode("cp932"))
    return truth_of(world, str, "JP{}".format, _quantity, _day)


@shape("Cyrillic in windows-1251, semicolons")
def russian_export(folder: Path) -> Truth:
    world = russian_shop()
    header = ("Покупатель", "Артикул", "Кол-во", "Сумма", "Дата покупки")
    rows = [
        (f"П-{one.user}", f"Т{one.item.number}", one.quantity, "1 250,00",
         f"{one.at:%d.%m.%Y %H:%M:%S}")
        for one in world.events
    ]  # fmt: skip
    (folder / "покупки.csv").write_bytes(delimited(header, rows, ";").encode("cp1251"))
    header = ("Артикул", "Название", "Описание")
    rows = [(f"Т{one.number}", one.title, one.text) for one in world.items]
    (folder / "товары.csv").write_bytes(delimited(header, rows, ";").encode("cp1251"))
    return truth_of(world, "П-{}".format, "Т{}".format, _quantity)


@shape("ratings with decimal commas, descriptions of several lines")
def spanish_platform(folder: Path) -> Truth:
    world = spanish_courses()
    events = _last_of_pairs(world.events)
    header = ("alumno", "curso", "valoración", "fecha")
    rows = [
        (f"a{one.user}", f"c-{one.item.number}", f"{one.stars},5", f"{one.at:%Y-%m-%dT%H:%M:%SZ}")
        for one in events
    ]
    (folder / "valoraciones.csv").write_text(delimited(header, rows, ";"), encoding="utf-8")
    header = ("curso", "título", "descripción")
    rows = [
        (f"c-{one.number}", one.title, f"{one.text}.\n\nNivel; inicial.") for one in world.items
    ]
    text = delimited(header, rows, ";", "\r\n")
    (folder / "cursos.csv").write_text(text, encoding="utf-8", newline="")
    return truth_of(world, "a{}".format, "c-{}".format, lambda one: one.stars + 0.5, events=events)


@shape("lines of an older Mac, packed, with a row of totals at the end")
def old_mac(folder: Path) -> Truth:
    world = english_films()
    rows = [(one.user, one.item.number, one.quantity) for one in world.events]
    text = delimited(("customer", "film", "copies"), [*rows, ("Total", "", 999)], ",", "\r")
    with gzip.open(folder / "rentals.csv.gz", "wb") as packed:
        packed.write(text.encode())
    text = delimited(
        ("film", "title", "plot"), [(one.number, one.title, one.text) for one in world.items],
        ",", "\r",
    )  # fmt: skip
    (folder / "films.csv").write_text(text, encoding="utf-8", newline="")
    return truth_of(world, str, str, _quantity, lambda one: None, rejected=1)


@shape("a dump of a forum: tabs, \\N for null, one person a number and the other a null")
def forum_dump(folder: Path) -> Truth:
    world = spanish_courses()
    nobody = {3, 17, 40}
    rows = [
        (place, r"\N" if place in nobody else one.user, one.item.number,
         f"{one.at:%Y-%m-%d %H:%M:%S}", r"\N")
        for place, one in enumerate(world.events)
    ]  # fmt: skip
    header = ("id", "user_id", "thread_id", "created_at", "deleted_at")
    (folder / "votes.tsv").write_text(delimited(header, rows, "\t"), encoding="utf-8")
    rows = [(one.number, one.title, one.text, r"\N") for one in world.items]
    header = ("thread_id", "title", "body", "closed_at")
    (folder / "threads.tsv").write_text(delimited(header, rows, "\t"), encoding="utf-8")
    events = [one for place, one in enumerate(world.events) if place not in nobody]
    return truth_of(world, str, str, events=events, rejected=3)


@shape("two lines above the header: what was exported, and when", refusal="header")
def report_heading(folder: Path) -> Truth:
    world = german_kitchen()
    rows = [(one.user, one.item.number, one.quantity) for one in world.events]
    text = delimited(("Kunde", "Artikel", "Menge"), rows, ";")
    heading = "Auswertung Verkauf je Kunde\nStand: 01.02.2024 10:00\n"
    (folder / "verkauf.csv").write_text(heading + text, encoding="utf-8")
    rows = [(one.number, one.title, one.text) for one in world.items]
    text = delimited(("Artikel", "Bezeichnung", "Langtext"), rows, ";")
    (folder / "artikel.csv").write_text(text, encoding="utf-8")
    return truth_of(world, str, str, _quantity, lambda one: None)


@shape("007 in one table, 7 in the other", refusal="leading zeros")
def leading_zeros(folder: Path) -> Truth:
    world = english_films()
    rows = [(one.user, f"{one.item.number:03}", f"{one.at:%Y-%m-%d}") for one in world.events]
    text = delimited(("user_id", "item_id", "date"), rows)
    (folder / "loans.csv").write_text(text, encoding="utf-8")
    rows = [(one.number, one.title, one.text) for one in world.items]
    text = delimited(("item_id", "title", "plot"), rows)
    (folder / "films.csv").write_text(text, encoding="utf-8")
    return truth_of(world, str, "{:03}".format, at=_day)


@shape("items that have an id and a text, and no title")
def no_titles(folder: Path) -> Truth:
    world = english_films()
    rows = [(one.user, f"f{one.item.number}", f"{one.at:%Y-%m-%d %H:%M}") for one in world.events]
    text = delimited(("reader", "post", "time"), rows)
    (folder / "reads.csv").write_text(text, encoding="utf-8")
    rows = [(f"f{one.number}", f"{one.text} {one.text}") for one in world.items]
    (folder / "posts.csv").write_text(delimited(("post", "body"), rows), encoding="utf-8")
    truth = truth_of(world, str, "f{}".format, at=_minute)
    titles = {f"f{one.number}": f"{one.text[:30]}…" for one in world.items}
    return Truth(truth.pairs, titles)
