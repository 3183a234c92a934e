"""How fast the ops are: timed in turns with PyTorch's, and held against what the machine can do at most."""
