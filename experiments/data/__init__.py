"""The data the experiments learn from."""
