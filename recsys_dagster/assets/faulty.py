"""Catalog files that cannot be used, in the graph: one that vanished silently would be missed."""

import re
from collections.abc import Sequence

import dagster as dg

from recsys_dagster.assets.common import OWNERS
from recsys_dagster.catalog.files import FaultyCatalog

GROUP = "faulty_catalogs"


def faulty_specs(faulty: Sequence[FaultyCatalog]) -> list[dg.AssetSpec]:
    """An external asset for each file, in a group of its own, which says what is wrong with it."""
    specs: dict[str, dg.AssetSpec] = {}
    for each in faulty:
        name = re.sub(r"\W", "_", each.file.name)
        while name in specs:
            name += "_"
        specs[name] = dg.AssetSpec(
            key=[GROUP, name],
            group_name=GROUP,
            description=f"**{each.file.name} is faulty**: nothing is run or watched for it.\n\n"
            f"```\n{each.fault}\n```\n\nMend the file, then Reload definitions.",
            owners=OWNERS,
            kinds={"yaml"},
            metadata={"file": dg.MetadataValue.path(str(each.file)), "fault": each.fault},
        )
    return list(specs.values())
