"""Strategies side by side: each fitted on train alone, asked for what was held back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from scipy import sparse

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.compute.blocks import LOCAL, Compute
from recsys_dagster.steps.embed.user_vectors import user_vectors
from recsys_dagster.steps.evaluation.intervals import Bootstrap
from recsys_dagster.steps.evaluation.metrics import catalogue_metrics
from recsys_dagster.steps.evaluation.ranked import rank_for_evaluation
from recsys_dagster.steps.evaluation.slices import accuracy_by_slice, slices
from recsys_dagster.steps.evaluation.splits import TEST, TRAIN, VALID
from recsys_dagster.steps.lists.recommendations import popular_items
from recsys_dagster.steps.lists.reranking import Reranking
from recsys_dagster.steps.models.base import Evidence
from recsys_dagster.steps.models.behaviour import Behaviour, align
from recsys_dagster.steps.models.fitting import Fits, Learn, Tuned, learn, tuned_settings
from recsys_dagster.steps.models.popular import popularity
from recsys_dagster.steps.prepare.histories import histories_table
from recsys_dagster.steps.similarity.space import Space
from recsys_dagster.steps.similarity.tables import similarity_matrix

BASELINE = "popular"
RULED = "{} with rules"
"""What the champion's lists are called where the catalog's rules put them in order."""
Mask = Literal["train", "train+valid"]


@dataclass(frozen=True)
class Known:
    """What may be known of all items and users: texts, never behaviour.

    Attributes:
        users: user ids, sorted.
        items: table `items`.
        item_vectors: float32 (items × d), in the order of `items`.
        text_vectors: float32 (users × d), in the order of `users`; None where nobody has a text.
        item_neighbours: makes the csr (items × items) of neighbours for given item ids.
    """

    users: pd.Series
    items: pd.DataFrame
    item_vectors: np.ndarray
    text_vectors: np.ndarray | None
    item_neighbours: Callable[[pd.Index], sparse.csr_matrix]


@dataclass(frozen=True)
class HeldBack:
    """What models learn from, and the pairs that were held back from them.

    Attributes:
        train: rows of the table `evaluation_split` to learn from.
        valid: user_id and item_id of the validation pairs.
        test: user_id and item_id of the test pairs.
    """

    train: pd.DataFrame
    valid: pd.DataFrame
    test: pd.DataFrame

    @classmethod
    def of(cls, evaluation_split: pd.DataFrame) -> "HeldBack":
        """Divide the table `evaluation_split`."""
        part, pairs = evaluation_split["part"], evaluation_split[["user_id", "item_id"]]
        return cls(evaluation_split[part == TRAIN], pairs[part == VALID], pairs[part == TEST])


@dataclass(frozen=True)
class Question:
    """What models may learn from, and what they are asked for.

    Attributes:
        evidence: from train alone.
        similarity_matrix: float32 csr (all users × items), rows of the users who are asked about.
        users: int64 (users,), their positions.
        pairs: bool csr (users × items), what was held back from each.
    """

    evidence: Evidence
    similarity_matrix: sparse.csr_matrix
    users: np.ndarray
    pairs: sparse.csr_matrix


def train_evidence(
    catalog: Catalog,
    train: pd.DataFrame,
    known: Known,
    users: pd.Series,
    compute: Compute = LOCAL,
) -> tuple[Evidence, sparse.csr_matrix]:
    """Evidence from train alone, and the similarity matrix with the rows of `users`, no others.

    Args:
        catalog: its settings.
        train: rows of the table `evaluation_split`.
        known: texts as vectors.
        users: ids of those who will be ranked for.
        compute: does the blocks of the similarity matrix.
    """
    settings = catalog.users
    histories = histories_table(
        train, known.users, settings.half_life_days, settings.half_life_positions
    )
    behaviour = Behaviour.of(histories, known.items["item_id"])
    item_vectors = align(behaviour.item_ids, known.items["item_id"], known.item_vectors)
    made = user_vectors(
        behaviour.weights,
        item_vectors,
        known.text_vectors,
        settings.vectors,
        settings.text_share,
    )
    catalogue = np.flatnonzero(behaviour.in_catalogue)
    space = Space.of(item_vectors[catalogue], catalog.similarity, catalog.centre)
    wanted = behaviour.user_ids[made.has_vector].isin(users)
    rows = np.flatnonzero(made.has_vector)[wanted]
    seen = behaviour.seen_in_catalogue[rows]
    entries = similarity_matrix(
        space.project(made.vectors[wanted]),
        space.project(item_vectors[catalogue]),
        seen,
        catalog.matrix_width,
        catalog.similarity,
        max_exact_pairs=catalog.max_exact_pairs,
        compute=compute,
    )
    similar = sparse.csr_matrix(
        (entries.similarities, (rows[entries.rows], catalogue[entries.columns])),
        shape=behaviour.seen.shape,
    )
    evidence = Evidence(
        behaviour, item_vectors, space, partial(known.item_neighbours, behaviour.item_ids)
    )
    return evidence, similar


def possible_pairs(pairs: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """Those of items that the catalogue has: no list could hold the others.

    Args:
        pairs: user_id and item_id.
        items: table `items`.
    """
    return pairs[pairs["item_id"].isin(items["item_id"])]


def asked_for(
    pairs: pd.DataFrame,
    catalog: Catalog,
    held_back: HeldBack,
    known: Known,
    compute: Compute = LOCAL,
) -> Question:
    """What models learn from, and what they are asked for.

    Args:
        pairs: user_id and item_id, of validation or of test; only `possible_pairs` are asked for.
        catalog: its settings.
        held_back: train, validation and test.
        known: texts as vectors.
        compute: does the blocks of the similarity matrix.

    Raises:
        ValueError: a pair that was held back is in train too.
    """
    possible = possible_pairs(pairs, known.items)
    user_ids = pd.Series(np.sort(possible["user_id"].unique()), dtype="str")
    most = catalog.evaluation.max_users
    if len(user_ids) > most:
        drawn = np.random.default_rng(0).choice(len(user_ids), most, replace=False)
        user_ids = user_ids.iloc[np.sort(drawn)]
        possible = possible[possible["user_id"].isin(user_ids)]
    evidence, similarity_matrix = train_evidence(catalog, held_back.train, known, user_ids, compute)
    _refuse_leaks(evidence.behaviour, held_back)
    users = evidence.behaviour.user_ids.get_indexer(user_ids)
    return Question(evidence, similarity_matrix, users, _pairs(possible, evidence.behaviour)[users])


def compare(
    catalog: Catalog,
    held_back: HeldBack,
    known: Known,
    strategies: Sequence[str],
    ks: Sequence[int],
    mask: Mask,
    tuned: Tuned,
    doing: Callable[[str], None] = lambda _what: None,
    learn: Learn = learn,
    compute: Compute = LOCAL,
) -> pd.DataFrame:
    """The table `evaluation`: every strategy in every metric and slice, with intervals.

    Where rules order the lists, the champion is measured without them, as all others are, and once
    more with them.

    Args:
        catalog: its settings; its strategy is the champion.
        held_back: train, validation and test.
        known: texts as vectors.
        strategies: names to compare; popular and the champion are compared in any case.
        ks: places of a list that count.
        mask: what is left out of lists, seen in train, or in validation too.
        tuned: settings found for strategies, by name.
        doing: called with what begins, in words, before anything that takes long.
        learn: learns, or knows what was learned from the same train part before.
        compute: does the blocks of lists.

    Raises:
        UserError: a strategy cannot be fitted.
        ValueError: a pair that was held back is in train too.
    """
    names = list(dict.fromkeys([BASELINE, catalog.strategy, *strategies]))
    doing(f"putting together what was known before, from {len(held_back.train):,} interactions")
    question = asked_for(held_back.test, catalog, held_back, known, compute)
    evidence, users, test = question.evidence, question.users, question.pairs
    behaviour, fits = evidence.behaviour, Fits(evidence, learn)
    masked = behaviour.seen
    if mask == "train+valid":
        masked = ((masked + _pairs(held_back.valid, behaviour)) > 0).tocsr()
    parts = slices(behaviour, users)
    reranking = None
    if catalog.rules.reorder:
        reranking = Reranking.of(
            catalog.rules,
            behaviour.item_ids,
            popular_items(behaviour, popularity(behaviour.positives), known.items),
            evidence.item_vectors,
            behaviour.in_catalogue,
            catalog.centre,
        )
    counts = np.bincount(behaviour.positives.indices, minlength=behaviour.seen.shape[1])

    scores, of_catalogue = {}, []
    for number, name in enumerate(names, start=1):
        doing(
            f"measuring {name}, {number} of {len(names)} strategies: {evidence.in_words}; lists "
            f"for {len(users):,} users"
        )
        rank = partial(
            rank_for_evaluation,
            fits.fit(name, tuned_settings(catalog, name, tuned)),
            behaviour,
            question.similarity_matrix,
            users,
            masked,
            max(ks),
            compute=compute,
        )
        rankings = {name: rank()}
        if name == catalog.strategy and reranking is not None:
            rankings[RULED.format(name)] = rank(reranking=reranking)
        for label, ranked in rankings.items():
            scores[label] = accuracy_by_slice(ranked, test, ks, parts)
            figures = catalogue_metrics(
                ranked,
                test,
                ks,
                train_counts=counts,
                train_users=int((np.diff(behaviour.positives.indptr) > 0).sum()),
                item_vectors=evidence.item_vectors,
                candidates=behaviour.in_catalogue,
            )
            of_catalogue += [
                {
                    "strategy": label,
                    "slice": "all",
                    "metric": metric,
                    "users": len(users),
                    "value": value,
                }
                for metric, value in figures.items()
            ]
    doing(f"working out intervals of {len(scores)} strategies")
    return _table(scores, pd.DataFrame(of_catalogue), catalog.strategy)


def _refuse_leaks(behaviour: Behaviour, held_back: HeldBack) -> None:
    for part in ("valid", "test"):
        known = behaviour.seen.multiply(_pairs(getattr(held_back, part), behaviour)).nnz
        if known:
            raise ValueError(f"{known} {part} pairs are in what models learn from: a leak")


def _pairs(pairs: pd.DataFrame, behaviour: Behaviour) -> sparse.csr_matrix:
    """Bool csr (users × items) of pairs; those with items that have no place are left out."""
    rows = behaviour.user_ids.get_indexer(pairs["user_id"])
    columns = behaviour.item_ids.get_indexer(pairs["item_id"])
    there = (rows >= 0) & (columns >= 0)
    return sparse.csr_matrix(
        (np.ones(there.sum(), dtype=bool), (rows[there], columns[there])),
        shape=behaviour.seen.shape,
    )


def _table(scores: dict, of_catalogue: pd.DataFrame, champion: str) -> pd.DataFrame:
    bootstrap = Bootstrap.of(scores)
    keys = ["strategy", "slice", "metric"]
    table = bootstrap.intervals()
    for baseline, prefix in ((BASELINE, "to_popular"), (champion, "to_champion")):
        found = bootstrap.differences(baseline) if len(scores) > 1 else None
        columns = {
            "difference": prefix,
            "low": f"{prefix}_low",
            "high": f"{prefix}_high",
            "p_holm": f"{prefix}_p_holm",
        }
        if found is None:
            table = table.assign(**dict.fromkeys(columns.values(), np.nan))
        else:
            own = found[[*keys, *columns]].rename(columns=columns)
            table = table.merge(own, on=keys, how="left")
    return pd.concat([table, of_catalogue], ignore_index=True)
