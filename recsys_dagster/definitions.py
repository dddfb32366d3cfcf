"""The code location: everything that the catalog files describe."""

from recsys_dagster.build import build_defs
from recsys_dagster.catalog.files import Catalogs, catalogs_folder

defs = build_defs(Catalogs.read(catalogs_folder(), alone=True))
