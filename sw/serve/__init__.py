"""The server: an OpenAI-compatible API in front of tiles, which says the cycles of an answer before its first token."""
