"""The MXM: a systolic array with its weight memories."""
