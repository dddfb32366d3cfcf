"""Reading what catalogs name as a source: files, databases, queries, functions, assets.

Whatever the origin, the result is one Arrow table with the columns of `schemas.SOURCE` in front.
"""

from recsys_dagster.resources.sources.reading import read_source
from recsys_dagster.resources.sources.state import SourceRead, numbered

__all__ = ["SourceRead", "numbered", "read_source"]
