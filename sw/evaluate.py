"""Quality: perplexity of the float and of the integer model on the same text."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..hdl.errors import MareyError
from .formats import load_model, load_tokenizer
from .golden import Golden
from .quantise import quantise
from .reference import Reference
from .sampling import Sampler, sample_text

SEED = 1
"""Of the text to judge by; the quantiser calibrates on text of seed 0."""
BATCH = 16


def evaluate(path: Path, text: Path | None = None, tokenizer: Path | None = None) -> dict:
    """Perplexities and top-1 agreement of a model file, on a text file, or on 4,000 tokens that the float model writes.

    Returns {"model", "tokens", "float32": {"perplexity"}, "int8": {"perplexity", "ratio", "top1_agreement"}}.
    """
    model = load_model(path)
    config = model.config
    if text is None:
        tokens = sample_text(Reference(model, BATCH), min(255, config.seq_len - 1), Sampler(1.0, 1.0, SEED), BATCH)
    else:
        tokens = _rows(text, load_tokenizer(tokenizer, path, config.vocab_size), config)
    models = {"float32": Reference(model, len(tokens)), "int8": Golden(quantise(model), len(tokens))}
    losses, choices = score(models, tokens)
    perplexity = {name: float(np.exp(loss.mean())) for name, loss in losses.items()}
    return {
        "model": Path(path).name, "tokens": losses["float32"].size,
        "float32": {"perplexity": perplexity["float32"]},
        "int8": {"perplexity": perplexity["int8"], "ratio": perplexity["int8"] / perplexity["float32"],
                 "top1_agreement": float((choices["int8"] == choices["float32"]).mean())},
    }


def score(models: dict, tokens: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Losses (nats) and likeliest tokens of each model at every position of token rows [batch, n]: [n - 1, batch] each."""
    losses, choices = {name: [] for name in models}, {name: [] for name in models}
    for position in tqdm(range(tokens.shape[1] - 1), desc="evaluating", disable=None, leave=False):
        for name, model in models.items():
            logits = model.step(tokens[:, position], position).astype(np.float64)
            logits -= logits.max(axis=-1, keepdims=True)
            total = np.log(np.exp(logits).sum(axis=-1))
            losses[name].append(total - logits[np.arange(len(tokens)), tokens[:, position + 1]])
            choices[name].append(logits.argmax(axis=-1))
    return {name: np.array(value) for name, value in losses.items()}, {
        name: np.array(value) for name, value in choices.items()}


def _rows(text, tokenizer, config):
    """A text file as rows of tokens, each from the model's first token on, as long as the context allows."""
    try:
        tokens = tokenizer.encode(text.read_text(encoding="utf-8"), begin=False)
    except (OSError, UnicodeDecodeError) as error:
        raise MareyError(f"{text}: cannot be read as UTF-8 text: {error}") from None
    if len(tokens) < 2:
        raise MareyError(f"{text}: too short to judge by, it has {len(tokens)} tokens")
    width = min(config.seq_len, len(tokens) + 1, 256) - 1
    count = len(tokens) // width
    rows = np.array(tokens[:count * width]).reshape(count, width)
    return np.concatenate([np.full((count, 1), config.bos), rows], axis=1)
