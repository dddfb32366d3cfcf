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

from recsys_dagster.assets.common import (
    IO_MANAGER,
    OWNERS,
    TABLE,
    as_asked,
    pool_of,
    quality_group,
    spec_metadata,
)
from recsys_dagster.assets.evaluation import require_strategies, train_versions
from recsys_dagster.assets.gate import require_passed
from recsys_dagster.assets.held_back import (
    NOT_IN_CATALOGUE,
    evaluation_split,
    known_of,
    known_tables,
)
from recsys_dagster.assets.metadata import STAGE, named_curves, preview
from recsys_dagster.assets.progress import Narrator, spoken
from recsys_dagster.catalog.base import Settings
from recsys_dagster.catalog.files import Catalogs
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.resources.compute import ComputeResource
from recsys_dagster.resources.encoder import TextEncoder
from recsys_dagster.resources.model_store import FitRequest, ModelStore
from recsys_dagster.resources.warehouse import (
    DATA_VERSION,
    Warehouse,
    let_go,
    to_arrow,
    with_comment,
)
from recsys_dagster.schemas import TUNING
from recsys_dagster.steps.evaluation.comparison import HeldBack, possible_pairs
from recsys_dagster.steps.evaluation.tuning import Trial, in_words, tune
from recsys_dagster.steps.models import SEARCHED
from recsys_dagster.steps.models.base import Arrays, Evidence, Strategy
from recsys_dagster.versions import code_version, content_digest


class TuningConfig(dg.Config):
    """What to search for, where it is other than the catalog says."""

    strategies: list[str] = []  # noqa: RUF012, Dagster copies it
    trials: int = 20


def search(
    context: dg.OpExecutionContext,
    catalog: Catalog,
    config: TuningConfig,
    recsys_compute: ComputeResource,
    recsys_encoder: TextEncoder,
    recsys_warehouse: Warehouse,
    recsys_models: ModelStore,
    split: pd.DataFrame,
    tables: Mapping[str, Any],
) -> dg.Output[pd.DataFrame]:
    """Settings of the catalog's strategy and of those it is compared with, the same number of
    trials for each, fitted on train and judged by NDCG on validation; test is not looked at.

    From the catalog's own settings, one after the other is moved to its next value as long as that
    helps. The best trial is used from then on where it is ahead of the first by more than one
    standard error. A setting that the YAML names is left alone.
    """
    require_strategies(config.strategies)
    if config.trials < 1:
        raise UserError(f"trials: {config.trials}: expected at least 1, for each strategy.")
    asked = config.strategies or [catalog.strategy, *catalog.evaluation.strategies]
    strategies = [name for name in dict.fromkeys(asked) if name in SEARCHED]
    nothing = pd.DataFrame({name: pd.Series(dtype=object) for name in TUNING.column_names})
    if not strategies:
        reason = f"{', '.join(asked)} have no settings to search for"
        context.log.warning(f"not tuned: {reason}")
        return dg.Output(nothing, metadata={"not_tuned": reason})
    if not (split["part"] == "valid").any():
        context.log.warning("not tuned: nothing was held back for validation")
        return dg.Output(nothing, metadata={"not_tuned": "nothing was held back for validation"})

    def progress(strategy: str, number: int, trial: Trial) -> None:
        context.log.info(
            f"{strategy}, trial {number} of at most {config.trials}: {trial.value:.4f} with "
            f"{in_words(trial.settings)}, in {spoken(trial.seconds)}"
        )

    known = known_of(
        context, catalog, recsys_compute, recsys_encoder, recsys_warehouse, split, tables
    )
    held_back = HeldBack.of(split)
    if not len(possible_pairs(held_back.valid, known.items)):
        context.log.warning(f"not tuned: {NOT_IN_CATALOGUE}")
        return dg.Output(nothing, metadata={"not_tuned": NOT_IN_CATALOGUE})
    versions = train_versions(catalog, split, tables)

    def learn(strategy: Strategy[Any], settings: Settings, evidence: Evidence) -> Arrays:
        request = FitRequest(catalog.name, strategy, settings, evidence, versions, recsys_compute)
        return recsys_models.learned(request)

    with Narrator(context.log) as narrator:
        table = tune(
            catalog,
            held_back,
            known,
            strategies,
            max(catalog.evaluation.k),
            config.trials,
            progress,
            narrator.doing,
            time.monotonic,
            learn,
            recsys_compute,
        )
    table = table.assign(settings=table["settings"].map(json.dumps))
    metric = table["metric"].iloc[0]
    return dg.Output(
        table,
        metadata={
            "strategies": dg.MetadataValue.json(strategies),
            "split": str(split["split"].iloc[0]),
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
        deps=[dg.AssetKey([catalog.name, "evaluation_split"])],
        group_name=quality_group(catalog.name),
        description=inspect.getdoc(search),
        owners=OWNERS,
        kinds={*TABLE, "scikitlearn"},
        tags={STAGE: "evaluation"},
        metadata=spec_metadata(catalog, TUNING.name, search),
        code_version=code_version(TUNING.name, catalog),
    ).with_io_manager_key(IO_MANAGER)


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
        recsys_compute: ComputeResource,
        recsys_encoder: TextEncoder,
        recsys_warehouse: Warehouse,
        recsys_models: ModelStore,
    ) -> None:
        # The catalog as it is now: the YAML may have changed since the definitions were loaded.
        own = recsys_catalogs[name]
        looked_at = ("interactions", *known_tables(own))
        require_passed(context.run, recsys_warehouse, own, TUNING.name, looked_at)

        def read(table: str) -> Any:
            return as_asked(recsys_warehouse.stored(name, table))

        raw = None
        if own.evaluation.split == "column":
            raw = recsys_warehouse.stored(name, "raw_interactions")
        tables = {table: read(table) for table in known_tables(own)}
        interactions = read("interactions")
        with let_go():
            # Made here, because a refresh may have left it out.
            split = evaluation_split(context, own, interactions, raw).value
            output = search(
                context,
                own,
                config,
                recsys_compute,
                recsys_encoder,
                recsys_warehouse,
                recsys_models,
                split,
                tables,
            )
        before = recsys_warehouse.stored(name, TUNING.name).frame()
        rows = to_arrow(_with_others(output.value, before))
        version = content_digest(rows, TUNING.name)
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


def _with_others(found: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """What a search found, and what earlier ones did of strategies that it did not look at."""
    others = before[~before["strategy"].isin(found["strategy"])]
    return pd.concat([part for part in (others, found) if len(part)] or [found], ignore_index=True)


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    columns = ["strategy", "trial", "settings", "value", "gain", "gain_error", "chosen", "seconds"]
    return table[columns].round({"value": 4, "gain": 4, "gain_error": 4, "seconds": 1})
