"""Scalar registers and the unit that computes with them."""
