"""What a run takes on a machine, and what init proposes where the usual is too much for it."""

from dataclasses import replace

import pytest

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.onboarding.estimates import Size, encoding_seconds, estimate
from recsys_dagster.onboarding.proposal import Choice, Proposal
from recsys_dagster.onboarding.proposal.machine import Machine, fitted_to, is_english
from recsys_dagster.steps.models.memory import GIB

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
SMALL = Size(items=1_000, learned=900, likes=20_000, texts=1_000, text_length=100)
LARGE = Size(items=190_000, learned=180_000, likes=900_000, texts=190_000, text_length=100)


@pytest.fixture(autouse=True)
def nothing_was_measured_here(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path))


def machine(models: tuple[str, ...] = (MINILM,), gpu: bool = False) -> Machine:
    return Machine(2, gpu, models)


def chosen(size: Size, machine: Machine, english: bool = True) -> dict:
    source = (Choice("source", "a.csv"),)
    return fitted_to(Proposal(source, (), size=size, is_english=english), machine).settings()


def catalog(**settings) -> Catalog:
    source = {"source": "a.csv"}
    return Catalog.model_validate(
        {"name": "x", "interactions": source, "items": source | {"text": "title"}} | settings
    )


class TestStrategy:
    @pytest.mark.parametrize("size", [SMALL, LARGE])
    def test_the_usual_one_however_many_items_there_are(self, size):
        assert "strategy" not in chosen(size, machine(gpu=True))


class TestEncoder:
    def test_none_on_the_machine(self):
        assert chosen(SMALL, machine(models=()))["encoder"] == "tfidf"

    def test_other_languages_need_another_one(self):
        assert chosen(SMALL, machine(), english=False)["encoder"] == "tfidf"
        e5 = "intfloat/multilingual-e5-small"
        assert chosen(SMALL, machine(models=(MINILM, e5)), english=False)["encoder"] == e5

    def test_long_texts_are_cut_before_they_take_hours(self):
        long = Size(400_000, 900, 20_000, 400_000, 900)
        assert chosen(long, machine())["encoder"] == {"model": MINILM, "preset": "fast"}
        assert "encoder" not in chosen(long, machine(gpu=True))
        longer = Size(4_000_000, 900, 20_000, 4_000_000, 900)
        assert chosen(longer, machine())["encoder"] == "tfidf"

    @pytest.mark.parametrize(
        ("text", "english"),
        [
            ("The story of a small town", True),
            ("LANTERN NO 7 WHITE", True),
            ("Eine Tasse für den Kaffee und den Tee", False),
            ("从零开始学习编程", False),
            ("Палатка двухместная", False),
            ("Rührschüssel groß", False),
        ],
    )
    def test_languages(self, text, english):
        assert is_english([text]) == english


class TestEstimate:
    def test_more_texts_and_fewer_cores_take_longer(self):
        assert encoding_seconds(LARGE, 2) > encoding_seconds(SMALL, 2)
        assert encoding_seconds(SMALL, 1) == 2 * encoding_seconds(SMALL, 2)

    def test_a_line_for_people(self):
        assert estimate(catalog(), LARGE, 2, 16 * GIB, gpu=True) == (
            "On this machine: about 8 minutes and 6.0 GiB (16.0 GiB available): hybrid over "
            "180,000 items, densely over 20,000, 8 minutes."
        )
        assert estimate(catalog(encoder="tfidf"), SMALL, 2, None, gpu=False) == (
            "On this machine: under a minute and 0.1 GiB: hybrid over 900 items under a minute."
        )

    def test_presets_of_the_encoder_take_less(self):
        size = replace(SMALL, texts=20_000, text_length=1_000)
        for preset, said in (("exact", "3 minutes"), ("fast", "under a minute"), ("tiny", "under")):
            own = catalog(encoder={"preset": preset}, strategy="popular")
            line = estimate(own, size, 2, None, gpu=False)
            assert f"encoding 20,000 texts {said}" in line

    def test_what_is_trained_takes_no_longer_than_it_may(self):
        own = catalog(encoder="tfidf", strategy="neural", models={"neural": {"minutes": 5}})
        assert estimate(own, SMALL, 2, None, gpu=False) == (
            "On this machine: about 5 minutes and 0.1 GiB: neural over 900 items at most 5 minutes."
        )
