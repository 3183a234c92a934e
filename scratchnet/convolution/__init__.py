"""Convolution and its transpose, the windows they look through, and the margins around images."""
