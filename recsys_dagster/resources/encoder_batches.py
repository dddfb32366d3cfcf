"""Texts in batches of a bounded number of tokens, and batches in chunks worth storing."""

import sys
from collections.abc import Callable, Iterator

import numpy as np

from recsys_dagster.resources.encoder_models import EncoderOutOfMemoryError

Batch = tuple[np.ndarray, np.ndarray]
"""Positions int64 (b,) and their vectors float32 (b × d)."""

EncodingProgress = Callable[[int, int, float], None]
"""Called with texts done, texts in all, and the share of the work that is done."""

CHUNK_BATCHES = 64
CHUNK_TEXTS = 8_192
"""A chunk ends after so many batches or texts: work worth a commit, and seconds if it is lost."""


def in_batches(
    lengths: np.ndarray, batch_tokens: int, forward: Callable[[np.ndarray], np.ndarray]
) -> Iterator[Batch]:
    """Run `forward` over all positions, the longest first, in batches of a bounded size.

    When memory runs out the budget is halved, for this batch and all that follow, down to one
    text.

    Args:
        lengths: int (n,), tokens of every text, at least 1.
        batch_tokens: most tokens of a batch with every text padded to its longest.
        forward: positions int64 (b,) → vectors float32 (b × d).

    Yields:
        (positions, vectors) of every batch.

    Raises:
        EncoderOutOfMemoryError: one text alone does not fit.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        positions = order[start : start + max(1, batch_tokens // longest)]
        try:
            vectors = forward(positions)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            vectors = None
        # Outside the handler: there the error's traceback would keep the batch's tensors alive.
        if vectors is None:
            if len(positions) == 1:
                raise EncoderOutOfMemoryError(
                    f"encoder: out of memory with one text of {longest} tokens. Lower the "
                    "encoder's max_length in the catalog, take a smaller model, or set the "
                    "encoder's device to cpu."
                )
            batch_tokens = longest * (len(positions) // 2)
            _free_memory()
            continue
        yield positions, vectors
        start += len(positions)


def _is_out_of_memory(error: Exception) -> bool:
    # torch.cuda.OutOfMemoryError is a RuntimeError; the CPU's allocator has only its words.
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def _free_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def reporting(
    batches: Iterator[Batch], lengths: np.ndarray, progress: EncodingProgress
) -> Iterator[Batch]:
    """Pass batches on, and call `progress` for each.

    The longest texts come first, so the share of texts says little of the time left; tokens do.
    Padding is no part of the count: texts of a batch are next to each other by length.

    Args:
        batches: what `in_batches` yields.
        lengths: int (n,), tokens of every text, at least 1.
        progress: called with (texts done, n, share of the tokens done).
    """
    done, tokens, all_tokens = 0, 0, int(lengths.sum())
    for positions, vectors in batches:
        done += len(positions)
        tokens += int(lengths[positions].sum())
        progress(done, len(lengths), tokens / all_tokens)
        yield positions, vectors


def in_chunks(
    batches: Iterator[Batch], max_batches: int = CHUNK_BATCHES, max_texts: int = CHUNK_TEXTS
) -> Iterator[Batch]:
    """Join batches; a chunk ends with the batch that reaches one of the two numbers."""
    waiting: list[Batch] = []
    texts = 0
    for batch in batches:
        waiting.append(batch)
        texts += len(batch[0])
        if len(waiting) >= max_batches or texts >= max_texts:
            yield _joined(waiting)
            waiting, texts = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[Batch]) -> Batch:
    positions, vectors = zip(*batches, strict=True)
    return np.concatenate(positions), np.concatenate(vectors)
