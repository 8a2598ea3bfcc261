"""What every view shares: access, sessions, fragments, errors."""
