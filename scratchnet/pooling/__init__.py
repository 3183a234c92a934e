"""Pooling: maximum, average, adaptive, p-norm and fractional, and max unpooling."""
