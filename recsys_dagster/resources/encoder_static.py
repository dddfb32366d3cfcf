"""tiny: a static model, one vector a token, made once of the catalog's model; a text is their mean.

It depends on the model alone, so a text has the same vector whatever else a catalog holds. torch is
needed to make it and not to encode with it.
"""

import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
import numpy as np
from safetensors.numpy import load_file, save
from scipy import sparse
from tokenizers import Tokenizer

from recsys_dagster.home import encoders_folder, locks_folder
from recsys_dagster.resources.encoder_batches import Batch, EncodingProgress, reporting
from recsys_dagster.resources.encoder_models import EncoderError, files_digest
from recsys_dagster.resources.encoder_running import batches_on
from recsys_dagster.resources.locks import Holder, hold
from recsys_dagster.writing import remove_older, unwritten

STATIC = "-static-"
VERSION = "1"
"""Raise it when another static model begins to be made from the same model."""
DIMENSION = 256
RARITY = 3e-5
"""A token counts RARITY / (RARITY + its share of all text): smooth inverse frequency (Arora et al.,
A Simple but Tough-to-Beat Baseline for Sentence Embeddings, ICLR 2017)."""
EVENNESS = 0.5
"""Principal components are divided by their standard deviation to this power: 1 makes all alike."""
CHUNK_TEXTS = 4_096
SECONDS_BETWEEN_WORDS = 10.0
TABLE, TOKENIZER = "model.safetensors", "tokenizer.json"


class Model(Protocol):
    """What a static model is made of."""

    @property
    def name(self) -> str:
        """What the catalog calls it."""
        ...

    @property
    def files(self) -> str:
        """Digest of its files."""
        ...

    @property
    def dtype(self) -> str:
        """Number format that it runs in."""
        ...

    @property
    def max_length(self) -> int | None:
        """Tokens kept of a text, None: all."""
        ...

    def loaded(self) -> Any:
        """The SentenceTransformer."""
        ...


