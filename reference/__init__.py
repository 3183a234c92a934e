"""Compares the ops with PyTorch's: catalog, comparison, report and timing."""
