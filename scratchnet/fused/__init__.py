"""Layers that meet often, as one op each, and the container that finds where they do.

What a layer hands on and nobody else sees is not worth a tensor of its own: the rectifier overwrites what comes before
it, and pooling leaves a quarter of it.
"""
