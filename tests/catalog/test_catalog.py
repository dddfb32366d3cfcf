"""What a YAML file may say, and what it is told when it says something else."""

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from recsys_dagster.catalog.files import Catalogs, catalog_files, catalogs_folder, read_catalog
from recsys_dagster.catalog.settings import (
    DEFAULT_ENCODER,
    Catalog,
    InteractionsSettings,
    parse_condition,
)
from recsys_dagster.catalog.source import expand_variables
from recsys_dagster.errors import UserError
from recsys_dagster.resources import check_results, embedding_store

SMALLEST = """\
name: shop
interactions: {source: ../data/shop/interactions.parquet}
items: {source: ../data/shop/items.parquet, text: [title, description]}
"""


def written(folder, text, name="shop.yaml"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_the_smallest_catalog_needs_three_lines(tmp_path):
    catalog = read_catalog(written(tmp_path, SMALLEST))
    assert (catalog.name, catalog.strategy, catalog.similarity) == ("shop", "hybrid", "cosine")
    assert catalog.folder == tmp_path
    assert catalog.encoder.model == DEFAULT_ENCODER
    assert catalog.interactions.positive is None
    assert catalog.items.text == ("title", "description")
    assert "folder" not in catalog.model_dump()


def test_an_encoder_is_a_name_or_settings(tmp_path):
    named = read_catalog(written(tmp_path, SMALLEST + "encoder: tfidf\n"))
    assert (named.encoder.model, named.encoder.dimension) == ("tfidf", 256)
    described = SMALLEST + "encoder: {model: tfidf, dimension: 64}\n"
    assert read_catalog(written(tmp_path, described)).encoder.dimension == 64


@pytest.mark.parametrize("strategy", get_args(Catalog.model_fields["strategy"].annotation))
def test_every_strategy_can_be_chosen(tmp_path, strategy):
    chosen = read_catalog(written(tmp_path, SMALLEST + f"strategy: {strategy}\n"))
    assert chosen.strategy == strategy


def test_rules_are_off_unless_a_catalog_has_them(tmp_path):
    rules = read_catalog(written(tmp_path, SMALLEST)).rules
    assert not rules.narrow
    assert not rules.reorder


def test_ids_and_categories_that_yaml_reads_as_numbers_are_text(tmp_path):
    text = SMALLEST + "rules: {allow: [318, '007'], deny: deny.txt, categories: [1999]}\n"
    rules = read_catalog(written(tmp_path, text)).rules
    assert (rules.allow, rules.deny, rules.categories) == (("318", "007"), "deny.txt", ("1999",))
    assert rules.narrow


@pytest.mark.parametrize("key", ["allow", "deny", "categories", "without_categories"])
def test_an_id_without_quotes_is_what_is_written(tmp_path, key):
    written_so = ("007", "0123", "1_000", "12:30", "0x1F", "0b11", "+7", "-0", "-7", "7", "0")
    text = SMALLEST + f"rules: {{{key}: [{', '.join(written_so)}]}}\n"
    assert getattr(read_catalog(written(tmp_path, text)).rules, key) == written_so


def test_what_is_counted_is_in_decimal_however_it_is_written(tmp_path):
    text = SMALLEST + "list_length: 010\nmatrix_width: 1_000\nusers: {half_life_days: +7}\n"
    catalog = read_catalog(written(tmp_path, text))
    assert (catalog.list_length, catalog.matrix_width) == (10, 1000)
    assert catalog.users.half_life_days == 7
    with pytest.raises(UserError, match=r"shop\.yaml:4: list_length: .*integer.*found '0x1F'"):
        read_catalog(written(tmp_path, SMALLEST + "list_length: 0x1F\n"))


def test_settings_do_not_change(tmp_path):
    catalog = read_catalog(written(tmp_path, SMALLEST))
    with pytest.raises(ValidationError, match="frozen"):
        catalog.name = "other"  # ty: ignore[invalid-assignment]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("strategi: ease", r"strategi: unknown key\. Did you mean 'strategy'"),
        ("similarity: cosin", "similarity: .*'cosine'"),
        ("users: {vectrs: text}", r"users\.vectrs: unknown key\. Did you mean 'vectors'"),
        ("list_length: 0", "list_length: .*greater than 0"),
        ("users: {text_share: 1.5}", r"users\.text_share: .*less than or equal to 1"),
        ("users: {half_life: 3}", r"users\.half_life: unknown key.*'half_life_days'"),
        (
            "models: {hybrid: {cold_bost: 3}}",
            r"models\.hybrid\.cold_bost: unknown key.*'cold_boost'",
        ),
        ("encoder: {modle: tfidf}", r"encoder\.modle: unknown key.*'model'"),
        ("encoder: {preset: tinny}", r"encoder\.preset: .*'exact', 'fast' or 'tiny'"),
        ("encoder: {model: tfidf, preset: tiny}", r"encoder: preset tiny: tfidf has none"),
        ("interactions: {}", r"interactions\.source: this field is required"),
        ("users: {half_life_position: 3}", r"unknown key.*'half_life_positions'"),
        ("interactions: {source: x, weight_scale: logs}", r"weight_scale: .*'log'"),
        ("interactions: {source: x, minimum_per_user: 0}", r"minimum_per_user: .*equal to 1"),
        ("interactions: {source: x, events: {view: -1}}", r"events\.view: .*equal to 0"),
        ("interactions: {source: x, returns: true, repeats: max}", r"returns needs repeats: sum"),
        ("items: {source: x, text: t, columns: {stock: a}}", r"'stock' is not one of ours"),
        ("interactions: clicks.csv", r"interactions: .*found 'clicks\.csv'"),
        ("interactions: {source: x, positive: rating is 4}", "positive: .*is not a condition"),
        ("rules: {denny: [a]}", r"rules\.denny: unknown key\. Did you mean 'deny'"),
        ("rules: {allow: 7}", r"rules\.allow: expected a list of item_ids, or the path of a text"),
        ("rules: {deny: [2020-01-01]}", r"rules\.deny: .*as 2020-01-01: write it in quotes"),
        ("rules: {categories: [yes]}", r"rules\.categories: .*as True: write it in quotes"),
        ("rules: {deny: ''}", r"rules\.deny.*at least 1 character"),
        ("rules: {categories: []}", r"rules\.categories: .*at least 1 item"),
        ("rules: {categories: [a], without_categories: [b, a]}", r"rules: 'a': both in categories"),
        ("rules: {max_per_category: 0}", r"max_per_category: .*greater than or equal to 1"),
        ("rules: {diversity: 1}", r"rules\.diversity: .*less than 1"),
        ("rules: {freshness_boost: -1}", r"freshness_boost: .*greater than or equal to 0"),
        ("rules: {freshness_half_life_days: 0}", r"freshness_half_life_days: .*greater than 0"),
    ],
)
def test_a_fault_is_named_with_the_nearest_right_name(tmp_path, line, message):
    key = line.partition(":")[0]
    others = [own for own in SMALLEST.splitlines() if not own.startswith(f"{key}:")]
    with pytest.raises(UserError, match=message):
        read_catalog(written(tmp_path, "\n".join([*others, line, ""])))


