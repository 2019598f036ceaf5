"""The specification: configuration, instructions, encodings, the link's protocol and integer arithmetic."""
