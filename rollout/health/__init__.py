"""What machines ask of a process: whether it lives, whether it is ready, and its figures."""