@pytest.mark.parametrize(
    "line",
    [
        "encoder: {model: tfidf, dimension: 1000000000}",
        "encoder: {max_length: 1000000000}",
        "matrix_width: 1000000000",
        "neighbours: 1000000000",
        "list_length: 1000000000",
        "models: {item_knn: {neighbours: 1000000000}}",
        "models: {als: {factors: 1000000000}}",
        "models: {recent: {days: 1e300}}",
        "evaluation: {k: [1000000000]}",
        "refresh: {every_seconds: 100000000000}",
        "refresh: {fresh_within_hours: 1e300}",
        "keep: {run_days: 1e300}",
        "keep: {encoder_days: 1e300}",
    ],
)
def test_a_number_that_would_take_all_memory_or_time_is_refused(tmp_path, line):
    with pytest.raises(UserError, match=r":4: .*less than or equal to"):
        read_catalog(written(tmp_path, SMALLEST + line + "\n"))


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan"])
@pytest.mark.parametrize(
    "line",
    [
        "models: {hybrid: {cold_boost: NUMBER}}",
        "checks: {row_fall: NUMBER}",
        "rules: {diversity: NUMBER}",
    ],
)
def test_a_number_is_finite(tmp_path, line, number):
    with pytest.raises(UserError, match=r":4: .*finite number"):
        read_catalog(written(tmp_path, SMALLEST + line.replace("NUMBER", number) + "\n"))


