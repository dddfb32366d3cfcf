"""Answers in milliseconds over what is published, for programs and for people.

In here: snapshots held in memory, what users did since, the API, its page, keys and limits. Not in
here: Dagster, the warehouse, torch (but for the process that encodes texts); nothing is learned.
"""
