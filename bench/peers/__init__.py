"""The peers that exist as packages, at the same work as the engine."""