@pytest.mark.parametrize("schedule", ["99 99 * * *", "0 3 31 2 *", "a b c d e", "0 3 * *", "@noon"])
def test_a_schedule_whose_time_never_comes_is_refused(tmp_path, schedule):
    with pytest.raises(UserError, match=r":4: refresh\.schedule: .*cron"):
        read_catalog(written(tmp_path, SMALLEST + f"refresh: {{schedule: '{schedule}'}}\n"))


def test_a_name_whose_job_would_be_called_as_ours_is_refused(tmp_path):
    with pytest.raises(UserError, match=r":1: name: .*clean_up"):
        read_catalog(written(tmp_path, SMALLEST.replace("name: shop", "name: up")))


@pytest.mark.parametrize(
    "schema", [check_results.SCHEMA, embedding_store.SCHEMA, "information_schema"]
)
def test_a_name_that_duckdb_could_not_tell_from_a_schema_is_refused(tmp_path, schema):
    with pytest.raises(UserError, match=r":1: name: .*a schema of that name"):
        read_catalog(written(tmp_path, SMALLEST.replace("name: shop", f"name: {schema}")))


def test_every_fault_is_told_at_once(tmp_path):
    faulty = SMALLEST.replace("name: shop", "name: X") + "neighbours: -1\ncolour: red\n"
    with pytest.raises(UserError) as raised:
        read_catalog(written(tmp_path, faulty))
    _, *faults = str(raised.value).splitlines()
    assert [fault.split(": ")[1] for fault in faults] == ["name", "neighbours", "colour"]


def test_a_fault_carries_its_file_and_line(tmp_path):
    text = (
        "name: shop\n"
        "interactions:\n"
        "  source: i.csv\n"
        "  repeat: last\n"
        "items:\n"
        "  source: {path: m.csv, delimiter: abcde}\n"
        "  text: [title]\n"
        "users:\n"
        "  source: {paht: u.csv}\n"
        "encoder:\n"
        "  max_length: 0\n"
    )
    file = written(tmp_path, text)
    with pytest.raises(UserError) as raised:
        read_catalog(file)
    assert f"{file}:4: interactions.repeat: unknown key. Did you mean 'repeats'" in str(
        raised.value
    )
    for line, field in [
        (6, "items.source.delimiter"),
        (9, "users.source.paht"),
        (11, "encoder.max_length"),
    ]:
        assert f"{file}:{line}: {field}: " in str(raised.value)


@pytest.mark.parametrize("table", ["orders", "path"])
def test_an_unknown_key_of_a_table_is_named_with_its_line(tmp_path, table):
    text = (
        "name: shop\n"
        "interactions:\n"
        "  source:\n"
        f"    sql: select * from {table}\n"
        "    tables:\n"
        f"      {table}:\n"
        "        path: a.csv\n"
        "        delimeter: ';'\n"
        "items: {source: i.csv, text: title}\n"
    )
    file = written(tmp_path, text)
    fault = f"{file}:8: interactions.source.tables.{table}.delimeter: unknown key. Did you mean"
    with pytest.raises(UserError, match=re.escape(f"{fault} 'delimiter'?")):
        read_catalog(file)


def test_a_missing_part_is_named_at_the_line_of_what_lacks_it(tmp_path):
    file = written(tmp_path, "name: shop\nitems:\n  text: title\n")
    with pytest.raises(UserError) as raised:
        read_catalog(file)
    assert f"{file}:1: interactions: this field is required" in str(raised.value)
    assert f"{file}:2: items.source: this field is required" in str(raised.value)


# Sources


def source_of(tmp_path, source):
    text = f"name: shop\ninteractions:\n  source: {source}\nitems: {{source: m, text: t}}\n"
    return read_catalog(written(tmp_path, text)).interactions.source


