"""Vectors → the nearest of each: the space, the exact top-k, the tables."""
