"""Names of the files of a Hugging Face folder, and how a GGUF file begins."""

CONFIG, GENERATION, TOKENIZER = "config.json", "generation_config.json", "tokenizer.json"
VOCABULARY, MERGES = "vocab.json", "merges.txt"
GGUF_MAGIC = b"GGUF"