@pytest.mark.parametrize(
    ("source", "name", "value", "described"),
    [
        ("../data/i.csv", "path", "../data/i.csv", "../data/i.csv"),
        ("orders/*.parquet", "path", "orders/*.parquet", "orders/*.parquet"),
        ("python:shop.tables:orders", "function", "shop.tables:orders", None),
        ("{path: i.csv, delimiter: ';', encoding: latin-1}", "delimiter", ";", "i.csv"),
        ("{database: s.duckdb, table: orders}", "table", "orders", "s.duckdb, table orders"),
        ("{sql: \"select *\\n from 'i.csv'\"}", "sql", None, "select * from 'i.csv'"),
        ("{asset: sales/orders}", "asset", "sales/orders", "asset sales/orders"),
        ("{asset: sales/orders, io_manager: my_io}", "io_manager", "my_io", None),
        ("{asset: sales/orders, path: o.parquet}", "path", "o.parquet", "o.parquet"),
        ("{database: s.db, sql: select 1, watermark: id}", "watermark", "id", "select 1"),
    ],
)
def test_where_rows_may_come_from(tmp_path, source, name, value, described):
    settings = source_of(tmp_path, source)
    if value is not None:
        assert getattr(settings, name) == value
    if described is not None:
        assert settings.described == described
    assert settings.is_asset_value == (source.startswith("{asset") and "path" not in source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{}", "exactly one of path, function, table .* found none of them"),
        ("{path: a.csv, sql: select 1}", "found path and sql"),
        ("{table: orders}", "table needs database"),
        ("{database: s.duckdb}", "found none of them"),
        ("{database: s.duckdb, path: a.csv}", "database needs table or sql"),
        ("{path: a.csv, watermark: id}", "watermark needs table or sql"),
        ("{sql: select 1, delimiter: ';'}", "delimiter needs path"),
        ("{path: a.csv, io_manager: io}", "io_manager needs asset, and nothing else"),
        ("{path: a.csv, encoding: utf-9}", "there is no encoding 'utf-9'"),
        ("{path: a.csv, delimiter: abcde}", r"delimiter: .*at most 4 characters"),
        ("python:shop", "expected module:function"),
        ("python:..shop:rows", "expected module:function"),
        ("{sql: copy (select 1) to 'out.csv'}", r":3: interactions\.source\.sql: .*found COPY"),
        ("{file: a.csv}", r"interactions\.source\.file: unknown key"),
    ],
)
def test_a_source_names_one_origin_and_what_it_needs(tmp_path, source, message):
    with pytest.raises(UserError, match=message):
        source_of(tmp_path, source)


def test_environment_variables_stand_in_a_path(monkeypatch):
    monkeypatch.setenv("SHOP_DATA", "/srv/shop")
    monkeypatch.setenv("SHOP_DAY", "today")
    assert expand_variables("${SHOP_DATA}/${SHOP_DAY}.csv") == "/srv/shop/today.csv"
    assert expand_variables("no $VARIABLE and {none}") == "no $VARIABLE and {none}"
    with pytest.raises(UserError, match=r"SHOP_DATE is not set\. Did you mean 'SHOP_DATA'"):
        expand_variables("${SHOP_DATE}/x.csv")


def test_an_unknown_column_of_ours_is_named(tmp_path):
    text = SMALLEST.replace("interactions.parquet}", "i.parquet, columns: {user: a}}")
    with pytest.raises(UserError, match=r"interactions\.columns.*Did you mean 'user_id'"):
        read_catalog(written(tmp_path, text))


@pytest.mark.parametrize("name", ["../shop", "Shop", "", "a/b", "1st", "x" * 41])
def test_a_name_stays_in_its_folder(tmp_path, name):
    with pytest.raises(UserError, match="name: "):
        read_catalog(written(tmp_path, SMALLEST.replace("name: shop", f"name: '{name}'")))


def test_a_folder_holds_catalogs_by_name(tmp_path):
    written(tmp_path, SMALLEST, "b.yml")
    written(tmp_path, SMALLEST.replace("name: shop", "name: films"), "a.yaml")
    written(tmp_path, "not a catalog", "notes.txt")
    catalogs = Catalogs.read(tmp_path)
    assert sorted(catalogs) == ["films", "shop"]
    assert "shop" in catalogs
    assert catalogs["films"].name == "films"
    assert [file.name for file in catalog_files(tmp_path)] == ["a.yaml", "b.yml"]
    with pytest.raises(UserError, match=r"no catalog 'film'\. Did you mean 'films'"):
        catalogs["film"]


