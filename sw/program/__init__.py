"""Programs: what a tile is loaded with, its file and its text."""
