"""The text encoder: batches by tokens, the fastest safe number format, one load a process.

torch and sentence-transformers are imported when the first text must be encoded and not before:
the import alone takes 5 to 10 s, and a code location is loaded for every run.
"""

import functools
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import numpy as np
from pydantic import Field

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.catalog.source import expand_variables
from recsys_dagster.home import locks_folder
from recsys_dagster.resources.encoder_batches import (
    Batch,
    EncodingProgress,
    in_batches,
    in_chunks,
    reporting,
)
from recsys_dagster.resources.encoder_models import (
    EncoderError,
    Side,
    files_digest,
    read_dimension,
    read_max_length,
    read_prompt,
    resolve_model,
)
from recsys_dagster.resources.locks import Holder, hold
from recsys_dagster.resources.run_locks import encoder_lock

Device = Literal["auto", "cpu", "cuda", "mps"]
DType = Literal["auto", "float32", "bfloat16", "float16"]

PREPARATION_VERSION = "1"
"""Raise it when the code below starts to make other vectors from the same model and text."""

BATCH_TOKENS = {"cpu": 1_024, "cuda": 32_768, "mps": 8_192}
"""Tokens of a batch, padding included. On a CPU 512 to 4,096 were measured alike and both ends
slower (activations leave the cache); on a GPU the limit is memory, and the budget halves itself."""

LENGTH_TEXTS = 4_096
"""Texts tokenised at a time to learn their lengths: bounds the memory for token lists."""


class TextEncoder(dg.ConfigurableResource):
    """How texts are encoded on this machine; which model does it is the catalog's business."""

    device: Device = Field(default="auto", description="auto: CUDA, else Apple's MPS, else the CPU")
    dtype: DType = Field(
        default="auto",
        description="number format of the transformer; auto: half precision where it is fast, on "
        "CUDA and on CPUs with bfloat16 instructions. Pooling and normalising are always float32",
    )
    batch_tokens: int = Field(
        default=0, ge=0, description="tokens of a batch, padding included; 0: the device's own"
    )
    lock: str | None = Field(
        default=None,
        description="a file that is locked while texts are encoded: one process at a time, so that "
        "two do not share one GPU's memory or one machine's cores; one in $RECSYS_HOME where left "
        "out; nobody waits where it is empty",
    )

    @property
    def search_device(self) -> str:
        """Where vectors are compared: on the GPU that encodes, where that is CUDA; else the CPU."""
        if self.device in ("cpu", "mps") or not may_have_cuda():
            return "cpu"
        return "cuda" if resolve_device(self.device) == "cuda" else "cpu"

    @contextmanager
    def turn(self, holder: Holder, waiting: Callable[[str], None]) -> Generator[None]:
        """Be the one who encodes, waiting until it is one's turn.

        Args:
            holder: who asks.
            waiting: called with a sentence while another process encodes.
        """
        if self.lock == "":
            yield
            return
        lock = Path(self.lock) if self.lock else encoder_lock(locks_folder())

        def say(other: Holder | None) -> None:
            waiting(f"waiting for the encoder, held by {other or 'another process'}")

        with hold(lock, holder, say):
            yield

    def load(
        self,
        model: str,
        base_folder: Path,
        *,
        prompt: Side = "document",
        max_length: int | None = None,
    ) -> "SentenceEncoder":
        """Find a model; its weights are read when it first encodes.

        Args:
            model: a folder, `package:NAME` or a hub id, see `resolve_model`.
            base_folder: what a relative folder is relative to.
            prompt: which side's prompt of the model goes before every text.
            max_length: tokens kept of a text; the model's own limit where None or smaller.

        Raises:
            EncoderError: no such model, or no such device.
        """
        folder = resolve_model(model, base_folder)
        limits = [limit for limit in (max_length, read_max_length(folder)) if limit is not None]
        return SentenceEncoder(
            name=model,
            folder=folder,
            prompt=read_prompt(folder, prompt),
            max_length=min(limits, default=None),
            device=self.device,
            dtype=resolve_dtype(self.device, self.dtype),
            batch_tokens=self.batch_tokens,
        )


