"""Activation functions, one idea per file."""
