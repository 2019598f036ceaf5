"""Families of models in Hugging Face folders: how `config.json` and the tensors map to Marey's, by
`model_type`.

To add a family, write a `Family` and enter it in `FAMILIES`. Names and defaults are those of the
library transformers.
"""

from . import huggingface_gpt2, huggingface_llama

FAMILIES = {**huggingface_llama.FAMILIES, "gpt2": huggingface_gpt2.FAMILY}
"""The families, by `model_type`."""
