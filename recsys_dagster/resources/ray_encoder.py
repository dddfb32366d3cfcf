"""An encoder whose texts are encoded on Ray: a model an actor, vectors back block by block."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys_dagster.compute.on_ray import Actors, RayCompute
from recsys_dagster.resources.encoder import SentenceEncoder
from recsys_dagster.resources.encoder_batches import Batch, EncodingProgress
from recsys_dagster.resources.encoder_models import EncoderError, files_digest

BLOCKS = 64
MIN_CHARACTERS, MAX_CHARACTERS = 16_384, 262_144
"""Of a block: seconds of a core, so that all have something to do and little is lost."""


@dataclass(frozen=True)
class RayEncoder:
    """What `EmbeddingStore` sees of it is the encoder; only the encoding is done elsewhere.

    Attributes:
        encoder: what encodes, on each node by files of its own.
        compute: Ray.
        actors: how many encode, and what each has.
    """

    encoder: SentenceEncoder
    compute: RayCompute
    actors: Actors

    @property
    def fingerprint(self) -> str:
        """Of the encoder."""
        return self.encoder.fingerprint

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.encoder.dimension

    def encode(
        self,
        texts: Sequence[str],
        *,
        progress: EncodingProgress | None = None,
        doing: Callable[[str], None] = lambda _what: None,
    ) -> Iterator[Batch]:
        """As `Encoder.encode`: the longest first; the share of the work goes by characters.

        Raises:
            UserError: a node lacks the model's files, or has others.
            EncoderError: as the encoder raised it.
        """
        if not texts:
            return
        lengths = np.array([1 + len(text) for text in texts])
        doing(f"encoding {len(texts):,} texts on {self.compute.in_words}")
        # The digest is asked for first: it is kept with the encoder, and goes with it.
        shared = (self.encoder, self.encoder.fingerprint, self.encoder.files)
        blocks = (
            (positions, [texts[position] for position in positions])
            for positions in blocks_of(lengths)
        )
        texts_done, done = 0, 0
        for positions, vectors in self.compute.map_by_actors(
            encode_block, shared, blocks, "encoding", self.actors
        ):
            texts_done, done = texts_done + len(positions), done + int(lengths[positions].sum())
            if progress is not None:
                progress(texts_done, len(texts), done / int(lengths.sum()))
            yield positions, vectors


def blocks_of(lengths: np.ndarray) -> list[np.ndarray]:
    """Positions of texts, the longest first, in blocks of about as many characters.

    Args:
        lengths: int (n,), characters of every text, at least 1; n > 0.
    """
    order = np.argsort(-lengths, kind="stable")
    size = int(np.clip(lengths.sum() // BLOCKS, MIN_CHARACTERS, MAX_CHARACTERS))
    before = np.cumsum(lengths[order]) - lengths[order]
    starts = np.flatnonzero(np.diff(before // size))
    return np.split(order, starts + 1)


def encode_block(
    shared: tuple[SentenceEncoder, str, str], block: tuple[np.ndarray, list[str]]
) -> Batch:
    """Encode some texts.

    Args:
        shared: the encoder, its fingerprint, and the digest of its files where it came from.
        block: positions, int64 (b,), and their texts.

    Raises:
        EncoderError: the files are not there, or are others.
    """
    encoder, _, files = shared
    _require_files(encoder, files)
    positions, texts = block
    vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
    for places, found in encoder.encode(texts):
        vectors[places] = found
    return positions, vectors


_seen: set[tuple[Path, str]] = set()
"""Files that were looked at in this process: they are read whole for it."""


def _require_files(encoder: SentenceEncoder, files: str) -> None:
    if (encoder.folder, files) in _seen:
        return
    if not encoder.folder.is_dir() or files_digest(encoder.folder) != files:
        raise EncoderError(
            f"encoder: its files lie at {encoder.folder}, and a node of Ray has nothing or "
            "something else there. Give all nodes the same image, or a folder that they share."
        )
    _seen.add((encoder.folder, files))
