"""Rates of this machine: a drawn catalog refreshed at several sizes, and what computes alone.

Slopes are found by non-negative least squares: what a stage took, over what is counted of each
size. So what a stage takes however little there is (Dagster, opening the warehouse) is a rate of
its own, of a run. Seconds are those of cores, so that other work on the machine counts for little.
"""

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.optimize import nnls

from recsys_dagster.catalog.settings import DEFAULT_ENCODER
from recsys_dagster.onboarding.sizing.one_run import OneRun, Step, refresh_drawn
from recsys_dagster.onboarding.sizing.plan import BASE_BYTES, memory_of
from recsys_dagster.onboarding.sizing.rates import SHIPPED, ByStage, Rates
from recsys_dagster.onboarding.sizing.workload import Counts, Workload, counts_of
from recsys_dagster.resources.machine import usable_cores

SIZES = (
    (8_000, 2_000, 120_000),
    (32_000, 2_000, 480_000),
    (8_000, 8_000, 120_000),
    (8_000, 2_000, 480_000),
)
"""Users, items, interactions: each of them four times as many, the others as they are."""
TABLES = {
    "read": ("raw_interactions", "raw_items", "raw_users"),
    "prepare": (
        "interactions",
        "rejected_interactions",
        "items",
        "rejected_items",
        "users",
        "histories",
        "item_texts",
        "user_texts",
        "popular_items",
    ),
    "encode": ("item_embeddings",),
    "vectors": ("user_embeddings",),
    "similarity": ("similarity_matrix", "item_neighbours", "item_map"),
    "model": ("model",),
    "lists": ("recommendations",),
    "publish": ("published",),
}
"""Those that a stage makes."""
SECONDS_BY = {
    "read": ("runs", "interactions", "items"),
    "prepare": ("runs", "interactions", "users", "items"),
    "encode": ("runs", "words"),
    "vectors": ("runs", "users", "history_floats"),
    "similarity": ("runs", "matrix_rows", "neighbour_rows"),
    "model": ("runs", "likes"),
    "lists": ("runs", "list_rows", "list_cells", "reasons"),
    "publish": ("runs", "list_rows", "interactions", "neighbour_rows"),
}
"""What the time of a stage grows with, beside what is measured alone."""
MEMORY_BY = {
    "read": ("runs", "interactions", "items"),
    "prepare": ("runs", "interactions", "users", "items"),
    "encode": ("runs", "items"),
    "vectors": ("runs", "interactions"),
    "similarity": ("runs", "matrix_rows", "neighbour_rows"),
    "model": ("runs", "interactions", "weights"),
    "lists": ("runs", "interactions", "list_rows"),
    "publish": ("runs", "interactions", "list_rows", "neighbour_rows"),
}
"""The same of its memory, beside arrays whose size is known. It is the process's at its largest, so
what earlier stages left behind counts too."""
STORED_BY = {
    "raw_interactions": ("interactions",),
    "interactions": ("interactions",),
    "histories": ("interactions", "users"),
    "items": ("items",),
    "item_texts": ("items",),
    "item_map": ("items",),
    "popular_items": ("items",),
    "item_embeddings": ("item_floats",),
    "user_embeddings": ("user_floats",),
    "similarity_matrix": ("matrix_rows",),
    "item_neighbours": ("neighbour_rows",),
    "recommendations": ("list_rows",),
    "users": ("users",),
}
PUBLISHED_BY = {
    "recommendations": ("list_rows",),
    "histories": ("interactions", "users"),
    "item_neighbours": ("neighbour_rows",),
    "items": ("items",),
    "model": ("weights", "item_floats"),
}
SERVED = {"list_rows": 44.0, "users": 12.0}
"""Bytes that `recsys serve` holds of a row of a list, with its reasons, and of a user's id."""
OPENED = {"list_rows": 4e-7}
"""Seconds until it answers: 8 s with 20 million rows (`make serving`)."""
REPEATS = 3
TEXTS = 96
WORDS = (
    "the small red house stands beside an old garden where people come every summer to read and "
    "write about music water travel history science family business children winter language"
)
LENGTHS = (60, 600)
"""Characters of the texts that a language model is asked to encode."""


@dataclass(frozen=True)
class Sample:
    """A refresh of a known size.

    Attributes:
        counts: what there was to do.
        run: what it took.
    """

    counts: Counts
    run: OneRun

    @classmethod
    def drawn(cls, users: int, items: int, interactions: int, log: Path | None = None) -> "Sample":
        """Of a drawn catalog.

        Args:
            users: how many.
            items: how many.
            interactions: how many.
            log: where what the run says goes.
        """
        work = Workload(users, items, interactions, encoder="tfidf")
        return cls(counts_of(work, None), refresh_drawn(users, items, interactions, log))


