"""The training of the default model: its text, its tokenizer and its checkpoint, from nothing but a
seed.
"""
