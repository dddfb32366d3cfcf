"""Files, databases and queries in the graph: external assets that the raw tables rest on.

Nobody materialises them here. The sensor that watches them says when their content changed and how
old it is.
"""

from collections.abc import Mapping

import dagster as dg

from recsys_dagster.assets.common import OWNERS
from recsys_dagster.assets.metadata import STAGE
from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.catalog.source import SourceSettings
from recsys_dagster.objects import KINDS
from recsys_dagster.resources.sources.watching import (
    FileState,
    Observation,
    can_be_watched,
    live_contents,
)
from recsys_dagster.versions import code_version


def sources_of(catalog: Catalog) -> dict[str, SourceSettings]:
    """The sources that a catalog names, by what they become: interactions, items, users."""
    named = {
        "interactions": catalog.interactions.source,
        "items": catalog.items.source,
        "users": catalog.users.source,
    }
    return {name: source for name, source in named.items() if source is not None}


def source_key(catalog: Catalog, name: str) -> dg.AssetKey | None:
    """The asset that stands for a source: somebody's own, ours, or None where it is a function."""
    source = sources_of(catalog).get(name)
    if source is not None and source.asset is not None:
        return dg.AssetKey(source.asset.split("/"))
    if source is None or not can_be_watched(source):
        return None
    return dg.AssetKey([catalog.name, f"{name}_source"])


def source_specs(catalog: Catalog) -> list[dg.AssetSpec]:
    """The external assets of a catalog's files, databases and queries."""
    return [
        dg.AssetSpec(
            key=key,
            group_name=catalog.name,
            description=f"Where raw_{name} comes from: {source.described}",
            owners=OWNERS,
            kinds={_kind(source)},
            tags={STAGE: "source"},
            code_version=code_version(f"raw_{name}", catalog),
        )
        for name, source in sources_of(catalog).items()
        if source.asset is None and (key := source_key(catalog, name)) is not None
    ]


def _kind(source: SourceSettings) -> str:
    if source.path is not None or source.tables:
        scheme = (source.path or "").partition("://")[0]
        return KINDS[scheme].extra if scheme in KINDS else "file"
    if source.postgres is not None:
        return "postgres"
    return "duckdb" if source.database is None or "duckdb" in source.database else "sqlite"


def changes(
    catalog: Catalog, found: Mapping[str, Observation], known: Mapping[str, str]
) -> list[dg.AssetMaterialization]:
    """What the graph is told of sources whose content is another one.

    Args:
        catalog: whose.
        found: what its sources look like now.
        known: the fingerprints that they had.
    """
    return [
        _materialization(key, seen)
        for name, seen in found.items()
        if name in sources_of(catalog)
        and sources_of(catalog)[name].asset is None
        and seen.fingerprint != known.get(name)
        and (key := source_key(catalog, name)) is not None
    ]


def untold(
    catalog: Catalog, found: Mapping[str, Observation], known: Mapping[str, Mapping[str, FileState]]
) -> bool:
    """Whether what a server was told of is new, beside a source that no event of ours stands for.

    Args:
        catalog: whose.
        found: what its sources look like now.
        known: the states that their files had.
    """
    source = catalog.interactions.source
    if "interactions" not in found or (source.asset is None and can_be_watched(source)):
        return False
    landed = live_contents(found["interactions"].files)
    return landed != live_contents(known.get("interactions", {}))


def _materialization(key: dg.AssetKey, seen: Observation) -> dg.AssetMaterialization:
    metadata: dict[str, dg.MetadataValue] = {}
    if seen.files:
        newest = max(state["modified"] for state in seen.files.values()) / 1e9
        metadata = {
            "files": dg.MetadataValue.int(len(seen.files)),
            "size_bytes": dg.MetadataValue.int(sum(each["size"] for each in seen.files.values())),
            "dagster/last_updated_timestamp": dg.MetadataValue.timestamp(newest),
        }
    return dg.AssetMaterialization(
        asset_key=key, metadata=metadata, tags={"dagster/data_version": seen.fingerprint}
    )
