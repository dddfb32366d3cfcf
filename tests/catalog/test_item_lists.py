"""Items named in text files beside the catalog."""

import pytest

from recsys_dagster.catalog.item_lists import named_items, named_items_digest
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError


@pytest.fixture
def ruled(tmp_path):
    """`ruled(**rules)`: a catalog whose YAML lies in `tmp_path`."""

    def make(**rules):
        settings = {
            "name": "shop",
            "interactions": {"source": "i.csv"},
            "items": {"source": "m.csv", "text": "title"},
            "rules": rules,
            "folder": tmp_path,
        }
        return Catalog.model_validate(settings)

    return make


def test_ids_stand_in_the_catalog_or_one_a_line_in_a_file_beside_it(ruled, tmp_path):
    (tmp_path / "deny.txt").write_bytes("\ufeff7\r\n\n  a b \nü".encode())
    named = named_items(ruled(allow=[318, "x"], deny="deny.txt"))
    assert named.allow == ("318", "x")
    assert named.deny == ("7", "a b", "ü")
    nothing = named_items(ruled())
    assert (nothing.allow, nothing.deny) == (None, ())


def test_a_path_may_have_environment_variables(ruled, tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "allow.txt").write_text("a\n")
    monkeypatch.setenv("LISTS", str(tmp_path / "lists"))
    assert named_items(ruled(allow="${LISTS}/allow.txt")).allow == ("a",)
    with pytest.raises(UserError, match="LIST_FOLDER is not set"):
        named_items(ruled(allow="${LIST_FOLDER}/allow.txt"))


def test_a_file_that_is_not_there_is_an_error_with_its_key_and_the_nearest(ruled, tmp_path):
    (tmp_path / "deny.txt").write_text("a\n")
    with pytest.raises(
        UserError, match=r"rules: deny: .*denny\.txt: there is no such file\. .*'deny\.txt'"
    ):
        named_items(ruled(deny="denny.txt"))


def test_what_is_no_text_is_an_error_with_its_key(ruled, tmp_path):
    (tmp_path / "allow.txt").write_bytes(b"\xff\xfe7\x00")
    for path in ("allow.txt", "."):
        with pytest.raises(UserError, match=r"rules: allow: .*expected a text file in UTF-8"):
            named_items(ruled(allow=path))


def test_the_fingerprint_is_of_what_files_name(ruled, tmp_path):
    (tmp_path / "a.txt").write_text("a\nb\n")
    (tmp_path / "b.txt").write_text("a\n\n b\n")
    first = named_items_digest(ruled(deny="a.txt"))
    assert named_items_digest(ruled(deny="b.txt")) == first
    assert named_items_digest(ruled(allow="a.txt")) != first
    (tmp_path / "a.txt").write_text("a\nc\n")
    assert named_items_digest(ruled(deny="a.txt")) != first
    # What is in the YAML is a setting, and compared as one.
    assert named_items_digest(ruled(deny=["a"])) == named_items_digest(ruled()) == ""
