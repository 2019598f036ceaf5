"""The tile on FPGAs: what it costs there, and how fast it is."""
