"""What pages, the shell and metrics read."""
