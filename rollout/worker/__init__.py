"""What a queue worker does: leased jobs, and the phase runs among them."""
