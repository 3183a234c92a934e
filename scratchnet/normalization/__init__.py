"""Normalization: by batch, layer, group, instance, root mean square, neighbouring channels and norm."""