@dataclass(frozen=True)
class SentenceEncoder:
    """A model with everything that decides its vectors.

    Attributes:
        name: what the catalog calls it.
        folder: the model's files.
        prompt: text put before every text.
        max_length: tokens kept of a text, None: as many as the model takes.
        device: auto, cpu, cuda or mps.
        dtype: number format of the transformer, never auto.
        batch_tokens: tokens of a batch; 0: the device's own number.
    """

    name: str
    folder: Path
    prompt: str
    max_length: int | None
    device: Device
    dtype: Literal["float32", "bfloat16", "float16"]
    batch_tokens: int

    @functools.cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) of all that decides a vector: texts with the same one need no encoding."""
        parts = {
            "preparation": PREPARATION_VERSION,
            "files": self._files_digest,
            "prompt": self.prompt,
            "max_length": self.max_length,
            "dtype": self.dtype,
            "dimension": self.dimension,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @functools.cached_property
    def dimension(self) -> int:
        """Length of a vector."""
        return read_dimension(self.folder) or self._model().get_embedding_dimension()

    @functools.cached_property
    def _files_digest(self) -> str:
        return files_digest(self.folder)

    def _model(self) -> Any:
        return _load_model(self.folder, self._files_digest, resolve_device(self.device), self.dtype)

    def encode(
        self,
        texts: Sequence[str],
        *,
        progress: EncodingProgress | None = None,
        doing: Callable[[str], None] = lambda _what: None,
    ) -> Iterator[Batch]:
        """Encode texts, the longest first, so that too little memory shows at once.

        Args:
            texts: any number; equal ones are encoded as often as they occur.
            progress: called with (texts done, texts in all, share of the work done) after every
                batch.
            doing: called with what begins, in words, before anything that takes long.

        Returns:
            Chunks to store one by one: positions in `texts`, int64 (b,), and their vectors,
            float32 (b × dimension), as the model's own modules make them. Every position comes
            once.

        Raises:
            TypeError: a text is not a str.
            EncoderError: the model cannot be loaded, or one text alone does not fit in memory.
        """
        if isinstance(texts, str):
            raise TypeError("texts must be a sequence of str, found one str")
        for position, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"texts must be str, found {type(text).__name__} at {position}")
        return self._encode(texts, progress, doing)

    def _encode(
        self,
        texts: Sequence[str],
        progress: EncodingProgress | None,
        doing: Callable[[str], None],
    ) -> Iterator[Batch]:
        if not texts:
            return
        device = _device_before_torch(self.device)
        doing(f"loading the encoder {self.name} in {self.dtype}, to run on {device}")
        model = self._model()
        batch_tokens = self.batch_tokens or BATCH_TOKENS[model.device.type]

        def forward(positions: np.ndarray) -> np.ndarray:
            batch = [texts[position] for position in positions]
            return _vectors(model, batch, self.prompt, self.max_length)

        doing(f"counting the tokens of {len(texts):,} texts")
        lengths = _token_counts(model, texts, self.prompt, self.max_length)
        tokens = int(lengths.sum())
        doing(f"encoding {len(texts):,} texts, {tokens:,} tokens, on {model.device.type}")
        batches = in_batches(lengths, batch_tokens, forward)
        if progress is not None:
            batches = reporting(batches, lengths, progress)
        yield from in_chunks(batches)


def _token_counts(
    model: Any, texts: Sequence[str], prompt: str, max_length: int | None
) -> np.ndarray:
    """Tokens of every text as the model will see it, int64 (n,), at least 1."""
    if not callable(model.tokenizer):
        # Static and bag-of-words models have no transformers tokenizer; near enough to sort by.
        return np.array([1 + len(text) // 4 for text in texts])
    counts: list[int] = []
    for start in range(0, len(texts), LENGTH_TEXTS):
        tokens = model.tokenizer(
            [prompt + text for text in texts[start : start + LENGTH_TEXTS]],
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        counts += [max(1, len(ids)) for ids in tokens["input_ids"]]
    return np.array(counts)


def _vectors(model: Any, texts: list[str], prompt: str, max_length: int | None) -> np.ndarray:
    """What `SentenceTransformer.encode` does with one batch: float32 (b × d)."""
    import torch
    from sentence_transformers.util import batch_to_device

    limit = {} if max_length is None else {"max_length": max_length}
    with torch.inference_mode():
        features = batch_to_device(model.preprocess(texts, prompt=prompt, **limit), model.device)
        vectors = model(features)["sentence_embedding"][:, : model.truncate_dim]
        return vectors.float().cpu().numpy()


@functools.lru_cache(maxsize=2)  # a catalog's model and one more: memory is finite
def _load_model(folder: Path, files: str, device: str, dtype: str) -> Any:
    """The loaded SentenceTransformer; `files` makes the cache forget a model that was replaced."""
    import torch
    from sentence_transformers import SentenceTransformer

    number = getattr(torch, dtype)
    with _no_progress_bar():
        try:
            model = SentenceTransformer(
                str(folder), device=device, local_files_only=True, model_kwargs={"dtype": number}
            )
        except Exception as error:  # whatever is wrong with the files, it is the files
            raise EncoderError(f"encoder: cannot load the model in {folder}: {error}") from error
    first, *others = model
    for module in others:
        module.float()
    if number is not torch.float32:
        first.register_forward_hook(_to_float32)
    return model.eval()


def _to_float32(_module: Any, _inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
    # Sums over tokens lose digits in half precision: pool and normalise in float32.
    return {
        name: value.float() if getattr(value, "is_floating_point", bool)() else value
        for name, value in features.items()
    }


@contextmanager
def _no_progress_bar() -> Generator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def resolve_device(device: Device) -> str:
    """The device to use.

    Raises:
        EncoderError: torch does not see the one asked for.
    """
    import torch

    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return next(name for name, there in present.items() if there)
    if not present[device]:
        raise EncoderError(f"encoder: device {device}: torch sees none. Use auto or cpu.")
    return device


def _device_before_torch(device: Device) -> str:
    """The device to use, found without the seconds that torch takes where there is but one."""
    if device == "auto" and sys.platform != "darwin" and not may_have_cuda():
        return "cpu"
    return resolve_device(device)


def resolve_dtype(device: Device, dtype: DType) -> Literal["float32", "bfloat16", "float16"]:
    """The number format to use; imports torch only where there may be a CUDA device.

    Raises:
        EncoderError: cuda is asked for and torch does not see it.
    """
    if dtype != "auto":
        return dtype
    if device == "cuda" or (device == "auto" and may_have_cuda()):
        import torch

        if resolve_device(device) == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            return "bfloat16" if native else "float16"
    # Everywhere else bfloat16 is emulated and slower than float32.
    return "bfloat16" if device in ("auto", "cpu") and _cpu_has_bfloat16() else "float32"


def may_have_cuda() -> bool:
    """Whether there seems to be a CUDA device, found without torch."""
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None


@functools.cache
def _cpu_has_bfloat16() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and not {"avx512_bf16", "amx_bf16"}.isdisjoint(
        cpuinfo.read_text(encoding="utf-8", errors="replace").split()
    )


def load_encoder(resource: TextEncoder, catalog: Catalog, prompt: Side) -> SentenceEncoder:
    """The sentence encoder of a catalog, for its items ("document") or its users ("query").

    Raises:
        EncoderError: no such model, or no such device.
    """
    settings = catalog.encoder
    return resource.load(
        expand_variables(settings.model),
        catalog.folder,
        prompt=prompt,
        max_length=settings.max_length,
    )
