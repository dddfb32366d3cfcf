"""What assets are given from outside: catalogs, the warehouse, the text encoder, the home."""
