"""Tests, and the tables of strangers that benchmarks share with them."""