def test_what_editors_and_file_systems_put_beside_a_catalog_is_none(tmp_path):
    file = written(tmp_path, SMALLEST)
    (tmp_path / ".#shop.yaml").symlink_to("somebody@host.4711")  # Emacs, while it is edited
    (tmp_path / "._shop.yaml").write_bytes(b"\x00\x05\x16\x07Mac OS X")
    catalogs = Catalogs.read(tmp_path)
    assert (list(catalogs), catalogs.faulty) == (["shop"], ())
    file.unlink()
    with pytest.raises(UserError, match="no catalog here"):
        catalog_files(tmp_path)


def test_the_folder_comes_from_the_environment_or_lies_here(monkeypatch, tmp_path):
    monkeypatch.setenv("RECSYS_CATALOGS", str(tmp_path / "mine"))
    assert catalogs_folder() == (tmp_path / "mine").resolve()
    monkeypatch.delenv("RECSYS_CATALOGS")
    monkeypatch.chdir(tmp_path)
    assert catalogs_folder() == (tmp_path / "catalogs").resolve()


def test_the_catalogs_of_the_repository_are_right():
    assert "movies" in Catalogs.read(Path(__file__).parents[2] / "catalogs")


def test_files_of_one_name_are_faulty_and_the_rest_go_on(tmp_path):
    one, other = written(tmp_path, SMALLEST), written(tmp_path, SMALLEST, "other.yaml")
    written(tmp_path, SMALLEST.replace("name: shop", "name: films"), "films.yaml")
    catalogs = Catalogs.read(tmp_path)
    assert list(catalogs) == ["films"]
    assert [each.file for each in catalogs.faulty] == [other, one]
    assert {each.name for each in catalogs.faulty} == {"shop"}
    with pytest.raises(UserError) as raised:
        catalogs["shop"]
    assert f"{one}: the name 'shop' is taken by {other}" in str(raised.value)
    assert f"{other}: the name 'shop' is taken by {one}" in str(raised.value)


class TestAFaultyFile:
    @pytest.fixture
    def catalogs(self, tmp_path):
        written(tmp_path, SMALLEST)
        written(tmp_path, SMALLEST.replace("name: shop", "name: films") + "colour: red\n", "f.yaml")
        written(tmp_path, "name: [", "broken.yaml")
        return Catalogs.read(tmp_path)

    def test_leaves_the_others_as_they_are(self, catalogs):
        assert list(catalogs) == ["shop"]
        assert catalogs["shop"].name == "shop"
        assert catalogs.require_some() is catalogs

    def test_is_kept_with_its_faults(self, catalogs):
        broken, films = catalogs.faulty
        assert (broken.file.name, broken.name) == ("broken.yaml", "broken")
        assert (films.file.name, films.name) == ("f.yaml", "films")
        assert "colour: unknown key" in films.fault

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("films", r"f\.yaml:4: colour: unknown key"),
            ("broken", r"broken\.yaml:1: this is not YAML"),
            ("shoop", r"Did you mean 'shop'\? Faulty, and so not looked into: .*f\.yaml; recsys v"),
        ],
    )
    def test_is_told_to_who_asks_for_it_or_for_one_that_may_be_in_it(self, catalogs, name, message):
        with pytest.raises(UserError, match=message):
            catalogs[name]

    def test_alone_leaves_nothing_to_go_on_with(self, tmp_path):
        written(tmp_path, "name: [", "a.yaml")
        written(tmp_path, "- a\n", "b.yaml")
        with pytest.raises(UserError, match=r"(?s)a\.yaml:1: .*b\.yaml:1: "):
            Catalogs.read(tmp_path).require_some()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r":1: expected a mapping .*the file is empty"),
        ("# only a comment\n", r":1: expected a mapping .*the file is empty"),
        ("- a\n- b\n", r":1: expected a mapping .*found a list"),
        ("\nshop\n", r":2: expected a mapping .*found a text"),
        (SMALLEST + "---\n" + SMALLEST, r":5: a second document begins here"),
        (SMALLEST + "name: other\n", r":4: the key 'name' is in line 1 already"),
        (SMALLEST + "users:\n  text: a\n  text: b\n", r":6: the key 'text' is in line 5 already"),
        (SMALLEST + "1: a\n", r":4: the key 1 is no text for YAML: write it in quotes"),
        (SMALLEST + "on: a\n", r':4: the key on is no text .*as in "on"'),
        (SMALLEST + "? [a]\n: b\n", r":4: the key a list or mapping is no text"),
        (SMALLEST + "users:\n\ttext: a\n", r":5: this is not YAML: .*indent with spaces"),
        (SMALLEST + "rules: {allow: [a}\n", r":4: this is not YAML: "),
        (SMALLEST + "description: !!python/object:os.system ls\n", r":4: .*only plain values"),
        (SMALLEST + "description: 2024-13-45\n", r":4: .*month must be in 1..12.*in quotes"),
        (SMALLEST + "description: !!int many\n", r":4: .*in quotes"),
        (SMALLEST + "description: a\x01b\n", r":4: this is not YAML: "),
        (SMALLEST + "users: &a {columns: *a}\n", r":4: .*stands for what it is part of"),
        ("name: " + "[" * 5000, "nested too deeply"),
    ],
)
def test_what_is_no_catalog_in_yaml_says_so_with_its_line(tmp_path, text, message):
    with pytest.raises(UserError, match=r"shop\.yaml.*" + message):
        read_catalog(written(tmp_path, text))


