"""Models: their shapes, weights and float32 reference."""
