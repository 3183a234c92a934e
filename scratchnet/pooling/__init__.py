"""Pooling: maximum, average, adaptive, p-norm, fractional, and its reverse."""
