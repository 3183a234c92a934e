"""Products with a weight: linear and bilinear layers, grouped and scaled matrix products."""
