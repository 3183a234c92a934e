"""Plots: each function turns plain data into a `matplotlib.figure.Figure` with a title and labeled axes."""

from __future__ import annotations

__all__ = ["WIDTH"]

WIDTH = 5.6  # inches; in wider figures the text is too small for a card of TensorBoard
