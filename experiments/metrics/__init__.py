"""What chapters find out about networks and functions beside their losses."""
