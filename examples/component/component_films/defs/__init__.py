"""The components of the project."""
