"""The sequencer: program memory, fetch, decode, and the start of every slice."""
