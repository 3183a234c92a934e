"""Measurements of networks and functions besides their losses."""
