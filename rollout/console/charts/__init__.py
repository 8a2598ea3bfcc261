"""Charts, matrices and table cells as pages draw them."""
