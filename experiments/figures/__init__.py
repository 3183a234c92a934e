"""Plots, one idea a file: each makes a `matplotlib.figure.Figure` of plain data, with a title and named axes."""
