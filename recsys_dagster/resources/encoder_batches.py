"""Texts in batches of a bounded number of tokens, and batches in chunks worth storing."""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress

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
    lengths: np.ndarray,
    batch_tokens: int,
    forward: Callable[[np.ndarray], np.ndarray],
    workers: int = 1,
    begin: Callable[[], None] = lambda: None,
) -> Iterator[Batch]:
    """Run `forward` over all positions, the longest first, in batches of a bounded size.

    Threads take batches while what is done is stored. When memory runs out the budget is halved,
    for this batch and all that follow, down to one text, and batches go one by one.

    Args:
        lengths: int (n,), tokens of every text, at least 1.
        batch_tokens: most tokens of a batch with every text padded to its longest.
        forward: positions int64 (b,) → vectors float32 (b × d); called by several threads.
        workers: threads.
        begin: called by every thread before its first batch.

    Yields:
        (positions, vectors) of every batch, in their order.

    Raises:
        EncoderOutOfMemoryError: one text alone does not fit.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    # One more than threads: none waits for what is being stored.
    at_once = workers + 1 if workers > 1 else 1
    waiting: deque[tuple[np.ndarray, Future[np.ndarray]]] = deque()
    pool = ThreadPoolExecutor(workers, "encoding", begin)
    try:
        while start < len(order) or waiting:
            while start < len(order) and len(waiting) < at_once:
                count = max(1, batch_tokens // int(lengths[order[start]]))
                positions = order[start : start + count]
                waiting.append((positions, pool.submit(forward, positions)))
                start += count
            positions, future = waiting.popleft()
            vectors = _unless_out_of_memory(future)
            if vectors is not None:
                yield positions, vectors
                continue
            # Nothing of the failure may be held: its traceback would keep the batch's tensors.
            del future
            start = int(np.flatnonzero(order == positions[0])[0])
            _give_up(waiting)
            longest = int(lengths[positions[0]])
            if len(positions) == 1 and at_once == 1:
                raise EncoderOutOfMemoryError(
                    f"encoder: out of memory with one text of {longest} tokens. Lower the "
                    "encoder's max_length in the catalog, take a smaller model, or set the "
                    "encoder's device to cpu."
                )
            at_once = 1
            batch_tokens = longest * max(1, len(positions) // 2)
            _free_memory()
    finally:
        pool.shutdown(cancel_futures=True)


def _unless_out_of_memory(future: Future[np.ndarray]) -> np.ndarray | None:
    """What a batch came to; None where there was too little memory for it."""
    try:
        return future.result()
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        return None


def _give_up(waiting: deque[tuple[np.ndarray, Future[np.ndarray]]]) -> None:
    """Wait for batches that are begun, and forget all."""
    for _, future in waiting:
        future.cancel()
    while waiting:
        with suppress(CancelledError):
            waiting.popleft()[1].exception()


def _is_out_of_memory(error: Exception) -> bool:
    # torch.cuda.OutOfMemoryError is a RuntimeError; the CPU's allocator has only its words.
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def _free_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def reporting(
    batches: Iterator[Batch], work: np.ndarray, progress: EncodingProgress
) -> Iterator[Batch]:
    """Pass batches on, and call `progress` for each.

    The longest texts come first, so the share of texts says little of the time left; work does.
    Padding is no part of it: texts of a batch are next to each other by length.

    Args:
        batches: what `in_batches` yields.
        work: (n,), how much every text is, such as its tokens.
        progress: called with (texts done, n, share of the work done).
    """
    done, worked, all_work = 0, 0.0, float(work.sum())
    for positions, vectors in batches:
        done += len(positions)
        worked += float(work[positions].sum())
        progress(done, len(work), worked / all_work if done < len(work) else 1.0)
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
