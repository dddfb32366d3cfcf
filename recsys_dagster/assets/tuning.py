"""Which settings suit a catalog: what was tried, on validation, and what is used from then on.

A search takes many fits, so it is made when somebody asks for it: by the job `tune_<catalog>`,
which is no part of "Materialize all" and which no refresh waits for. The table is in the graph as
an external asset.
"""

import inspect
import json
import time
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from recsys_dagster.assets.common import OWNERS, TABLE, pool_of, spec_metadata
from recsys_dagster.assets.gate import require_passed
from recsys_dagster.assets.held_back import held_back_of, kind_of, known_of, split_of
from recsys_dagster.assets.metadata import STAGE, named_curves, preview
from recsys_dagster.assets.progress import Narrator, spoken
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.resources.warehouse import (
    DATA_VERSION,
    Warehouse,
    to_arrow,
    to_pandas,
    with_comment,
)
from recsys_dagster.schemas import TUNING
from recsys_dagster.steps.evaluation.tuning import Trial, in_words, tune
from recsys_dagster.steps.models import SEARCHED
from recsys_dagster.versions import code_version, content_digest

LOOKED_AT = (
    "interactions",
    "items",
    "users",
    "user_texts",
    "item_texts",
    "item_embeddings",
    "item_neighbours",
)
AS_ARROW = {"item_embeddings", "item_neighbours"}


class TuningConfig(dg.Config):
    """What to search for, where it is other than the catalog says."""

    strategies: list[str] = []  # noqa: RUF012, Dagster copies it
    trials: int = 20


def search(
    context: dg.OpExecutionContext,
    config: TuningConfig,
    catalog: Catalog,
    recsys_encoder: TextEncoder,
    recsys_warehouse: Warehouse,
    interactions: pd.DataFrame,
    items: pd.DataFrame,
    users: pd.DataFrame,
    user_texts: pd.DataFrame,
    item_texts: pd.DataFrame,
    item_embeddings: pa.Table,
    item_neighbours: pa.Table,
    evaluation_split: pd.DataFrame,
) -> dg.Output[pd.DataFrame]:
    """Settings of the catalog's strategy and of those it is compared with, the same number of
    trials for each, fitted on train and judged by NDCG on validation; test is not looked at.

    From the catalog's own settings, one after the other is moved to its next value as long as that
    helps. The best trial is used from then on where it is ahead of the first by more than one
    standard error. A setting that the YAML names is left alone.
    """
    asked = config.strategies or [catalog.strategy, *catalog.evaluation.strategies]
    strategies = [name for name in dict.fromkeys(asked) if name in SEARCHED]
    nothing = pd.DataFrame({name: pd.Series(dtype=object) for name in TUNING.column_names})
    if not strategies:
        reason = f"{', '.join(asked)} have no settings to search for"
        context.log.warning(f"not tuned: {reason}")
        return dg.Output(nothing, metadata={"not_tuned": reason})
    if not (evaluation_split["part"] == "valid").any():
        context.log.warning("not tuned: nothing was held back for validation")
        return dg.Output(nothing, metadata={"not_tuned": "nothing was held back for validation"})

    def progress(strategy: str, number: int, trial: Trial) -> None:
        context.log.info(
            f"{strategy}, trial {number} of at most {config.trials}: {trial.value:.4f} with "
            f"{in_words(trial.settings)}, in {spoken(trial.seconds)}"
        )

    known = known_of(
        context,
        catalog,
        recsys_encoder,
        recsys_warehouse,
        items,
        users,
        user_texts,
        item_texts,
        item_embeddings,
        item_neighbours,
    )
    with Narrator(context.log) as narrator:
        table = tune(
            catalog,
            held_back_of(catalog, interactions, evaluation_split),
            known,
            strategies,
            max(catalog.evaluation.k),
            config.trials,
            progress,
            narrator.doing,
            time.monotonic,
        )
    table = table.assign(settings=table["settings"].map(json.dumps))
    metric = table["metric"].iloc[0]
    return dg.Output(
        table,
        metadata={
            "split": kind_of(catalog, interactions),
            "metric": metric,
            "preview": preview(_shown(table[table["chosen"]]), rows=len(strategies)),
            "trials": preview(_shown(table), rows=len(table)),
            "plot": named_curves(
                {
                    str(name): own.sort_values("trial")["value"].cummax().to_numpy()
                    for name, own in table.groupby("strategy", sort=False)
                },
                "The best so far, on validation",
                "trial",
                metric,
            ),
        },
    )


def tuning_spec(catalog: Catalog) -> dg.AssetSpec:
    """The table `tuning` in the graph: shown there, made by its own job alone."""
    return dg.AssetSpec(
        key=dg.AssetKey([catalog.name, TUNING.name]),
        group_name=catalog.name,
        description=inspect.getdoc(search),
        owners=OWNERS,
        kinds={*TABLE, "scikitlearn"},
        tags={STAGE: "evaluation"},
        metadata=spec_metadata(catalog, TUNING.name, search),
        code_version=code_version(TUNING.name, catalog),
    )


def tuning_job(
    catalog: Catalog, tags: Mapping[str, str], executor: dg.ExecutorDefinition
) -> dg.JobDefinition:
    """The job `tune_<catalog>`: searches, and writes the table `tuning`."""
    name = catalog.name

    @dg.op(name=f"{name}__{TUNING.name}", pool=pool_of(name), description=inspect.getdoc(search))
    def search_settings(
        context: dg.OpExecutionContext,
        config: TuningConfig,
        recsys_catalogs: dg.ResourceParam[Catalogs],
        recsys_encoder: TextEncoder,
        recsys_warehouse: Warehouse,
    ) -> None:
        # The catalog as it is now: the YAML may have changed since the definitions were loaded.
        own = recsys_catalogs[name]
        require_passed(context.run, recsys_warehouse, own, TUNING.name, LOOKED_AT)
        tables: dict[str, Any] = {
            table: recsys_warehouse.read(name, table) for table in ("raw_interactions", *LOOKED_AT)
        }
        for table in tables.keys() - AS_ARROW:
            tables[table] = to_pandas(tables[table])
        parts, _ = split_of(
            own, tables.pop("raw_interactions"), tables["interactions"], context.log
        )
        output = search(
            context,
            config,
            own,
            recsys_encoder,
            recsys_warehouse,
            **tables,
            evaluation_split=parts,
        )
        rows = to_arrow(output.value)
        version = content_digest(rows)
        recsys_warehouse.replace(name, TUNING, with_comment(rows, {DATA_VERSION: version}))
        context.log_event(
            dg.AssetMaterialization(
                asset_key=[name, TUNING.name],
                metadata={**output.metadata, "dagster/row_count": rows.num_rows},
                tags={"dagster/data_version": version},
            )
        )

    @dg.job(
        name=f"tune_{name}",
        description=f"Searches for settings of {name} on validation; the next run uses them.",
        tags=tags,
        executor_def=executor,
    )
    def tune_catalog() -> None:
        search_settings()

    return tune_catalog


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    columns = ["strategy", "trial", "settings", "value", "gain", "gain_error", "chosen", "seconds"]
    return table[columns].round({"value": 4, "gain": 4, "gain_error": 4, "seconds": 1})
