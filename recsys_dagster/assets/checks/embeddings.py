"""Embeddings: one vector each, finite, and different enough to tell items apart."""

import dagster as dg
import numpy as np

from recsys_dagster.assets.checks.common import (
    Checked,
    blocking,
    table_check,
)
from recsys_dagster.assets.checks.schema import held_against_schema
from recsys_dagster.resources.embedding_store import vectors_from_arrow
from recsys_dagster.schemas import ITEM_EMBEDDINGS
from recsys_dagster.steps.embed.user_vectors import mean_cosine, norms_of
from recsys_dagster.steps.prepare.shares import beside


@table_check("item_embeddings")
def one_vector_per_item(checked: Checked) -> dg.AssetCheckResult:
    """Every item of the catalogue has one vector, and nothing else has."""
    vectors, missing, unknown = checked.numbers(
        "select (select count(*) from item_embeddings), "
        "(select count(*) from items anti join item_embeddings using (item_id)), "
        "(select count(*) from item_embeddings anti join items using (item_id))"
    )
    keys, _ = held_against_schema(checked, ITEM_EMBEDDINGS)
    return blocking(
        keys.passed and not missing and not unknown,
        f"{vectors:,} vectors, {missing:,} items without one, {unknown:,} of unknown items; "
        f"{keys.said}",
        {"vectors": vectors, "items_without_vector": missing, "vectors_of_unknown_items": unknown},
    )


@table_check("item_embeddings")
def item_embeddings_sound(checked: Checked) -> dg.AssetCheckResult:
    """Vectors are finite, not all zero, and not collapsed into one direction."""
    max_cosine = checked.catalog.checks.mean_cosine
    vectors = vectors_from_arrow(
        checked.warehouse.read(checked.catalog.name, "item_embeddings")["embedding"]
    )
    not_finite = int((~np.isfinite(vectors)).any(axis=1).sum())
    finite = np.nan_to_num(vectors, posinf=0.0, neginf=0.0)
    norms = norms_of(finite)
    zero = int((norms == 0).sum())
    alike = mean_cosine(finite)
    says_nothing = zero == len(vectors)
    collapsed = len(vectors) > 1 and alike > max_cosine
    found = (
        f"{len(vectors):,} vectors of {vectors.shape[1]} numbers, {not_finite:,} not finite, "
        f"{zero:,} zero; mean cosine of all pairs {beside(alike, (max_cosine,), 3)}, "
        f"at most {max_cosine:g} expected"
    )
    if not_finite or says_nothing:
        found += "; the encoder does not work on this machine: see encoder: model in the YAML"
    elif collapsed:
        found += (
            "; they no longer tell items apart: take another encoder: model, or other columns "
            "under items: text; where items are meant to be so alike, raise checks: mean_cosine"
        )
    return blocking(
        not (not_finite or says_nothing or collapsed),
        found,
        {
            "mean_norm": float(norms.mean()) if len(norms) else 0.0,
            "mean_cosine": alike,
            "allowed_mean_cosine": max_cosine,
            "not_finite": not_finite,
            "zero_vectors": zero,
        },
    )


@table_check("user_embeddings")
def user_embeddings_finite(checked: Checked) -> dg.AssetCheckResult:
    """Every vector is finite, and every user who likes an item with a vector has one.

    An item may have a zero vector: TF-IDF knows no rare words.
    """
    vectors, not_finite, missing = checked.numbers(
        "select (select count(*) from user_embeddings), "
        "(select count(*) from user_embeddings "
        "where not list_bool_and(list_transform(embedding::float[], lambda x: isfinite(x)))), "
        "(select count(distinct user_id) from interactions semi join (select item_id from items "
        "join item_embeddings using (item_id) where list_bool_or(list_transform("
        "embedding::float[], lambda x: x <> 0))) using (item_id) "
        "anti join user_embeddings using (user_id) where positive and weight > 0)"
    )
    return blocking(
        not not_finite and not missing,
        f"{vectors:,} vectors, {not_finite:,} not finite, {missing:,} users with likes lack one; "
        "none of either expected",
        {"vectors": vectors, "not_finite": not_finite, "users_without_vector": missing},
    )
