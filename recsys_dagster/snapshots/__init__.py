"""What is published: immutable folders that everything that reads recommendations reads.

In here: `writer.py` and `reader.py`. Not in here: Dagster, the warehouse, anything heavy; whoever
serves recommendations loads this room alone.
"""
