"""Rows of strangers → clean tables and texts: what ids, numbers, times mean; what is refused."""
