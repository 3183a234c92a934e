"""Embeddings: rows of a table by index, their sums by bag, and one-hot vectors."""
