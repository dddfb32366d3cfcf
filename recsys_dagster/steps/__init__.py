"""What each stage means, in flow order: prepare, embed, similarity, models, lists, evaluation.

Pure functions on pandas, Arrow and NumPy. Not in here: Dagster, DuckDB, files, clocks.
"""
