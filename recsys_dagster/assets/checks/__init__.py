"""The gate, in flow order: blocking where the next stage would be wrong, else a warning.

Each check counts in the warehouse; no user id leaves it. What is expected is in the YAML under
`checks`; arithmetic that is more than counting is in `steps/list_statistics.py`.
"""

from recsys_dagster.assets.checks import (
    embeddings,
    interactions,
    items,
    recommendations,
    similarity,
    texts,
)
from recsys_dagster.assets.checks.common import TableChecks
from recsys_dagster.assets.checks.schema import SCHEMA_CHECKS
from recsys_dagster.schemas import TABLES

OF_STAGES = [
    value
    for module in (interactions, items, texts, embeddings, similarity, recommendations)
    for value in vars(module).values()
    if isinstance(value, TableChecks)
]
CHECKS: tuple[TableChecks, ...] = tuple(
    sorted([*SCHEMA_CHECKS, *OF_STAGES], key=lambda checks: list(TABLES).index(checks.table))
)
"""All checks, table by table: first those of its schema."""
