"""`recsys validate`: everything wrong with a catalog's data at once, and what was understood."""

import dagster as dg
import pytest

from recsys_dagster.cli.app import validate
from recsys_dagster.errors import UserError
from recsys_dagster.onboarding.inspection import inspect_catalog


@pytest.fixture
def inspected(tiny):
    """`inspected(files, **settings)`: files of the tiny catalog replaced, then inspected."""

    def inspect(files=None, **settings):
        place = tiny(**settings)
        for name, text in (files or {}).items():
            (place.data / name).write_text(text, encoding="utf-8")
        return inspect_catalog(place.catalog("tiny"))

    return inspect


def test_a_sound_catalog_has_no_fault_and_shows_what_was_understood(inspected):
    found = inspected()
    assert found.faults == found.remarks == []
    interactions, items = found.tables
    assert (interactions.table, interactions.rows, interactions.accepted) == (
        "interactions",
        24,
        24,
    )
    assert [(ours, theirs) for ours, theirs, _ in interactions.columns] == [
        ("user_id", "user_id"),
        ("item_id", "item_id"),
        ("weight", "rating"),
        ("timestamp", "timestamp"),
    ]
    assert ("title", "title", "Star Voyage") in items.columns
    assert ("Alien Planet", "Alien Planet. space alien") in found.texts
    assert len(found.texts) == 5


def test_all_faults_are_told_at_once(inspected):
    found = inspected(
        {"interactions.csv": "who,what,rating\nu,space1,5\n"},
        items={"source": "../data/item.csv", "text": "title"},
        users={"source": "../data/users.csv", "text": "profil"},
        encoder="no/such-model-anywhere",
    )
    told = "\n".join(found.faults)
    assert "no column is known as user_id. Found: 'who', 'what', 'rating'" in told
    assert "no column is known as item_id" in told
    assert "item.csv: there is no such file. Did you mean 'items.csv'" in told
    assert "no/such-model-anywhere" in told


def test_a_text_that_asks_for_a_column_that_is_not_there(inspected):
    found = inspected(items={"source": "../data/items.csv", "text": "{title} {genre}"})
    (fault,) = found.faults
    assert "'genre'" in fault
    assert "Did you mean 'genres'?" in fault


@pytest.mark.parametrize("text", ["{t", "{}", ""])
def test_a_text_that_is_no_template_hides_no_other_fault(inspected, text):
    found = inspected(
        interactions={"source": "../data/interactions.csv", "columns": {"weight": "nope"}},
        items={"source": "../data/items.csv", "text": text},
        rules={"allow": "../data/gone.txt"},
    )
    weight, template, rules = found.faults
    assert "the column 'nope', given as weight, is not in the source" in weight
    assert f"text: {text!r}" in template
    assert "gone.txt: there is no such file" in rules


def test_rejected_rows_are_counted_with_examples_of_where_they_are(inspected):
    found = inspected(
        {"interactions.csv": "user_id,item_id,rating\nu,space1,5\n,space2,4\nu,space3,many\nu\n"}
    )
    interactions = found.tables[0]
    assert interactions.accepted == 1
    assert {reject.reason: reject.examples for reject in interactions.rejects} == {
        "user_id is missing or blank": [
            "interactions.csv, row 2: item_id 'space2', weight '4'",
        ],
        "weight is not a number": [
            "interactions.csv, row 3: user_id 'u', item_id 'space3', weight 'many'"
        ],
        "the line has fewer columns than the header": [
            "interactions.csv, row 4: could not be read: the line has fewer columns than the header"
        ],
    }


def test_nothing_to_learn_from_is_a_fault(inspected):
    found = inspected({"interactions.csv": "user_id,item_id,rating\nu,space1,1\n"})
    (fault,) = found.faults
    assert "nothing to learn from" in fault


def test_tables_that_write_ids_differently_are_a_fault(inspected):
    found = inspected({"interactions.csv": "user_id,item_id,rating\nu,SPACE-1,5\n"})
    (fault,) = found.faults
    assert "'SPACE-1'" in fault
    assert "look like 'love1'" in fault


def test_a_few_unknown_items_are_a_remark(inspected):
    found = inspected({"interactions.csv": "user_id,item_id,rating\nu,space1,5\nu,gone,5\n"})
    assert found.faults == []
    (remark,) = found.remarks
    assert "50.0% of 2 interactions are with items of the catalogue" in remark
    assert "1 items are only in interactions: never recommended" in remark
    assert "'gone'" in remark


def test_ids_that_differ_by_leading_zeros_are_explained(inspected):
    found = inspected(
        {
            "interactions.csv": "user_id,item_id,rating\nu,007,5\nu,008,5\n",
            "items.csv": "item_id,title,genres\n7,Heat,crime\n8,Alien,space\n",
        }
    )
    (fault,) = found.faults
    assert "0.0% of 2 interactions are with items of the catalogue" in fault
    assert "without leading zeros 100.0% would match" in fault


HEADER = "user_id,item_id,rating,timestamp\n"


class TestRemarks:
    def test_units_of_time_that_are_mixed(self, inspected):
        rows = "u,space1,5,1700000000\nu,space2,5,1700000000000\nu,space3,5,1700000001\n"
        found = inspected({"interactions.csv": HEADER + rows})
        assert found.faults == []
        assert found.remarks == [
            "interactions: timestamp: of the Unix times 2 in seconds, 1 in milliseconds are "
            "found, each read by its own size."
        ]

    def test_a_column_that_a_condition_cannot_judge(self, inspected):
        rows = 'user_id,item_id,stars\nu,space1,"4,5"\nu,space2,5\n'
        interactions = {"source": "../data/interactions.csv", "positive": "stars >= 4"}
        found = inspected({"interactions.csv": rows}, interactions=interactions)
        assert found.remarks == [
            "interactions: positive: 1 values of 'stars' are no numbers, so that their rows are "
            'not positive; decimal: "," under interactions would read them.'
        ]
        found = inspected({"interactions.csv": rows}, interactions=interactions | {"decimal": ","})
        assert found.remarks == []


