"""The text encoder of a catalog: which model, in which preset, and what decides its vectors.

torch and sentence-transformers are imported when the first text must be encoded and not before:
the import alone takes 5 to 10 s, and a code location is loaded for every run.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
from pydantic import Field

from recsys_dagster.catalog.settings import FAST_TOKENS, Catalog, EncoderPreset
from recsys_dagster.catalog.source import expand_variables
from recsys_dagster.home import locks_folder
from recsys_dagster.resources.encoder_batches import Batch, EncodingProgress, in_chunks, reporting
from recsys_dagster.resources.encoder_fidelity import (
    Fidelity,
    fidelity_of,
    kept_fidelity,
    probe_texts,
)
from recsys_dagster.resources.encoder_models import (
    Side,
    files_digest,
    read_dimension,
    read_max_length,
    read_prompt,
    resolve_model,
)
from recsys_dagster.resources.encoder_running import (
    Device,
    DType,
    Number,
    device_before_torch,
    encoded,
    load_model,
    may_have_cuda,
    resolve_device,
    resolve_dtype,
    token_counts,
)
from recsys_dagster.resources.encoder_static import StaticEncoder
from recsys_dagster.resources.locks import Holder, hold
from recsys_dagster.resources.run_locks import encoder_lock

PREPARATION_VERSION = "1"
"""Raise it when other vectors begin to be made from the same model and text."""


class TextEncoder(dg.ConfigurableResource):
    """How texts are encoded on this machine; which model does it is the catalog's business."""

    device: Device = Field(default="auto", description="auto: CUDA, else Apple's MPS, else the CPU")
    dtype: DType = Field(
        default="auto",
        description="number format of the transformer; auto: half precision where it is fast, on "
        "CUDA and on CPUs with bfloat16 instructions, and its vectors are near those of float32. "
        "Pooling and normalising are always float32",
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
        preset: EncoderPreset = "exact",
    ) -> "SentenceEncoder | StaticEncoder":
        """Find a model; its weights are read when it first encodes.

        Args:
            model: a folder, `package:NAME` or a hub id, see `resolve_model`.
            base_folder: what a relative folder is relative to.
            prompt: which side's prompt of the model goes before every text.
            max_length: tokens kept of a text; the model's own limit where None or smaller.
            preset: exact, fast or tiny.

        Raises:
            EncoderError: no such model, or no such device.
        """
        folder = resolve_model(model, base_folder)
        limits = [max_length, read_max_length(folder), FAST_TOKENS if preset == "fast" else None]
        encoder = SentenceEncoder(
            name=model,
            folder=folder,
            prompt=read_prompt(folder, prompt),
            max_length=min((limit for limit in limits if limit is not None), default=None),
            device=self.device,
            asked_dtype=self.dtype,
            batch_tokens=self.batch_tokens,
            preset=preset,
        )
        return StaticEncoder(encoder) if preset == "tiny" else encoder


@dataclass(frozen=True)
class SentenceEncoder:
    """A model with everything that decides its vectors.

    Attributes:
        name: what the catalog calls it.
        folder: the model's files.
        prompt: text put before every text.
        max_length: tokens kept of a text, None: as many as the model takes.
        device: auto, cpu, cuda or mps.
        asked_dtype: number format that is asked for; `dtype` is the one that is used.
        batch_tokens: tokens of a batch; 0: the device's own number.
        preset: what of the above is the catalog's choice.
    """

    name: str
    folder: Path
    prompt: str
    max_length: int | None
    device: Device
    asked_dtype: DType
    batch_tokens: int
    preset: EncoderPreset = "exact"

    @functools.cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) of all that decides a vector: texts with the same one need no encoding."""
        parts = {
            "preparation": PREPARATION_VERSION,
            "files": self.files,
            "prompt": self.prompt,
            "max_length": self.max_length,
            "dtype": self.dtype,
            "dimension": self.dimension,
        }
        if self.preset != "exact":  # which was there before presets were
            parts["preset"] = self.preset
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @functools.cached_property
    def dtype(self) -> Number:
        """Number format of the transformer: float32 where another was left to us and is too far."""
        number = resolve_dtype(self.device, self.asked_dtype)
        if self.fidelity is None or self.fidelity.is_enough:
            return number
        return "float32"

    @functools.cached_property
    def fidelity(self) -> Fidelity | None:
        """How near half precision is to float32; None where nobody need ask."""
        number = resolve_dtype(self.device, self.asked_dtype)
        if self.asked_dtype != "auto" or number == "float32":
            return None
        device = device_before_torch(self.device)
        return kept_fidelity(f"{self.files}-{device}-{number}", self._measured_fidelity)

    def _measured_fidelity(self) -> Fidelity:
        number = resolve_dtype(self.device, self.asked_dtype)
        log = dg.get_dagster_logger()
        log.info(f"comparing the encoder {self.name} in {number} with float32, once")
        texts = probe_texts()

        def vectors(asked: Number) -> np.ndarray:
            # What is asked holds for both sides and every length.
            encoder = replace(self, asked_dtype=asked, prompt="", max_length=None)
            made = np.empty((len(texts), encoder.dimension), dtype=np.float32)
            for positions, part in encoder.encode(texts):
                made[positions] = part
            return made

        found = fidelity_of(vectors(number), vectors("float32"))
        load_model.cache_clear()  # both need not stay in memory
        taken = number if found.is_enough else "float32"
        log.info(f"the encoder {self.name} runs in {taken}: in {number} it has {found}")
        return found

    @functools.cached_property
    def dimension(self) -> int:
        """Length of a vector."""
        return read_dimension(self.folder) or self.loaded().get_embedding_dimension()

    @functools.cached_property
    def files(self) -> str:
        """Sha256 (hex) of the files that decide the model's vectors."""
        return files_digest(self.folder)

    def loaded(self) -> Any:
        """The model, ready to run."""
        return load_model(self.folder, self.files, resolve_device(self.device), self.dtype)

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
        device = device_before_torch(self.device)
        doing(f"loading the encoder {self.name} in {self.dtype}, to run on {device}")
        model = self.loaded()
        doing(f"counting the tokens of {len(texts):,} texts")
        lengths = token_counts(model, texts, self.prompt, self.max_length)
        doing(f"encoding {len(texts):,} texts, {lengths.sum():,} tokens, on {model.device.type}")
        batches = encoded(model, texts, lengths, self.prompt, self.max_length, self.batch_tokens)
        if progress is not None:
            # By what attention adds to a token of a long text, beside the rest of a layer.
            work = lengths * (1 + lengths / (6 * self.dimension))
            batches = reporting(batches, work, progress)
        yield from in_chunks(batches)


def load_encoder(
    resource: TextEncoder, catalog: Catalog, prompt: Side
) -> SentenceEncoder | StaticEncoder:
    """The encoder of a catalog, for its items ("document") or its users ("query").

    Raises:
        EncoderError: no such model, or no such device.
    """
    settings = catalog.encoder
    return resource.load(
        expand_variables(settings.model),
        catalog.folder,
        prompt=prompt,
        max_length=settings.max_length,
        preset=settings.preset,
    )
