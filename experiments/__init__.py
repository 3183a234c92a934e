"""Experiments on scratchnet, one a chapter: ``python -m experiments`` lists them."""
