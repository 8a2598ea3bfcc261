"""Lists: filters and pages by key."""
