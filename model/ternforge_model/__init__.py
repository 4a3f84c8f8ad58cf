"""The language model: float reference, training, and the integer model that hardware equals."""
