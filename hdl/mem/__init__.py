"""MEM: the memory of activations and constants."""
