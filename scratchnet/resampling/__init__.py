"""Resampling of images: interpolation, sampling at given points, and pixel shuffling."""
