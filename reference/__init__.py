"""Custom against built-in: the catalog of ops, their comparison and the report."""
