"""Programs: the contents of a tile, with their file format, their text form and the stream of a
streamed model."""