class TestTimesInAFormatOfTheirOwn:
    def test_the_reason_has_the_line_to_write(self, inspected):
        rows = "u,space1,5,31/01/2024\nu,space2,5,01/02/2024\n"
        (reject,) = inspected({"interactions.csv": HEADER + rows}).tables[0].rejects
        assert reject.reason == (
            'timestamp is not a date or a Unix time; timestamp_format: "%d/%m/%Y" would read them'
        )


def test_rows_of_a_query_have_no_file(inspected):
    source = {"sql": "select 'u' as user_id, null as item_id"}
    (reject,) = inspected(interactions={"source": source}).tables[0].rejects
    assert reject.examples == ["row 1: user_id 'u'"]


def test_items_without_titles_are_shown_by_their_texts(inspected):
    found = inspected(
        {"items.csv": "item_id,genres\nspace1,space rocket\n"},
        items={"source": "../data/items.csv", "text": "genres"},
    )
    assert found.texts == [("space rocket", "space rocket")]


SPOILED = {
    "sound": {},
    "most rows are faulty": {"interactions.csv": HEADER + "u,space1,5,\n" + "u,,5,\n" * 2},
    "no row is accepted": {"interactions.csv": HEADER + "u,,5,\n" * 2},
    "nothing is positive": {"interactions.csv": HEADER + "u,space1,1,\n"},
    "most items are faulty": {"items.csv": "item_id,title,genres\n,A,\n,B,\nspace1,C,\n"},
    "nothing is available": {
        "items.csv": "item_id,title,genres,available\nspace1,A,a,no\nspace2,B,b,no\n"
    },
    "other ids": {"items.csv": "item_id,title,genres\nSPACE1,A,a\n"},
    "few known ids": {"items.csv": "item_id,title,genres\nspace1,A,a\nspace2,B,b\n"},
}


@pytest.mark.parametrize("case", SPOILED)
def test_validate_fails_where_the_gate_stops_a_run_and_says_the_same(tiny, case):
    place = tiny(evaluation={"on_refresh": False})
    for name, text in SPOILED[case].items():
        (place.data / name).write_text(text, encoding="utf-8")
    faults = inspect_catalog(place.catalog("tiny")).faults
    result = place.run("tiny")
    assert result.success == (not faults)
    stopped_by = [
        each.description
        for each in result.get_asset_check_evaluations()
        if not each.passed and each.severity == dg.AssetCheckSeverity.ERROR
    ]
    for fault in faults:
        assert any(description in fault for description in stopped_by), fault


def test_returns_that_take_back_everything_are_a_fault(inspected):
    found = inspected(
        {"interactions.csv": "user_id,item_id,weight\nu,space1,-5\n"},
        interactions={"source": "../data/interactions.csv", "returns": True},
    )
    (fault,) = found.faults
    assert fault.startswith("interactions: 0 of 1 interactions are positive, at least one expected")


def test_rules_are_looked_at_too(inspected):
    items = {"source": "../data/items.csv", "text": "title", "columns": {"category": "genres"}}
    rules = {"allow": "../data/alow.txt"}
    (fault,) = inspected({"allow.txt": "space1\n"}, items=items, rules=rules).faults
    assert "rules: allow:" in fault
    assert "alow.txt: there is no such file. Did you mean 'allow.txt'" in fault

    found = inspected(items=items, rules={"without_categories": ["space alien", "space aliens"]})
    (fault,) = found.faults
    assert "no item is of the category 'space aliens'. Did you mean 'space alien'" in fault

    found = inspected(items=items, rules={"deny": ["space1", "space9"]})
    assert found.faults == []
    (remark,) = found.remarks
    assert "rules: deny: 1 of 2 item_ids are not in the items table" in remark


def test_an_empty_source_is_a_fault(inspected):
    found = inspected({"items.csv": "item_id,title,genres\n"})
    assert any("items: ../data/items.csv: there is no row in it" in f for f in found.faults)


@pytest.mark.parametrize("whole_folder", [False, True])
def test_validate_ends_with_an_error_where_there_are_faults(
    tiny, monkeypatch, capsys, whole_folder
):
    place = tiny(items={"source": "../data/gone.csv", "text": "title"})
    place.environment(monkeypatch)
    with pytest.raises(UserError, match="1 fault found"):
        validate(None if whole_folder else place.catalogs / "tiny.yaml")
    assert "gone.csv: there is no such file" in capsys.readouterr().out


def test_validate_tells_the_faults_of_all_files_together(tiny, monkeypatch, capsys):
    place = tiny()
    place.environment(monkeypatch)
    for name in ("a", "b"):
        (place.catalogs / f"{name}.yaml").write_text(f"name: {name}\nitms: 1\n")
    with pytest.raises(UserError, match="6 faults found"):
        validate(None)
    said = capsys.readouterr().out
    assert "a.yaml:2: itms: unknown key. Did you mean 'items'?" in said
    assert "b.yaml:2: itms: unknown key" in said
    assert "interactions from" in said  # the sound file was looked at all the same


def test_validate_says_so_when_all_is_well(tiny, monkeypatch, capsys):
    place = tiny()
    place.environment(monkeypatch)
    validate(None)
    assert "✓ tiny" in capsys.readouterr().out
