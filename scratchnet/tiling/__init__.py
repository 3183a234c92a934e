"""Cache blocking: of elementwise mathematics, written as if memory cost nothing, and of what runs along a dimension."""
