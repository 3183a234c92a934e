"""Recurrent networks: whole sequences, back-propagated through time by hand, and single cells."""
