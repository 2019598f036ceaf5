"""Timing: which unit of the tile does what in which cycle, and the rules that a program keeps."""
