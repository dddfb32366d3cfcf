"""Recommendations as a data pipeline: Dagster assets over DuckDB.

`build_defs` for a Dagster project of one's own, `Recommender` for one scaffolded with `dg`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys_dagster.build import build_defs
    from recsys_dagster.component import Recommender

__version__ = "0.1.0"
__all__ = ["Recommender", "build_defs"]


def __getattr__(name: str) -> Any:
    # Late, so that commands which only read a snapshot do not load Dagster.
    if name == "build_defs":
        from recsys_dagster.build import build_defs

        return build_defs
    if name == "Recommender":
        from recsys_dagster.component import Recommender

        return Recommender
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # `dg` finds components by going through the names of a registered module.
    return sorted({*globals(), *__all__})
