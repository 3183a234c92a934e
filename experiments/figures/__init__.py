"""Plots: each function turns plain data into a `matplotlib.figure.Figure` with a title and labeled axes."""
