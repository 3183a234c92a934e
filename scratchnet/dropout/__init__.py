"""Dropout: of elements, of channels, and of channels with the statistics that SELU keeps."""
