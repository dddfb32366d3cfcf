"""The gate, in flow order: blocking where the next stage would be wrong, else a warning.

Each check counts in the warehouse; no user id leaves it. What is expected is in the YAML under
`checks`; arithmetic that is more than counting is in `steps/list_statistics.py`.
"""

import dagster as dg

from recsys_dagster.assets.checks import (
    embeddings,
    interactions,
    items,
    recommendations,
    similarity,
    texts,
)

# Dagster's loader takes a module's lists too: whoever loads this module loads every check.
CHECKS = list(
    dg.load_asset_checks_from_modules(
        [interactions, items, texts, embeddings, similarity, recommendations]
    )
)
