"""Texts and histories → vectors. The neural encoder is a resource; TF-IDF is here."""
