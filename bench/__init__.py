"""A benchmark that anyone can run: this engine's backfill beside the loops that others use."""
