"""Distances, similarities and kernels between vectors."""
