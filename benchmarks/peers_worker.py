# ty: ignore[import-not-found]
"""One method of another library on one split: run by the Python of `.venv-peers`.

`python peers_worker.py FOLDER` works on a folder that `benchmarks.peers` prepares:

| file | what it holds |
| --- | --- |
| `train.parquet` | user, item: int64 positions, no pair twice |
| `mask.parquet` | user, item: what lists must not hold, train included |
| `users.parquet` | user: whom to rank for |
| `request.json` | method, k, and settings: a list of mappings, fitted one after the other |
| `lists.parquet` | the answer: setting (place in that list), user, item, rank from 1 |
| `answer.json` | library, with its version; seconds: fit_seconds and recommend_seconds of each |

Each library works as its documentation says: its own data set, its own fit, its own ranking of all
items for many users. What settings leave out has the library's default. Imports and building the
data set are not timed, as they are not for ours. A library masks only what it was fitted on, so it
is asked for as many more items as any user has other masked pairs; these are dropped, untimed.
"""

import functools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import sparse
from threadpoolctl import threadpool_limits

SEED = 0


class Peer(Protocol):
    """A method that holds a split as its library wants it."""

    def fit(self, settings: dict[str, Any]) -> None:
        """Learn from the split."""
        ...

    def recommend(self, users: np.ndarray, k: int) -> pd.DataFrame:
        """The best k items that are not among a user's train pairs.

        Args:
            users: int64 (users,), all of them in train.
            k: places of a list.

        Returns:
            user, item; best first within a user.
        """
        ...


class RecTools:
    """A model of RecTools.

    Attributes:
        create: the model from its settings.
    """

    def __init__(self, train: pd.DataFrame, create: Callable[..., Any]) -> None:
        from rectools import Columns
        from rectools.dataset import Dataset

        named = train.rename(columns={"user": Columns.User, "item": Columns.Item})
        # The columns have to be there; no model here looks at the time.
        named = named.assign(**{Columns.Weight: 1.0, Columns.Datetime: pd.Timestamp(0)})
        self.dataset = Dataset.construct(named)
        self.create = create

    def fit(self, settings: dict[str, Any]) -> None:
        """See `Peer`."""
        self.model = self.create(**settings).fit(self.dataset)

    def recommend(self, users: np.ndarray, k: int) -> pd.DataFrame:
        """See `Peer`."""
        lists = self.model.recommend(users, self.dataset, k, filter_viewed=True)
        return lists.rename(columns={"user_id": "user", "item_id": "item"})


def rectools_ease(train: pd.DataFrame) -> Peer:
    """EASE: regularization 500 by default. Version 0.19.0 ranks with its weights transposed."""
    from rectools.models import EASEModel

    return RecTools(train, EASEModel)


def rectools_puresvd(train: pd.DataFrame) -> Peer:
    """PureSVD: 10 factors by default."""
    from rectools.models import PureSVDModel

    return RecTools(train, functools.partial(PureSVDModel, random_state=SEED))


def rectools_item_knn(train: pd.DataFrame) -> Peer:
    """Item neighbours of implicit in RecTools: 20 by default, TF-IDF as in RecTools' examples."""
    from implicit.nearest_neighbours import CosineRecommender, TFIDFRecommender
    from rectools.models import ImplicitItemKNNWrapperModel

    kinds = {"cosine": CosineRecommender, "tfidf": TFIDFRecommender}

    def create(weighting: str = "tfidf", **others: Any) -> Any:
        return ImplicitItemKNNWrapperModel(kinds[weighting](**others))

    return RecTools(train, create)


class ImplicitAls:
    """ALS of implicit: 100 factors, regularization .01, alpha 1 and 15 iterations by default."""

    def __init__(self, train: pd.DataFrame) -> None:
        from implicit.cpu.als import AlternatingLeastSquares

        ones = np.ones(len(train), dtype=np.float32)
        self.matrix = sparse.csr_matrix((ones, (train["user"], train["item"])))
        self.create = functools.partial(AlternatingLeastSquares, random_state=SEED)

    def fit(self, settings: dict[str, Any]) -> None:
        """See `Peer`."""
        # The library runs threads of its own and asks for BLAS to have one.
        with threadpool_limits(1, "blas"):
            self.model = self.create(**settings)
            self.model.fit(self.matrix, show_progress=False)

    def recommend(self, users: np.ndarray, k: int) -> pd.DataFrame:
        """See `Peer`."""
        items, _ = self.model.recommend(users, self.matrix[users], N=k)
        return pd.DataFrame({"user": np.repeat(users, items.shape[1]), "item": items.ravel()})


