"""The published tables: their protocols and figures, and their data as matrices."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.steps.models.base import Evidence
from recsys_dagster.steps.models.behaviour import Behaviour
from recsys_dagster.steps.prepare.histories import histories_table
from recsys_dagster.steps.prepare.texts import item_texts
from recsys_dagster.steps.similarity.space import Space
from recsys_dagster.steps.similarity.tables import item_neighbours

NEIGHBOURS = 50
"""That an item keeps, as a catalog does when it says nothing."""
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Protocol:
    """A published table.

    Attributes:
        folder: of the data.
        split: the file with user_id, item_id, split.
        text: columns of the items that make their text; none where there are ids alone.
        ks: places that count.
        metrics: what the published rows have.
        chosen_by: the metric on validation that settings are chosen by.
        mask_valid: whether validation is masked at test too.
        published: method → its figures, in the order of `metrics`.
        aims: what is aimed at, by metric.
        in_order: whether the rows of each user come in the order of time.
        feeds_valid: whether validation is a part of the histories that are ranked for at test.
    """

    folder: str
    split: str
    text: tuple[str, ...]
    ks: tuple[int, ...]
    metrics: tuple[str, ...]
    chosen_by: str
    mask_valid: bool
    published: dict[str, tuple[float | None, ...]]
    aims: dict[str, float]
    in_order: bool = False
    feeds_valid: bool = False


AT_20 = ("recall@20", "ndcg@20")
PROTOCOLS: dict[str, Protocol] = {
    "B": Protocol(
        "ml-100k",
        "split_microsoft_item.parquet",
        ("title", "genres", "description"),
        (10,),
        ("ndcg@10", "precision@10", "recall@10", "map@10"),
        "ndcg@10",
        False,
        {
            "BiVAE": (0.4751, 0.4118, 0.2191, 0.1461),
            "BPR": (0.4420, None, None, None),
            "LightGCN": (0.4198, None, None, None),
            "NCF": (0.3961, None, None, None),
            "SAR": (0.3825, None, None, None),
        },
        {"ndcg@10": 0.485},
    ),
    "C": Protocol(
        "ml-1m",
        "split_diffrec_clean.parquet",
        ("title", "genres"),
        (10, 20),
        (
            "recall@10",
            "recall@20",
            "ndcg@10",
            "ndcg@20",
            "truncated_recall@10",
            "truncated_recall@20",
        ),
        "truncated_recall@20",  # as GiffCF's epoch is chosen (`monitor` in its configs)
        True,
        # Both from the readme of its repository VinciZhu/GiffCF.
        {
            "GiffCF, the paper's checkpoint": (None, None, 0.0962, 0.1221, 0.1251, 0.1947),
            "GiffCF, its current code": (None, None, 0.1002, 0.1272, 0.1308, 0.2024),
        },
        {
            "ndcg@10": 0.0962,
            "ndcg@20": 0.1221,
            "truncated_recall@10": 0.1251,
            "truncated_recall@20": 0.1947,
        },
        # Checked by the times that ratings.dat has of two thirds of the pairs.
        in_order=True,
    ),
    "E": Protocol(
        "amazon-movies",
        "interactions.parquet",
        ("description",),
        (20,),
        AT_20,
        "ndcg@20",
        False,
        {},
        {"recall@20": 0.249, "ndcg@20": 0.188},
    ),
    "F": Protocol(
        "amazon-games",
        "interactions.parquet",
        ("description",),
        (20,),
        AT_20,
        "ndcg@20",
        False,
        {},
        {"recall@20": 0.202, "ndcg@20": 0.109},
    ),
}
IDS_ALONE = Protocol(
    "rlmrec-yelp",
    "interactions.parquet",
    (),
    (20,),
    AT_20,
    "ndcg@20",
    False,
    # From the repository flowingrain/DMRec-main.
    {
        "RLMRec-Con": (0.1230, 0.0776),
        "Mult-VAE": (0.1189, 0.0751),
        "L-DiffRec": (0.1177, 0.0745),
        "CVGA": (0.1249, 0.0801),
        "DMRec, its best": (0.1310, 0.0829),
    },
    {"recall@20": 0.1310, "ndcg@20": 0.0829},
)
PROTOCOLS["G"] = IDS_ALONE
PROTOCOLS["H"] = replace(
    IDS_ALONE,
    folder="rlmrec-book",
    published={
        "RLMRec-Con": (0.1483, 0.0903),
        "Mult-VAE": (0.1498, 0.0936),
        "L-DiffRec": (0.1495, 0.0990),
        "CVGA": (0.1522, 0.0960),
        "DMRec, its best": (0.1652, 0.1044),
    },
    aims={"recall@20": 0.1692, "ndcg@20": 0.1192},
)
PROTOCOLS["S"] = Protocol(
    "s3-beauty",
    "interactions.parquet",
    (),
    (10,),
    ("recall@10", "ndcg@10"),
    "ndcg@10",
    True,
    # From the readme of the repository blondered/transformer_benchmark.
    {
        "TIGER": (0.0648, 0.0384),
        "HSTU": (0.0788, 0.0439),
        "SASRec, sampled softmax": (0.0921, 0.0531),
        "eSASRec": (0.0928, 0.0523),
    },
    {"recall@10": 0.0928, "ndcg@10": 0.0531},
    in_order=True,
    feeds_valid=True,
)
PROTOCOLS["cold"] = replace(PROTOCOLS["F"], aims={"recall@20": 0.203, "ndcg@20": 0.112})


@dataclass(frozen=True)
class Task:
    """A table's data, aligned to the sorted ids of users and items.

    Attributes:
        train, valid, test: bool csr (users × items).
        item_vectors: float32 (items × d).
        items: item ids, sorted.
        users: user ids, sorted.
        order: float64 csr (users × items), which row of the file, from 1, each pair is.
    """

    train: sparse.csr_matrix
    valid: sparse.csr_matrix
    test: sparse.csr_matrix
    item_vectors: np.ndarray
    items: pd.Index
    users: pd.Index
    order: sparse.csr_matrix


def read_task(protocol: Protocol, data: Path, cache: Path) -> Task:
    """Read a split and the vectors of its items; these are kept in `cache`."""
    rows = pd.read_parquet(data / protocol.folder / protocol.split)
    if protocol.text:
        items = pd.read_parquet(data / protocol.folder / "items.parquet")
        items = items[items["item_id"].isin(rows["item_id"])].sort_values("item_id")
    else:
        items = pd.DataFrame({"item_id": sorted(rows["item_id"].unique())})
    ids, users = pd.Index(items["item_id"]), pd.Index(rows["user_id"].unique()).sort_values()

    places = (users.get_indexer(rows["user_id"]), ids.get_indexer(rows["item_id"]))
    numbers = sparse.csr_matrix(
        (np.arange(1.0, len(rows) + 1), places), shape=(len(users), len(ids))
    )

    def pairs(part: str) -> sparse.csr_matrix:
        own = (rows["split"] == part).to_numpy()
        where = (places[0][own], places[1][own])
        return sparse.csr_matrix((np.ones(own.sum(), dtype=bool), where), shape=numbers.shape)

    train, valid = pairs("train"), pairs("valid")
    if not valid.nnz:
        chosen = np.random.default_rng(0).random(train.nnz) < 0.1
        coo = train.tocoo()
        valid = sparse.csr_matrix(
            (coo.data[chosen], (coo.row[chosen], coo.col[chosen])), shape=train.shape
        )
    vectors = _vectors(protocol, items, cache)
    return Task(train, valid, pairs("test"), vectors, ids, users, numbers)


def _vectors(protocol: Protocol, items: pd.DataFrame, cache: Path) -> np.ndarray:
    if not protocol.text:
        return np.zeros((len(items), 1), dtype=np.float32)
    file = cache / f"{protocol.folder}.npy"
    if file.exists():
        return np.load(file)
    titled = items.assign(title=items["title"].fillna(items["item_id"]), title_source="title")
    texts = item_texts(titled, protocol.text)["text"].tolist()
    encoder = TextEncoder().load(ENCODER, Path())
    vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
    for positions, part in encoder.encode(texts):
        vectors[positions] = part
    cache.mkdir(parents=True, exist_ok=True)
    np.save(file, vectors)
    return vectors


def evidence_of(task: Task, train: sparse.csr_matrix, *, in_order: bool = False) -> Evidence:
    """What strategies learn from: train alone, and the texts of all items.

    Args:
        task: the table's data.
        train: bool csr (users × items).
        in_order: tell the order of each user's pairs, as the file has it.
    """
    pairs = train.tocoo()
    order = np.asarray(task.order[pairs.row, pairs.col]).ravel() if in_order else np.nan
    interactions = pd.DataFrame(
        {
            "user_id": task.users[pairs.row],
            "item_id": task.items[pairs.col],
            "weight": 1.0,
            "positive": True,
            "first_timestamp": pd.NaT,
            "last_timestamp": pd.Series(pd.NaT, index=range(pairs.nnz), dtype="datetime64[us]"),
            "last_position": order,
            "left_out": False,
        }
    )
    histories = histories_table(interactions, pd.Series(task.users), 180.0, 50.0)
    behaviour = Behaviour.of(histories, task.items)
    space = Space.of(task.item_vectors, "cosine", centre=True)

    def neighbours() -> sparse.csr_matrix:
        shape = (train.shape[1],) * 2
        if not task.item_vectors.any():
            return sparse.csr_matrix(shape, dtype=np.float32)
        found = item_neighbours(space.project(task.item_vectors), NEIGHBOURS, "cosine")
        return sparse.csr_matrix((found.similarities, (found.rows, found.columns)), shape=shape)

    return Evidence(behaviour, task.item_vectors, space, neighbours)