@dataclass(frozen=True)
class StaticEncoder:
    """A static model with everything that decides its vectors.

    Attributes:
        model: what it is made of.
    """

    model: Model

    @functools.cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) of all that decides a vector: texts with the same one need no encoding."""
        table = files_digest(self.folder)
        parts = {"preset": "tiny", "table": table, "max_length": self.model.max_length}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return _read(self.folder)[1].shape[1]

    @functools.cached_property
    def folder(self) -> Path:
        """The static model's files, which are made where they are missing.

        Raises:
            EncoderError: the model has no tokenizer that can be kept.
            UserError: the files cannot be written.
        """
        folder = encoders_folder() / f"{self.model.files}-{self.model.dtype}{STATIC}{VERSION}"
        if folder.is_dir():
            return folder
        log = dg.get_dagster_logger()

        def waiting(_other: Holder | None) -> None:
            log.info(f"waiting for another process to make the static model of {self.model.name}")

        lock = locks_folder() / "static" / f"{folder.name}.lock"
        with hold(lock, Holder.here("", "a static model"), waiting):
            if not folder.is_dir():
                _write(folder, *distilled(self.model.name, self.model.loaded(), log.info))
        return folder

    def encode(
        self,
        texts: Sequence[str],
        *,
        progress: EncodingProgress | None = None,
        doing: Callable[[str], None] = lambda _what: None,
    ) -> Iterator[Batch]:
        """Encode texts.

        Args:
            texts: any number.
            progress: called with (texts done, texts in all, share of the work done).
            doing: called with what begins, in words, before anything that takes long.

        Returns:
            Chunks to store one by one: positions in `texts`, int64 (b,), and their vectors,
            float32 (b × dimension) of length 1. Every position comes once.
        """
        if not texts:
            return
        doing(f"encoding {len(texts):,} texts with the static model of {self.model.name}")
        tokenizer, table = _read(self.folder)
        chunks = self._chunks(texts, tokenizer, table)
        if progress is not None:
            chunks = reporting(chunks, np.ones(len(texts)), progress)
        yield from chunks

    def _chunks(
        self, texts: Sequence[str], tokenizer: Tokenizer, table: np.ndarray
    ) -> Iterator[Batch]:
        for start in range(0, len(texts), CHUNK_TEXTS):
            own = list(texts[start : start + CHUNK_TEXTS])
            found = tokenizer.encode_batch_fast(own, add_special_tokens=False)
            tokens = [encoding.ids[: self.model.max_length] for encoding in found]
            yield np.arange(start, start + len(own)), mean_vectors(tokens, table)


def remove_static_models(used: Collection[Path], before: datetime) -> int:
    """Delete static models that no catalog uses; how many they were.

    Args:
        used: folders of those that stay.
        before: only models made before this time, with a zone, are deleted.
    """
    folders = {each for each in encoders_folder().glob(f"*{STATIC}*") if each.is_dir()}
    return remove_older(folders - set(used), before.timestamp())


def mean_vectors(tokens: Sequence[Sequence[int]], table: np.ndarray) -> np.ndarray:
    """Texts as the mean of their tokens, brought to length 1: float32 (n × d).

    Args:
        tokens: of each text; one without any gets the last row of the table.
        table: float32 (tokens + 1 × d).
    """
    tokens = [ids or [len(table) - 1] for ids in tokens]
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids in tokens])])
    places = np.fromiter((each for ids in tokens for each in ids), np.int64, starts[-1])
    counts = sparse.csr_matrix(
        (np.ones(len(places), dtype=np.float32), places, starts), shape=(len(tokens), len(table))
    )
    vectors = np.asarray(counts @ table)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    # Tokens may cancel each other out, if hardly ever: nothing is known of such a text.
    return np.where(lengths > 0, vectors / np.where(lengths > 0, lengths, 1), table[-1])


def distilled(name: str, model: Any, say: Callable[[str], None]) -> tuple[str, np.ndarray]:
    """A static model of a SentenceTransformer.

    Every token of the vocabulary is given to the model as a text; the vectors are brought to their
    principal components and weighted by how rare the token is.

    Args:
        name: of the model, for people.
        model: as `load_model` gives it.
        say: told now and then how far it is.

    Returns:
        The tokenizer as JSON, and float32 (tokens + 1 × d), the vectors of the tokens and, last, of
        the empty text.

    Raises:
        EncoderError: the model has no tokenizer that can be kept.
    """
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise EncoderError(
            f"encoder: preset tiny: the model {name} has no tokenizer of the kind that is needed "
            "(tokenizer.json). Take the preset fast, or another model."
        )
    tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    described = json.loads(tokenizer.to_str())
    shares = token_shares(described, tokenizer.get_vocab_size())
    say(f"making a static model of {name}, once: {len(shares):,} tokens")
    vectors = _vectors_of_tokens(model, len(shares), say)
    used = shares > 0
    table = principal(vectors, used) * np.append(RARITY / (RARITY + shares), 1)[:, np.newaxis]
    return tokenizer.to_str(), table.astype(np.float32)


def token_shares(tokenizer: dict[str, Any], tokens: int) -> np.ndarray:
    """The share of all text that each token has, float64 (tokens,); 0 for special ones.

    A unigram tokenizer knows it. Others are sorted by it, the most frequent first, and follow
    Zipf's law.

    Args:
        tokenizer: the content of a tokenizer.json.
        tokens: how many there are.
    """
    shares = 1 / np.arange(1.0, tokens + 1)
    if tokenizer["model"]["type"] == "Unigram":
        known = np.exp([score for _, score in tokenizer["model"]["vocab"]])
        shares = np.zeros(tokens)
        shares[: len(known)] = known
    shares[[added["id"] for added in tokenizer["added_tokens"]]] = 0
    return shares / shares.sum()


def principal(vectors: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Vectors on their principal components, the strongest first, float64 (n + 1 × d).

    Args:
        vectors: float32 (n + 1 × dimension).
        used: bool (n,), which of the first n the components are of.
    """
    exact = vectors.astype(np.float64)
    centred = exact - exact[:-1][used].mean(axis=0)
    own = centred[:-1][used]
    variances, axes = np.linalg.eigh(own.T @ own / len(own))
    kept = [at for at in np.argsort(-variances)[:DIMENSION] if variances[at] > 1e-12]
    axes = axes[:, kept]
    # An axis has no direction of its own: its largest part points up.
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(len(kept))])
    return (centred @ axes) / variances[kept] ** (EVENNESS / 2)


