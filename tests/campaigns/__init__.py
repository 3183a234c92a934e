"""Campaigns: random calls of every op, training runs that are killed, and run folders that are tampered with."""
