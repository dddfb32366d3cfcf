"""Scores → lists: candidates, ranking, rules of order, filling, reasons; alike for all models."""
