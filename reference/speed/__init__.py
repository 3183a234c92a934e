"""Timing of the ops against PyTorch's and against the limits of the machine."""
