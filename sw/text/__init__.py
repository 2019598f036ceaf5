"""Text and tokens: tokenizers and sampling."""
