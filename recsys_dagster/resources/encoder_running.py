"""Running a model with torch: devices, number formats, threads, one load a process.

torch and sentence-transformers are imported when a model must be run and not before: the import
alone takes 5 to 10 s, and a code location is loaded for every run.
"""

import functools
import shutil
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np

from recsys_dagster.resources.encoder_batches import Batch, in_batches
from recsys_dagster.resources.encoder_models import EncoderError
from recsys_dagster.resources.machine import usable_cores

Device = Literal["auto", "cpu", "cuda", "mps"]
Number = Literal["float32", "bfloat16", "float16"]
DType = Literal["auto", "float32", "bfloat16", "float16"]

BATCH_TOKENS = {"cpu": 1_024, "cuda": 32_768, "mps": 8_192}
"""Tokens of a batch, padding included. On a CPU 512 to 4,096 were measured alike and both ends
slower (activations leave the cache); on a GPU the limit is memory, and the budget halves itself."""
LENGTH_TEXTS = 4_096
"""Texts tokenised at a time to learn their lengths: bounds the memory for token lists."""
MOST_WORKERS = 8
"""Batches at a time on a CPU: Python's own share of a batch is some 5 %, one thread at a time."""


def token_counts(
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


def vectors_of(
    model: Any, texts: list[str], prompt: str, max_length: int | None, tokenising: Lock
) -> np.ndarray:
    """What `SentenceTransformer.encode` does with one batch: float32 (b × d).

    `tokenising` is held while tokens are made: a tokenizer has settings that threads would
    change under each other.
    """
    import torch
    from sentence_transformers.util import batch_to_device

    limit = {} if max_length is None else {"max_length": max_length}
    with torch.inference_mode():
        with tokenising:
            features = model.preprocess(texts, prompt=prompt, **limit)
        features = batch_to_device(features, model.device)
        vectors = model(features)["sentence_embedding"][:, : model.truncate_dim]
        return vectors.float().cpu().numpy()


@functools.lru_cache(maxsize=2)  # a catalog's model and one more: memory is finite
def load_model(folder: Path, files: str, device: str, dtype: str) -> Any:
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


def device_before_torch(device: Device) -> str:
    """The device to use, found without the seconds that torch takes where there is but one."""
    is_elsewhere = sys.platform == "darwin" or may_have_cuda()
    if device == "cpu" or (device == "auto" and not is_elsewhere):
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


def encoded(
    model: Any,
    texts: Sequence[str],
    lengths: np.ndarray,
    prompt: str,
    max_length: int | None,
    batch_tokens: int = 0,
) -> Iterator[Batch]:
    """Vectors of texts, batch by batch, the longest texts first.

    Args:
        model: as `load_model` gives it.
        texts: any number.
        lengths: int (n,), tokens of every text, at least 1.
        prompt: text put before every text.
        max_length: tokens kept of a text; None: as many as the model takes.
        batch_tokens: tokens of a batch; 0: the device's own number.
    """
    tokenising = Lock()

    def forward(positions: np.ndarray) -> np.ndarray:
        batch = [texts[position] for position in positions]
        return vectors_of(model, batch, prompt, max_length, tokenising)

    yield from batches_on(model.device.type, lengths, forward, batch_tokens)


def batches_on(
    device: str,
    lengths: np.ndarray,
    forward: Callable[[np.ndarray], np.ndarray],
    batch_tokens: int = 0,
) -> Iterator[Batch]:
    """Run `forward` over all positions with what a device has: see `in_batches`.

    Args:
        device: cpu, cuda or mps.
        lengths: int (n,), tokens of every text, at least 1.
        forward: positions int64 (b,) → vectors float32 (b × d); called by several threads.
        batch_tokens: tokens of a batch; 0: the device's own number.
    """
    batch_tokens = batch_tokens or BATCH_TOKENS[device]
    workers, threads = workers_and_threads(device, 1 + int(lengths.sum()) // batch_tokens)
    with threads_of_torch(threads) as begin:
        yield from in_batches(lengths, batch_tokens, forward, workers, begin)


def workers_and_threads(device: str, batches: int) -> tuple[int, int]:
    """How many batches run at a time on a device, and the cores that each of them takes.

    On a CPU each takes a core of its own as long as there are enough: what several cores do of one
    batch waits for the slowest of them at every matrix, and where other work shares the cores it
    does little else. On a GPU one batch is tokenised while another is computed.

    Args:
        device: cpu, cuda or mps.
        batches: how many there are.
    """
    if device != "cpu":
        return 2 if device == "cuda" and batches > 1 else 1, usable_cores()
    cores = usable_cores()
    workers = max(1, min(cores, batches, MOST_WORKERS))
    return workers, max(1, cores // workers)


@contextmanager
def threads_of_torch(count: int) -> Generator[Callable[[], None]]:
    """Lend what threads call first to use `count` cores each; the process has its own back after.

    Args:
        count: cores a thread.
    """
    import torch

    before = torch.get_num_threads()
    try:
        yield functools.partial(torch.set_num_threads, count)
    finally:
        # New threads begin with what was set last, in whatever thread.
        torch.set_num_threads(before)