def measured_rates(saying: Callable[[str], None]) -> Rates:
    """Measure this machine; a minute or two where it has nothing else to do.

    Args:
        saying: called with what begins.
    """
    samples = []
    for users, items, interactions in SIZES:
        saying(f"a refresh of {users:,} users, {items:,} items, {interactions:,} interactions")
        samples.append(Sample.drawn(users, items, interactions))
    saying("products, inverses, an index, a language model")
    return rates_of(samples, alone=computing_seconds())


def rates_of(samples: Sequence[Sample], alone: ByStage) -> Rates:
    """Rates that explain some refreshes.

    Args:
        samples: of different sizes.
        alone: seconds of a core, by stage, of what was measured without a refresh.
    """
    counts = [sample.counts for sample in samples]
    seconds, memory = {}, {}
    for stage, tables in TABLES.items():
        steps = [steps_of(sample.run, tables) for sample in samples]
        known = alone.get(stage, {})
        took = [sum(step.core_seconds for step in own) for own in steps]
        computed = [sum(known[name] * count[name] for name in known) for count in counts]
        seconds[stage] = slopes(counts, took, SECONDS_BY[stage], computed) | dict(known)
        peak = [max(step.peak_bytes for step in own) + BASE_BYTES for own in steps]
        arrays = [memory_of(stage, count) for count in counts]
        memory[stage] = slopes(counts, peak, MEMORY_BY[stage], arrays)
    storage: dict[str, dict[str, float]] = {stage: {} for stage in TABLES}
    for table, names in STORED_BY.items():
        stage = next(stage for stage, tables in TABLES.items() if table in tables)
        _add(storage[stage], slopes(counts, [own.run.stored[table] for own in samples], names))
    for file, names in PUBLISHED_BY.items():
        size = [own.run.published[file] for own in samples]
        _add(storage["publish"], slopes(counts, size, names))
    # A run's own folder holds the model once more; the snapshot's is a link to it.
    storage["model"] = {"weights": storage["publish"].pop("weights")}
    return Rates(
        machine=machine_in_words(),
        measured_on=f"{datetime.now(UTC):%Y-%m-%d}",
        seconds=_rounded(seconds | {"serve": OPENED}),
        memory=_rounded(memory | {"serve": SERVED}),
        storage=_rounded(storage),
    )


def slopes(
    counts: Sequence[Counts],
    took: Sequence[float],
    names: Iterable[str],
    known: Sequence[float] | None = None,
) -> dict[str, float]:
    """How much one of each takes, never less than nothing.

    In shares of what each took, so that small sizes say as much as large ones.

    Args:
        counts: of each size.
        took: seconds or bytes of each size.
        names: what it grows with.
        known: of each size, how much of it something else took.
    """
    names = tuple(names)
    matrix = np.array([[count[name] for name in names] for count in counts], dtype=np.float64)
    weights = 1 / np.maximum(np.asarray(took, dtype=np.float64), 1e-9)
    left = np.asarray(took) - (0 if known is None else np.asarray(known))
    units = np.maximum(matrix.max(axis=0), 1e-300)
    found, _ = nnls((matrix / units) * weights[:, None], left * weights)
    return dict(zip(names, (found / units).tolist(), strict=True))


def computing_seconds() -> dict[str, dict[str, float]]:
    """Seconds of a core, by stage, of products, inverses, an index and a language model."""
    random = np.random.default_rng(0)
    compared, scanned = _searching(random)
    return {
        "encode": _encoding(),
        "similarity": {"compared": compared, "scanned": scanned},
        "model": {
            "cubes": _inverting(random),
            **{name: SHIPPED.seconds["model"][name] for name in ("tail", "lent", "pairs")},
            "fit_compared": compared,
            "fit_scanned": scanned,
        },
        "lists": _scoring(random),
    }


OF_HYBRID = 2.0
"""Its fit by what the inverse of the same size takes: two products and a low-pass part come to
it."""


