"""What the facade reports about itself: structured logs."""
