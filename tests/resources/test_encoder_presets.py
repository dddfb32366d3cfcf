"""Presets of the encoder: what each does to a text, and that their vectors never mix."""

import shutil
import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.resources import encoder, encoder_fidelity, encoder_static
from recsys_dagster.resources.embedding_store import encode_once
from recsys_dagster.resources.encoder import TextEncoder, load_encoder
from recsys_dagster.resources.encoder_batches import in_batches
from recsys_dagster.resources.encoder_fidelity import Fidelity, fidelity_of, kept_fidelity
from recsys_dagster.resources.encoder_models import EncoderError, EncoderOutOfMemoryError
from recsys_dagster.resources.encoder_running import threads_of_torch, workers_and_threads
from recsys_dagster.resources.encoder_static import (
    StaticEncoder,
    mean_vectors,
    remove_static_models,
    token_shares,
)
from recsys_dagster.serving import encoding
from recsys_dagster.snapshots.fold_in import query_encoder
from recsys_dagster.steps.prepare.texts import hash_text

STOP = ["the", "of", "a", "in", "with", "and"]
WORDS = [*STOP, "toy", "story", "heat", "robot", "falls", "love", "tram", "dog", "wins", "lottery"]
LONG = " ".join(WORDS * 20)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model of one layer that knows a few words, with a prompt for what is looked for."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: at for at, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(special)
    own = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(own / "bare")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(own / "bare")
    first = Transformer(str(own / "bare"), max_seq_length=256)
    whole = SentenceTransformer(
        modules=[first, Pooling(32), Normalize()],
        prompts={"query": "story ", "document": ""},
        device="cpu",
    )
    whole.save(str(own / "model"))
    return own / "model"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def static(model, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_HOME", str(tmp_path_factory.mktemp("static")))
        own = load(model, "tiny")
        assert own.fingerprint  # which makes it, in this home
        return own


def load(model: Path, preset: str, **own):
    return TextEncoder(device="cpu", dtype="float32").load(str(model), model, preset=preset, **own)


def collect(own, texts: list[str]) -> np.ndarray:
    vectors = np.full((len(texts), own.dimension), np.nan, dtype=np.float32)
    for positions, chunk in own.encode(texts):
        vectors[positions] = chunk
    return vectors


class TestPresets:
    def test_fast_is_the_model_on_the_first_tokens(self, model):
        from sentence_transformers import SentenceTransformer

        plain = SentenceTransformer(str(model), device="cpu")
        plain.max_seq_length = 48
        texts = [LONG, "toy story"]
        np.testing.assert_allclose(
            collect(load(model, "fast"), texts), plain.encode(texts), atol=1e-5
        )
        assert load(model, "fast", max_length=16).max_length == 16

    def test_texts_of_presets_never_mix(self, model, warehouse):
        texts = pd.DataFrame({"text": ["toy story", LONG]})
        texts["text_hash"] = texts["text"].map(hash_text)
        for preset in ("exact", "fast", "tiny"):
            for expected in ((2, 0), (0, 2)):
                found = encode_once(texts, load(model, preset), warehouse, "films")
                assert (found.encoded, found.reused) == expected

    def test_what_is_looked_for_is_encoded_by_the_preset_of_the_snapshot(self, model, monkeypatch):
        monkeypatch.setattr(encoding, "_encoders", {})
        for preset in ("exact", "fast", "tiny"):
            catalog = Catalog.model_validate(
                {
                    "name": "films",
                    "interactions": {"source": "x.csv"},
                    "items": {"source": "y.csv", "text": "title"},
                    "encoder": {"model": str(model), "preset": preset},
                }
            )
            documents = load_encoder(TextEncoder(), catalog, "document")
            manifest = {
                "settings": catalog.model_dump(mode="json"),
                "encoder": {"fingerprint": documents.fingerprint},
            }
            expected = collect(load_encoder(TextEncoder(), catalog, "query"), [LONG])[0]
            np.testing.assert_array_equal(encoding._encode(manifest, LONG), expected)
            manifest["settings"]["encoder"]["preset"] = "tiny" if preset == "exact" else "exact"
            with pytest.raises(UserError, match="is another one here"):
                query_encoder(manifest)

    def test_tfidf_has_none(self):
        with pytest.raises(ValueError, match="preset tiny: tfidf has none"):
            Catalog.model_validate(
                {
                    "name": "films",
                    "interactions": {"source": "x.csv"},
                    "items": {"source": "y.csv", "text": "title"},
                    "encoder": {"model": "tfidf", "preset": "tiny"},
                }
            )


class TestTiny:
    @given(texts=st.lists(st.sampled_from([*WORDS, "", "?", LONG, "toy robot"]), min_size=1))
    @settings(max_examples=30, deadline=None)
    def test_a_text_has_its_vector_whatever_comes_with_it(self, static, texts):
        vectors = collect(static, texts)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        for text, vector in zip(texts, vectors, strict=True):
            np.testing.assert_array_equal(collect(static, [text])[0], vector)

    def test_it_is_made_once_of_the_model_alone(self, model, monkeypatch):
        first = load(model, "tiny")
        assert first.fingerprint == load(model, "tiny", prompt="query").fingerprint
        content = (first.folder / encoder_static.TABLE).read_bytes()
        monkeypatch.setattr(encoder_static, "distilled", None)
        assert load(model, "tiny").fingerprint == first.fingerprint
        monkeypatch.undo()
        shutil.rmtree(first.folder)
        again = load(model, "tiny")
        assert again.fingerprint == first.fingerprint
        assert (again.folder / encoder_static.TABLE).read_bytes() == content

    def test_two_processes_make_one(self, model, monkeypatch):
        made = []
        monkeypatch.setattr(
            encoder_static,
            "distilled",
            lambda *given, make=encoder_static.distilled: made.append(1) or make(*given),
        )
        threads = [
            threading.Thread(target=lambda: load(model, "tiny").fingerprint) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made == [1]

    def test_what_was_cut_off_or_damaged_is_no_model(self, model, monkeypatch):
        def cut_off(*_):
            raise OSError("the machine went away")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", cut_off)
            with pytest.raises(UserError, match="could not be written: the machine went away"):
                load(model, "tiny").fingerprint  # noqa: B018
        own = load(model, "tiny")
        assert [each.name for each in own.folder.parent.iterdir()] == [own.folder.name]
        (own.folder / encoder_static.TABLE).write_bytes(b"half")
        with pytest.raises(EncoderError, match=r"cannot read the static model .* Remove that fol"):
            collect(own, ["toy"])

    def test_length_counts_and_weights_make_it_another(self, model, tmp_path):
        cut = load(model, "tiny", max_length=2)
        assert cut.fingerprint != load(model, "tiny").fingerprint
        np.testing.assert_array_equal(*collect(cut, ["toy story", "toy story heat"]))
        other = shutil.copytree(model, tmp_path / "other")
        (other / "config_sentence_transformers.json").write_text("{}")
        assert load(other, "tiny").folder != cut.folder

    def test_what_no_catalog_uses_is_removed_when_it_is_old(self, model):
        own, now = load(model, "tiny").folder, datetime.now(UTC)
        unused = shutil.copytree(own, own.with_name("other-static-1"))
        assert remove_static_models({own}, now - timedelta(days=1)) == 0
        assert remove_static_models({own}, now + timedelta(days=1)) == 1
        assert (own.is_dir(), unused.exists()) == (True, False)

    def test_it_encodes_without_torch(self, model):
        folder = load(model, "tiny").folder
        code = (
            "import sys; from pathlib import Path\n"
            "from recsys_dagster.resources.encoder import TextEncoder\n"
            "own = TextEncoder(device='cpu', dtype='float32')"
            f".load({str(model)!r}, Path(), preset='tiny')\n"
            "print(own.folder, [len(vectors) for _, vectors in own.encode(['toy', 'heat'])])\n"
            "heavy = {'torch', 'transformers', 'sentence_transformers'}\n"
            "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [str(folder), "[2]"]

    def test_rare_tokens_count_more(self):
        zipf = token_shares({"model": {"type": "WordPiece"}, "added_tokens": [{"id": 0}]}, 4)
        assert zipf[0] == 0
        assert list(np.argsort(-zipf[1:])) == [0, 1, 2]
        known = {"type": "Unigram", "vocab": [["<s>", 0.0], ["a", -1.0], ["b", -3.0]]}
        shares = token_shares({"model": known, "added_tokens": [{"id": 0}, {"id": 3}]}, 4)
        np.testing.assert_allclose(shares[1] / shares[2], np.exp(2))
        assert shares[[0, 3]].sum() == 0

    def test_tokens_that_cancel_each_other_out_have_the_vector_of_nothing(self):
        table = np.array([[1, 0], [-1, 0], [0, 1]], dtype=np.float32)
        np.testing.assert_array_equal(mean_vectors([[0, 1], [], [0]], table), table[[2, 2, 0]])


class TestHalfPrecision:
    @pytest.fixture(autouse=True)
    def half(self, monkeypatch):
        """This machine, whatever it is, has fast instructions for bfloat16."""
        monkeypatch.setattr(
            encoder, "resolve_dtype", lambda _, asked: "bfloat16" if asked == "auto" else asked
        )

    def test_is_taken_where_vectors_and_neighbours_are_those_of_float32(self, model, monkeypatch):
        own = TextEncoder(device="cpu").load(str(model), model)
        assert own.fidelity is not None
        assert own.fidelity.cosine > 0.99
        assert own.dtype == ("bfloat16" if own.fidelity.is_enough else "float32")
        assert not Fidelity(0.9989, 1.0).is_enough
        assert not Fidelity(1.0, 0.979).is_enough
        assert Fidelity(0.999, 0.98).is_enough

    def test_is_left_where_they_are_not_and_the_fingerprint_says_so(self, model, monkeypatch):
        monkeypatch.setattr(encoder, "fidelity_of", lambda *_: Fidelity(0.9, 0.5))
        own = TextEncoder(device="cpu").load(str(model), model)
        assert own.dtype == "float32"
        assert own.fingerprint == load(model, "exact").fingerprint
        asked_for = TextEncoder(device="cpu", dtype="bfloat16").load(str(model), model)
        assert (asked_for.dtype, asked_for.fidelity) == ("bfloat16", None)

    def test_the_answer_is_kept_and_asked_for_again_where_it_is_damaged(self, home):
        asked = []

        def measure():
            asked.append(1)
            return Fidelity(0.9999, 0.99)

        for _ in range(2):
            assert kept_fidelity("model-cpu-bfloat16", measure) == Fidelity(0.9999, 0.99)
        assert len(asked) == 1
        (file,) = (home / "encoders").iterdir()
        file.write_text('{"cosine": ')
        encoder_fidelity._known.clear()
        kept_fidelity("model-cpu-bfloat16", measure)
        assert len(asked) == 2

    def test_nothing_fails_where_it_cannot_be_kept(self, home):
        home.mkdir()
        (home / "encoders").write_text("a file")
        assert kept_fidelity("model", lambda: Fidelity(1, 1)) == Fidelity(1, 1)
        assert kept_fidelity("model", lambda: Fidelity(0, 0)) == Fidelity(1, 1)

    def test_neighbours_are_compared_and_not_only_vectors(self):
        near = 1 + 1e-4 * np.random.default_rng(0).standard_normal((40, 8))
        other = 1 + 1e-4 * np.random.default_rng(1).standard_normal((40, 8))
        found = fidelity_of(near.astype(np.float32), other.astype(np.float32))
        assert found.cosine > 0.999
        assert found.overlap < 0.6
        assert fidelity_of(near, near) == Fidelity(pytest.approx(1), 1)
        assert len(set(encoder_fidelity.probe_texts())) >= 90


class TestWorkers:
    @given(
        lengths=st.lists(st.integers(1, 60), min_size=1, max_size=60),
        budget=st.integers(1, 200),
        workers=st.integers(1, 4),
        fits=st.integers(1, 20),
    )
    @settings(max_examples=60, deadline=None)
    def test_every_text_comes_once_and_in_order_whatever_fits(self, lengths, budget, workers, fits):
        def forward(positions: np.ndarray) -> np.ndarray:
            if len(positions) > fits:
                raise MemoryError
            return positions[:, None].astype(np.float32)

        done = list(in_batches(np.array(lengths), budget, forward, workers))
        order = np.concatenate([positions for positions, _ in done])
        assert Counter(order.tolist()) == Counter(range(len(lengths)))
        assert list(order) == sorted(order, key=lambda at: (-lengths[at], at))
        for positions, vectors in done:
            np.testing.assert_array_equal(positions, vectors[:, 0])

    def test_one_text_is_tried_alone_before_it_is_said_not_to_fit(self):
        running = []

        def forward(positions: np.ndarray) -> np.ndarray:
            running.append(len(positions))
            raise MemoryError

        with pytest.raises(EncoderOutOfMemoryError, match="one text of 60 tokens"):
            list(in_batches(np.full(9, 60), 60, forward, workers=3))

    def test_every_thread_begins_and_an_abandoned_one_ends(self):
        begun = []
        batches = in_batches(
            np.ones(50, dtype=int),
            1,
            lambda positions: positions[:, None].astype(np.float32),
            3,
            lambda: begun.append(threading.current_thread()),
        )
        next(batches)
        batches.close()
        assert 1 <= len(begun) <= 3
        assert not any(thread.is_alive() for thread in begun)

    def test_the_process_has_its_cores_back(self):
        import torch

        before = torch.get_num_threads()
        with threads_of_torch(1) as begin:
            thread = threading.Thread(target=begin)
            thread.start()
            thread.join()
        after = []
        thread = threading.Thread(target=lambda: after.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert (torch.get_num_threads(), after) == (before, [before])

    def test_a_batch_has_a_core_of_its_own_where_there_are_enough(self, monkeypatch):
        from recsys_dagster.resources import encoder_running

        monkeypatch.setattr(encoder_running, "usable_cores", lambda: 4)
        assert workers_and_threads("cpu", 100) == (4, 1)
        assert workers_and_threads("cpu", 2) == (2, 2)
        assert workers_and_threads("cpu", 1) == (1, 4)
        monkeypatch.setattr(encoder_running, "usable_cores", lambda: 64)
        assert workers_and_threads("cpu", 100) == (8, 8)
        assert workers_and_threads("cuda", 100)[0] == 2
        assert workers_and_threads("mps", 100)[0] == 1


def test_a_model_without_a_tokenizer_to_keep_says_what_to_take():
    class Bare:
        tokenizer = None

    old = SimpleNamespace(name="old", files="digest", dtype="float32", max_length=None, loaded=Bare)
    own = StaticEncoder(old)
    with pytest.raises(EncoderError, match=r"preset tiny: the model old has no tokenizer.*fast"):
        _ = own.folder
