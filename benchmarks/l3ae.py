"""Our L3AE fit against its formula as the paper has it, with two inverses: seconds and error.

`python -m benchmarks.l3ae --items 2000` prints the rows of a smaller size.
"""

import argparse
import time

import numpy as np
from scipy import sparse

from recsys_dagster.steps.models.l3ae import l3ae_weights

REGULARISATION = 500.0
SEMANTIC_WEIGHT = 200.0
SEMANTIC_REGULARISATION = 5.0
DENSITY = 0.01
WARM_UP_ITEMS = 200


def measure(
    items: int = 4_000, users: int = 6_000, dimension: int = 384, repeats: int = 3
) -> list[dict]:
    """Fit the same made-up catalog both ways, `repeats` times alternately.

    Args:
        items: of the catalog.
        users: of the catalog; one in a hundred (user, item) pairs is a positive one.
        dimension: of the items' vectors.
        repeats: pairs of (direct, ours); the speed-up is the median over pairs.

    Returns:
        Rows {"name", "value", "unit"}: `l3ae_fit.speedup`, the direct formula's time over ours,
        and `l3ae_fit.max_error`, the largest difference of a weight. Ours is float32, the direct
        formula float64.
    """
    positives = _positives(users, items, seed=1)
    vectors = _unit_rows(items, dimension, seed=2)
    _ours(positives[:, :WARM_UP_ITEMS], vectors[:WARM_UP_ITEMS])
    direct_weights(positives[:, :WARM_UP_ITEMS], vectors[:WARM_UP_ITEMS])
    speedups, error = [], 0.0
    for _ in range(repeats):
        started = time.perf_counter()
        expected = direct_weights(positives, vectors)
        between = time.perf_counter()
        weights = _ours(positives, vectors)
        speedups.append((between - started) / (time.perf_counter() - between))
        error = max(error, float(np.abs(weights - expected).max()))
    return [
        {"name": "l3ae_fit.speedup", "value": float(np.median(speedups)), "unit": "x"},
        {"name": "l3ae_fit.max_error", "value": error, "unit": "weight"},
    ]


def direct_weights(positives: sparse.csr_matrix, item_vectors: np.ndarray) -> np.ndarray:
    """L3AE's B as it is written down, float64 (items × items).

    P₁ = (FFᵀ + λ_F I)⁻¹, C_ij = −P₁_ij / P₁_jj with zero diagonal, P = (XᵀX + λI)⁻¹ and
    B = λ_E·PC − P·diag((1 + λ_E diag(PC)) / diag P), zero diagonal.

    Args:
        positives: X, csr (users × items).
        item_vectors: F (items × d).
    """
    F = item_vectors.astype(np.float64)
    identity = np.eye(len(F))
    P1 = np.linalg.inv(F @ F.T + SEMANTIC_REGULARISATION * identity)
    C = -P1 / np.diag(P1)
    np.fill_diagonal(C, 0)

    gram = (positives.T @ positives).toarray().astype(np.float64)
    P = np.linalg.inv(gram + REGULARISATION * identity)
    PC = P @ C
    B = SEMANTIC_WEIGHT * PC - P * ((1 + SEMANTIC_WEIGHT * np.diag(PC)) / np.diag(P))
    np.fill_diagonal(B, 0)
    return B


def _ours(positives: sparse.csr_matrix, item_vectors: np.ndarray) -> np.ndarray:
    return l3ae_weights(
        positives,
        item_vectors,
        regularisation=REGULARISATION,
        semantic_weight=SEMANTIC_WEIGHT,
        semantic_regularisation=SEMANTIC_REGULARISATION,
    )


def _positives(users: int, items: int, seed: int) -> sparse.csr_matrix:
    """X of ones, float32: an item's share of users falls as 1 / √rank, 1 % on average."""
    random = np.random.default_rng(seed)
    popularity = 1 / np.sqrt(np.arange(1, items + 1))
    popularity *= DENSITY / popularity.mean()
    return sparse.csr_matrix(random.random((users, items), dtype=np.float32) < popularity).astype(
        np.float32
    )


def _unit_rows(count: int, dimension: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("items", 4_000), ("users", 6_000), ("dimension", 384), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for row in measure(**vars(parser.parse_args())):
        print(f"{row['name']:<24} {row['value']:>12.3g} {row['unit']}")


if __name__ == "__main__":
    main()
