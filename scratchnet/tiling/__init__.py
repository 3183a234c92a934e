"""Cache blocking of mathematics on elements and rows, written as if memory cost nothing."""
