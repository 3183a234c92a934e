"""Whole models of other libraries, converted to ours and held against themselves: ``python -m reference zoo``."""
