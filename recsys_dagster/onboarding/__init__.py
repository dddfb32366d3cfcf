"""Before a first run: looking at tables that nobody described, and proposing a catalog for them.

In here: `inspection.py` (what was understood, and faults), `estimates.py` (minutes and memory),
`finding.py` and `shapes.py` (which tables there are), `proposal/` (the YAML). Not in here: writing
tables, printing.
"""
