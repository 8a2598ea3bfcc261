"""Loading many listings at once: made up, or from a CSV file."""
