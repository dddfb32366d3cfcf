"""Measurements of the parts that others would be measured against."""