class LensKitItemKnn:
    """Item neighbours of LensKit, of implicit feedback: 20 score an item by default."""

    def __init__(self, train: pd.DataFrame) -> None:
        from lenskit.data import from_interactions_df
        from lenskit.knn import ItemKNNScorer

        named = train.rename(columns={"user": "user_id", "item": "item_id"})
        self.dataset = from_interactions_df(named)
        self.create = functools.partial(ItemKNNScorer, feedback="implicit")

    def fit(self, settings: dict[str, Any]) -> None:
        """See `Peer`."""
        from lenskit.pipeline import topn_pipeline

        self.pipeline = topn_pipeline(self.create(**settings))
        self.pipeline.train(self.dataset)

    def recommend(self, users: np.ndarray, k: int) -> pd.DataFrame:
        """See `Peer`."""
        from lenskit.batch import recommend

        # With few cores its processes take longer to start than they save.
        lists = recommend(self.pipeline, users.tolist(), k, n_jobs=1).to_df()
        return lists.rename(columns={"user_id": "user", "item_id": "item"})


class Cornac:
    """A model of Cornac.

    Attributes:
        create: the model from its settings.
    """

    def __init__(self, train: pd.DataFrame, create: Callable[..., Any]) -> None:
        from cornac.data import Dataset

        triples = zip(train["user"], train["item"], np.ones(len(train)), strict=True)
        self.dataset = Dataset.from_uir(list(triples), seed=SEED)
        self.create = create

    def fit(self, settings: dict[str, Any]) -> None:
        """See `Peer`."""
        self.model = self.create(**settings).fit(self.dataset)

    def recommend(self, users: np.ndarray, k: int) -> pd.DataFrame:
        """See `Peer`."""
        lists = [
            self.model.recommend(user, k=k, remove_seen=True, train_set=self.dataset)
            for user in users
        ]
        lengths = [len(items) for items in lists]
        return pd.DataFrame({"user": np.repeat(users, lengths), "item": np.concatenate(lists)})


def cornac_ease(train: pd.DataFrame) -> Peer:
    """EASE: lamb 500 by default, and posB: negative weights are left out."""
    from cornac.models import EASE

    return Cornac(train, functools.partial(EASE, verbose=False))


def cornac_bpr(train: pd.DataFrame) -> Peer:
    """BPR: k 10, learning_rate .001, lambda_reg .01 and 100 epochs by default."""
    from cornac.models import BPR

    return Cornac(train, functools.partial(BPR, seed=SEED))


@dataclass(frozen=True)
class Method:
    """What a request can name.

    Attributes:
        distribution: the package whose version is reported.
        hold: the method from train: user, item.
    """

    distribution: str
    hold: Callable[[pd.DataFrame], Peer]


METHODS = {
    "rectools_ease": Method("rectools", rectools_ease),
    "rectools_puresvd": Method("rectools", rectools_puresvd),
    "rectools_item_knn": Method("rectools", rectools_item_knn),
    # RecTools brings implicit as the package pm-implicit.
    "implicit_als": Method("pm-implicit", ImplicitAls),
    "lenskit_item_knn": Method("lenskit", LensKitItemKnn),
    "cornac_ease": Method("cornac", cornac_ease),
    "cornac_bpr": Method("cornac", cornac_bpr),
}


def without_masked(lists: pd.DataFrame, mask: pd.DataFrame, k: int) -> pd.DataFrame:
    """The first k items of each user that are not masked.

    Args:
        lists: user, item; best first within a user.
        mask: user, item.
        k: places of a list.

    Returns:
        user, item, and rank from 1; int64.
    """
    items = 1 + max(lists["item"].max(), mask["item"].max())
    masked = np.isin(
        lists["user"] * items + lists["item"], mask["user"] * items + mask["item"], kind="sort"
    )
    kept = lists.loc[~masked, ["user", "item"]].astype(np.int64)
    kept["rank"] = kept.groupby("user").cumcount() + 1
    return kept[kept["rank"] <= k]


def answer(folder: Path) -> None:
    """Read the request in a folder and write the answer there."""
    request = json.loads((folder / "request.json").read_text("utf-8"))
    train, mask = (pd.read_parquet(folder / f"{name}.parquet") for name in ("train", "mask"))
    users = pd.read_parquet(folder / "users.parquet")["user"].to_numpy()
    k: int = request["k"]
    beyond_train = mask["user"].value_counts().sub(train["user"].value_counts(), fill_value=0)
    asked = min(k + int(beyond_train.max()), train["item"].nunique())
    method = METHODS[request["method"]]
    peer = method.hold(train)
    lists, seconds = [], []
    for place, settings in enumerate(request["settings"]):
        started = time.perf_counter()
        peer.fit(settings)
        fitted = time.perf_counter()
        found = peer.recommend(users, asked)
        ended = time.perf_counter()
        lists.append(without_masked(found, mask, k).assign(setting=place))
        seconds.append({"fit_seconds": fitted - started, "recommend_seconds": ended - fitted})
    pd.concat(lists).to_parquet(folder / "lists.parquet", index=False)
    library = f"{method.distribution} {version(method.distribution)}"
    text = json.dumps({"library": library, "seconds": seconds}) + "\n"
    (folder / "answer.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    answer(Path(sys.argv[1]))
