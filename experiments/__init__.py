"""Experiments that train networks with scratchnet: ``python -m experiments`` lists them."""
