"""Pure functions, one module a stage, in flow order.

What belongs here: the meaning of each stage on pandas, Arrow and NumPy data. What does not:
Dagster, DuckDB, files, clocks and environment variables. A step never imports a later step.
"""
