"""Tables nobody described → a catalog with a reason for each choice.

Pure functions on pandas frames: no Dagster, no DuckDB, no files.
"""

from recsys_dagster.onboarding.proposal.proposing import propose
from recsys_dagster.onboarding.proposal.rendering import Choice, Proposal, render
from recsys_dagster.onboarding.proposal.tables import Candidate

__all__ = ["Candidate", "Choice", "Proposal", "propose", "render"]
