"""What a YAML file may say, and what it is told when it says something else."""

import pytest

from recsys_dagster.catalog import Catalogs, parse_condition, read_catalog
from recsys_dagster.errors import UserError

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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("strategi: ease", r"strategi: unknown key\. Did you mean 'strategy'"),
        ("similarity: cosin", "similarity: .*'cosine'"),
        ("users: {vectrs: text}", r"users\.vectrs: unknown key\. Did you mean 'vectors'"),
        ("recommendations: 0", "recommendations: .*greater than 0"),
    ],
)
def test_a_fault_is_named_with_the_nearest_right_name(tmp_path, line, message):
    with pytest.raises(UserError, match=message):
        read_catalog(written(tmp_path, SMALLEST + line + "\n"))


def test_an_unknown_column_of_ours_is_named(tmp_path):
    text = SMALLEST.replace("interactions.parquet}", "i.parquet, columns: {user: a}}")
    with pytest.raises(UserError, match=r"interactions\.columns.*Did you mean 'user_id'"):
        read_catalog(written(tmp_path, text))


@pytest.mark.parametrize("name", ["../shop", "Shop", "", "a/b", "1st", "x" * 41])
def test_a_name_stays_in_its_folder(tmp_path, name):
    with pytest.raises(UserError, match="name: "):
        read_catalog(written(tmp_path, SMALLEST.replace("name: shop", f"name: '{name}'")))


def test_one_name_in_two_files_is_refused(tmp_path):
    written(tmp_path, SMALLEST)
    written(tmp_path, SMALLEST, "other.yaml")
    with pytest.raises(UserError, match=r"'shop' is taken by .*other\.yaml"):
        Catalogs.read(tmp_path)


def test_a_folder_without_catalogs_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="at least one"):
        Catalogs.read(tmp_path)
    with pytest.raises(UserError, match="RECSYS_CATALOGS"):
        Catalogs.read(tmp_path / "nowhere")


def test_text_that_is_not_a_mapping(tmp_path):
    with pytest.raises(UserError, match="expected a mapping"):
        read_catalog(written(tmp_path, "- a\n- b\n"))
    with pytest.raises(UserError, match="not YAML"):
        read_catalog(written(tmp_path, "a: [b"))


def test_conditions():
    assert parse_condition("rating >= 4") == ("rating", ">=", 4.0)
    assert parse_condition(" weight<-1.5 ") == ("weight", "<", -1.5)
    with pytest.raises(ValueError, match="not a condition"):
        parse_condition("rating => 4")
