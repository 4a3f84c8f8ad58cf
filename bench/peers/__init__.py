"""What one would take instead of our lanes: designs that are measured beside them."""
