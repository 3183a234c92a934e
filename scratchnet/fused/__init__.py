"""Sequences of layers that are faster, and need less memory, as one op.

Intermediate results are not stored: the ReLU overwrites the outputs of the convolution, and 2 × 2 pooling keeps a
quarter of them. `scratchnet.nn.Sequential` runs the layers it contains as these ops.
"""
