"""The runtime: the driver of a tile, and text generation."""