def test_every_key_that_is_there_twice_is_told(tmp_path):
    with pytest.raises(UserError) as raised:
        read_catalog(written(tmp_path, SMALLEST + "name: a\nitems: {text: t}\n"))
    assert [line.split(":")[1] for line in str(raised.value).splitlines()] == ["4", "5"]


def test_anchors_and_merged_keys_are_fine(tmp_path):
    text = (
        "name: shop\n"
        "interactions: {source: &orders {path: o.csv}}\n"
        "items:\n  source: {<<: *orders, path: i.csv}\n  text: title\n"
        "users: {source: *orders, text: about}\n"
    )
    catalog = read_catalog(written(tmp_path, text))
    assert catalog.items.source.path == "i.csv"
    assert catalog.users.source == catalog.interactions.source


def test_aliases_that_grow_beyond_memory_are_refused(tmp_path):
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(UserError, match="with its aliases this stands for more than 200,000"):
        read_catalog(written(tmp_path, SMALLEST + "\n".join(levels)))


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
    (tmp_path / "shop.yaml").write_bytes(b"\xef\xbb\xbf" + SMALLEST.encode())
    assert read_catalog(tmp_path / "shop.yaml").name == "shop"


def test_a_folder_without_catalogs_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="at least one"):
        Catalogs.read(tmp_path)
    with pytest.raises(UserError, match="RECSYS_CATALOGS"):
        Catalogs.read(tmp_path / "nowhere")


def test_a_file_that_is_not_there_or_not_utf8(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        read_catalog(tmp_path / "no.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: café".encode("latin-1"))
    with pytest.raises(UserError, match="not YAML in UTF-8"):
        read_catalog(tmp_path / "latin.yaml")


def test_text_that_is_not_a_mapping(tmp_path):
    with pytest.raises(UserError, match="expected a mapping"):
        read_catalog(written(tmp_path, "- a\n- b\n"))
    with pytest.raises(UserError, match="not YAML"):
        read_catalog(written(tmp_path, "a: [b"))


def test_conditions():
    assert parse_condition("rating >= 4") == ("rating", ">=", 4.0)
    assert parse_condition(" weight<-1.5 ") == ("weight", "<", -1.5)
    assert parse_condition("größe!=0") == ("größe", "!=", 0.0)


@pytest.mark.parametrize(
    "text", ["", "rating", "rating >=", "rating => 4", "rating = 4", "4 < x", "x > y", "a > 1 b"]
)
def test_what_is_not_a_condition(text):
    with pytest.raises(ValueError, match="is not a condition"):
        parse_condition(text)


@pytest.mark.parametrize("timestamp_format", ["%Q garbage", "mixed", "ISO8601", "100%"])
def test_a_format_of_times_that_is_none_is_refused_when_read(timestamp_format):
    with pytest.raises(ValidationError, match="expected directives as in Python"):
        InteractionsSettings(source="i.csv", timestamp_format=timestamp_format)