def _vectors_of_tokens(model: Any, tokens: int, say: Callable[[str], None]) -> np.ndarray:
    """Each token as a text of its own, and the empty text: float32 (tokens + 1 × dimension)."""
    import torch

    empty, one = model.preprocess([""]), model.preprocess(["a"])
    before, after = empty["input_ids"][0].tolist(), one["input_ids"][0].tolist()
    # Where a text's own tokens go, between those that stand around every text.
    place = next(
        (at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]),
        len(before),
    )
    around = (torch.tensor(before[:place]), torch.tensor(before[place:]))

    def features(ids: Any) -> dict[str, Any]:
        own = {
            name: value[:, :1].repeat(*ids.shape).to(model.device)
            for name, value in one.items()
            if hasattr(value, "shape")
        }
        rest = {name: value for name, value in one.items() if not hasattr(value, "shape")}
        return own | rest | {"input_ids": ids.to(model.device)}

    def forward(positions: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            middle = torch.from_numpy(np.ascontiguousarray(positions))[:, None]
            left, right = (part.repeat(len(positions), 1) for part in around)
            ids = torch.cat([left, middle, right], dim=1).long()
            found = model(features(ids))["sentence_embedding"][:, : model.truncate_dim]
            return found.float().cpu().numpy()

    with torch.inference_mode():
        nothing = torch.tensor([before]).long()
        last = model(features(nothing))["sentence_embedding"][:, : model.truncate_dim]
    vectors = np.empty((tokens + 1, last.shape[1]), dtype=np.float32)
    vectors[-1] = last.float().cpu().numpy()
    done, said = 0, time.monotonic()
    lengths = np.full(tokens, len(before) + 1)
    for positions, part in batches_on(model.device.type, lengths, forward):
        vectors[positions] = part
        done += len(positions)
        if time.monotonic() - said >= SECONDS_BETWEEN_WORDS:
            said = time.monotonic()
            say(f"static model: {done:,} of {tokens:,} tokens, {done / tokens:.0%}")
    return vectors


def _write(folder: Path, tokenizer: str, table: np.ndarray) -> None:
    """Written under a hidden name, and renamed when it is whole and on the disk."""
    hidden = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        hidden.mkdir(parents=True)
        (hidden / TOKENIZER).write_text(tokenizer, encoding="utf-8")
        (hidden / TABLE).write_bytes(save({"vectors": table.astype(np.float16)}))
        for name in (TOKENIZER, TABLE):
            with (hidden / name).open("rb") as written:
                os.fsync(written.fileno())
        hidden.rename(folder)
    except OSError as error:
        raise unwritten(folder, error) from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@functools.lru_cache(maxsize=2)
def _read(folder: Path) -> tuple[Tokenizer, np.ndarray]:
    """The tokenizer, and float32 (tokens + 1 × d)."""
    try:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        return tokenizer, load_file(folder / TABLE)["vectors"].astype(np.float32)
    except Exception as error:  # tokenizers and safetensors raise errors of their own
        raise EncoderError(
            f"encoder: cannot read the static model in {folder}: {error}. Remove that folder: it "
            "is made again."
        ) from error
