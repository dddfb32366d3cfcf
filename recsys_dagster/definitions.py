"""The code location: everything that the catalog files describe."""

import dagster as dg

from recsys_dagster.build import build_defs

# One process a run, also for what is materialised by hand: a stage takes seconds, starting a
# process with torch takes ten.
defs = dg.Definitions.merge(build_defs(), dg.Definitions(executor=dg.in_process_executor))
