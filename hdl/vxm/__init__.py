"""The VXM: lanes of vector arithmetic, and reductions."""