def core_seconds(work: Callable[[], object]) -> float:
    """Seconds of all cores together that something takes, at its quickest.

    Threads that wait for each other count as if they worked, which they do more where others work
    on the machine too.
    """
    took = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def _searching(random: np.random.Generator) -> tuple[float, float]:
    """Of one multiplication: comparing all, and looking through an index."""
    from recsys_dagster.steps.similarity.approximate import approximate_index
    from recsys_dagster.steps.similarity.nearest import top_k

    # In groups, as texts are: an index of vectors without any finds nothing.
    centres = random.normal(size=(200, 128)).astype(np.float32)
    vectors = centres[random.integers(0, 200, 40_000)]
    vectors += 0.5 * random.normal(size=vectors.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = np.ascontiguousarray(vectors[:4_000])
    compared = core_seconds(lambda: top_k(queries, vectors, 100, "cosine"))
    index = approximate_index(queries, vectors, 109, is_distance=False)
    if index is None:
        return compared / (len(queries) * vectors.size), compared / (len(queries) * vectors.size)
    looked_through = len(queries) * index.probes * vectors.size / index.lists
    scanned = core_seconds(lambda: top_k(queries, vectors, 100, "cosine", index=index))
    return compared / (len(queries) * vectors.size), scanned / looked_through


def _inverting(random: np.random.Generator) -> float:
    """Of a fit, by items³."""
    from recsys_dagster.steps.models.inverse import regularised_inverse

    size = 2_000
    wide = random.normal(size=(size, size)).astype(np.float32)
    gram, ridge = wide @ wide.T, np.full(size, size, dtype=np.float32)
    return OF_HYBRID * core_seconds(lambda: regularised_inverse(gram, ridge)) / size**3


def _scoring(random: np.random.Generator) -> dict[str, float]:
    """Of one multiplication of histories and weights that are kept densely, and sparsely."""
    from recsys_dagster.steps.models.item_weights import ItemWeightsModel, added_up

    items, users = 4_000, 500
    histories = sparse.random_array(
        (users, items), density=0.005, format="csr", dtype=np.float32, rng=random
    )
    histories = sparse.csr_matrix(histories)
    dense = ItemWeightsModel(random.random((items, items), dtype=np.float32), np.arange(items))
    thin = sparse.csr_matrix(
        sparse.random_array((items, items), density=0.05, dtype=np.float32, rng=random)
    )
    of_thin = float((histories.getnnz(axis=0) * np.diff(thin.indptr)).sum())
    return {
        "scored": core_seconds(lambda: dense.times(histories)) / (histories.nnz * items),
        "scored_sparsely": core_seconds(lambda: added_up(histories, thin)) / of_thin,
    }


def _encoding() -> dict[str, float]:
    """Of a text and of each of its characters, by the default encoder; shipped where it is not."""
    from recsys_dagster.resources.encoder import TextEncoder
    from recsys_dagster.resources.encoder_models import is_here

    shipped = {
        name: SHIPPED.seconds["encode"][name]
        for name in SHIPPED.seconds["encode"]
        if name not in SECONDS_BY["encode"]
    }
    if not is_here(DEFAULT_ENCODER):
        return shipped
    encoder = TextEncoder(device="cpu", lock="").load(DEFAULT_ENCODER, Path())
    words = np.array(WORDS.split())
    random = np.random.default_rng(0)

    def encode(length: int) -> None:
        texts = [" ".join(random.choice(words, length // 4))[:length] for _ in range(TEXTS)]
        for _ in encoder.encode(texts):
            pass

    encode(LENGTHS[0])  # loads the model
    short, long = (core_seconds(lambda own=length: encode(own)) / TEXTS for length in LENGTHS)
    a_character = max(0.0, (long - short) / (LENGTHS[1] - LENGTHS[0]))
    a_text = max(0.0, short - LENGTHS[0] * a_character)
    return shipped | {"texts": a_text, "characters": a_character}


def machine_in_words() -> str:
    """Cores and processor of this machine."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{usable_cores()} cores of {name}"


def steps_of(run: OneRun, tables: tuple[str, ...]) -> list[Step]:
    """Steps that make some tables, and their checks."""
    # A check's name begins with its table's, and some tables' with another's: the longest is it.
    every = sorted((name for of in TABLES.values() for name in of), key=len, reverse=True)
    own = []
    for key, step in run.steps.items():
        _, _, name = key.partition("__")
        made = next((table for table in every if name == table or name.startswith(table + "_")), "")
        if made in tables:
            own.append(step)
    return own


def _add(to: dict[str, float], rates: Mapping[str, float]) -> None:
    for name, rate in rates.items():
        to[name] = to.get(name, 0.0) + rate


def _rounded(rates: ByStage) -> dict[str, dict[str, float]]:
    """To three digits: more is not known."""
    return {
        stage: {name: float(f"{rate:.3g}") for name, rate in of_stage.items()}
        for stage, of_stage in rates.items()
    }
