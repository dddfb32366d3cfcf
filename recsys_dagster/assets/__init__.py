"""Dagster assets in flow order: read, call the step of the same name, return with metadata.

What belongs here: names, dependencies, descriptions and metadata. What does not: the meaning of
a stage (`steps/`), SQL (`resources/warehouse.py`) and pictures (`metadata.py`).
"""
