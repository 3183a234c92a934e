"""scratchnet."""
