"""Quantisation: calibration, integer weights, and the golden integer model."""
