"""The training of the default model: text, tokenizer, checkpoint, from nothing but a seed."""
