"""Texts → vectors, in a process of its own: loading an encoder stops no other request."""

import multiprocessing
import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from threading import BoundedSemaphore, Lock, Thread
from typing import Any

import numpy as np

from recsys_dagster.errors import UserError
from recsys_dagster.snapshots.fold_in import require_kept_encoder

REMEMBERED = 1_000
"""Vectors of texts, which are asked for again when a list is narrowed or looked at."""

WAITING = 8
"""Texts that wait for the encoder; each of them holds a thread that others may need."""
LOOK_SECONDS = 1.0

_encoders: dict[str, Any] = {}


class BusyError(UserError):
    """There is too much to do at once."""


class TextVectors:
    """Encodes what somebody looks for, as a run encodes a profile; safe for threads."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._known: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()
        self._lock = Lock()
        self._places = BoundedSemaphore(WAITING)

    def of(self, manifest: Mapping[str, Any], text: str) -> np.ndarray:
        """The vector of a text, float32 (d,), by the encoder of a snapshot.

        Raises:
            UserError: that encoder cannot be asked here.
            BusyError: too many texts wait already.
        """
        require_kept_encoder(manifest)
        key = (manifest["encoder"]["fingerprint"], text)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        if not self._places.acquire(blocking=False):
            raise BusyError("text: the encoder has much to do; try again in a moment.")
        try:
            vector = self._encoded(dict(manifest), text)
        finally:
            self._places.release()
        with self._lock:
            self._known[key] = vector
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return vector

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _encoded(self, manifest: dict[str, Any], text: str) -> np.ndarray:
        needed = {name: manifest[name] for name in ("settings", "encoder")}
        for _ in range(2):
            with self._lock:
                if self._pool is None:
                    # A fork of a process with threads may hang.
                    spawned = multiprocessing.get_context("spawn")
                    self._pool = ProcessPoolExecutor(
                        1, spawned, initializer=_end_with, initargs=(os.getpid(),)
                    )
                pool = self._pool
            try:
                return pool.submit(_encode, needed, text).result()
            except BrokenProcessPool:
                with self._lock:
                    if self._pool is pool:
                        self._pool = None
        raise UserError("text: the encoder ended while it was asked: is there too little memory?")


def _end_with(parent: int) -> None:
    """End this process when the server has ended, however it did."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os._exit(0)

    Thread(target=watch, daemon=True).start()


def _encode(manifest: Mapping[str, Any], text: str) -> np.ndarray:
    from recsys_dagster.snapshots.fold_in import query_encoder

    fingerprint = manifest["encoder"]["fingerprint"]
    if fingerprint not in _encoders:
        _encoders.clear()
        _encoders[fingerprint] = query_encoder(manifest)
    return _encoders[fingerprint](text)
