"""Image memories and the engine that streams them."""
