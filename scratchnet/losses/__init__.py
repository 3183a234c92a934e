"""Loss functions, one idea per file."""
