"""Algorithms other than training a network of layers."""
