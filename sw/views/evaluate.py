"""The quality of a model: perplexity of the float model, of its integer models and of the tile, on the same text."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from ...hdl.spec.config import preset
from ...hdl.spec.errors import MareyError
from ...sim.progress import progress
from ..compiler.compile import compile_quantised
from ..compiler.integers import integers_for
from ..formats import load_model, load_tokenizer
from ..model.model import Model
from ..model.reference import Reference
from ..quant.calibrate import expected_s, ranges_of
from ..quant.golden import TOGETHER, Golden
from ..quant.layers import layers
from ..quant.quality import log_probabilities
from ..quant.quantise import quantise
from ..runtime.driver import Device
from ..text.sampling import Sampler, sample_text

SEED = 1
"""Seed of the sampled text. The quantiser calibrates on text of seed 0, which is another."""
BATCH = 16
TILES = {"int8": preset("sim8x8"), "int4": preset("sim8x8_int4")}
"""The tiles whose integers are judged."""


class Tile:
    """A device with a program, with the interface of `Reference` and `Golden`: one sequence, token by token."""

    def __init__(self, device: Device):
        self.device = device

    def step(self, tokens: np.ndarray, position: int) -> np.ndarray:
        """Logits [1, vocab] after the tokens [1] at a position; positions come in order from 0."""
        self.device.run(int(tokens[0]), position)
        return self.device.logits()[None]


# A BLAS's threads wait for each other in a loop, which takes longer than most of its matrices.
@threadpool_limits.wrap(limits=1, user_api="blas")
def evaluate(path: Path | str, text: Path | str | None = None, tokenizer: Path | str | None = None,
             quants: Iterable[str] = ("int8",), tile: Callable[[], Device] | None = None, tile_tokens: int = 1000,
             by_layer: bool = False) -> dict:
    """Perplexities and top-1 agreement of a model file, on a text file, or on 4,000 tokens that the float model writes.

    `quants`: "int8", "int4" or both. `tile`: opens a device, on which at least `tile_tokens` tokens are run, with
    weights of the tile's own bits; the other models are then given the same tokens. Returns {"model", "tokens",
    "float32": {"perplexity"}, and by quant and "tile" {"perplexity", "ratio", "top1_agreement"}}; `by_layer`: by quant
    also "layers", see `marey.sw.quant.layers`.
    """
    model = load_model(path)
    config = model.config
    if text is None:
        with progress("writing a text", expected_s(model) * BATCH / 32):
            tokens = sample_text(Reference(model, BATCH), min(255, config.seq_len - 1), Sampler(1.0, 1.0, SEED), BATCH)
    else:
        tokens = _rows(text, load_tokenizer(tokenizer, path, config.vocab_size), config)
    if tile is not None:
        tokens = tokens[:-(-tile_tokens // (tokens.shape[1] - 1))]
    quants = list(quants)
    with progress("calibrating the model", expected_s(model)):
        ranges = ranges_of(model, moments="int4" in quants) if quants else None
    integers = {quant: quantise(model, ranges=ranges, **integers_for(TILES[quant], config, model)) for quant in quants}
    models = {"float32": Reference(model, len(tokens))} | {quant: Golden(made, len(tokens)) for quant, made in integers.items()}
    losses, choices = score(models, tokens)
    if tile is not None:
        losses["tile"], choices["tile"] = _on_tile(tile, model, tokens)
    perplexity = {name: float(np.exp(loss.mean())) for name, loss in losses.items()}
    result = {"model": Path(path).name, "tokens": losses["float32"].size, "float32": {"perplexity": perplexity["float32"]}}
    for name in losses.keys() - {"float32"}:
        result[name] = {"perplexity": perplexity[name], "ratio": perplexity[name] / perplexity["float32"],
                        "top1_agreement": float((choices[name] == choices["float32"]).mean())}
        if by_layer and name in integers:
            result[name]["layers"] = layers(model, integers[name], tokens)
    return result


def score(models: dict, tokens: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Losses (nats) and likeliest tokens of each model at every position of token rows [batch, n]: [n - 1, batch] each."""
    losses, choices, count = {}, {}, tokens.shape[1] - 1
    with tqdm(total=len(models) * count, desc="evaluating", disable=None, leave=False) as bar:
        for name, model in models.items():
            # Integers of many positions together are those of one after another, and take a part of the time.
            together = max(1, TOGETHER // len(tokens)) if isinstance(model, Golden) else 1
            losses[name], choices[name] = np.zeros((count, len(tokens))), np.zeros((count, len(tokens)), int)
            for start in range(0, count, together):
                rows = range(start, min(start + together, count))
                logits = model.texts(tokens[:, rows], start) if together > 1 else model.step(tokens[:, start], start)[:, None]
                following = tokens[:, start + 1:rows.stop + 1, None]
                losses[name][rows] = -np.take_along_axis(log_probabilities(logits), following, axis=-1)[..., 0].T
                choices[name][rows] = logits.argmax(axis=-1).T
                bar.update(len(rows))
    return losses, choices


def _on_tile(tile, model: Model, tokens):
    """The result of `score` for the tile, one row of tokens after another."""
    rows = []
    with tile() as device:
        program = compile_quantised(quantise(model, **integers_for(device.config, model.config, model)), device.config)
        if program.model.context < tokens.shape[1] - 1:
            raise MareyError(f"{device.config.name} has room for {program.model.context} positions, and the text has rows of "
                             f"{tokens.shape[1] - 1}: choose a larger configuration")
        device.load(program)
        for row in tokens:
            rows.append(score({"tile": Tile(device)}, row[None]))
    return tuple(np.concatenate([row[part]["tile"] for row in rows], axis=1) for part in (0, 1))


def _rows(text, tokenizer, config):
    """A text file as rows of tokens, each of which begins with the model's first token and is as long as the context allows."""
    try:
        tokens = tokenizer.encode(Path(text).read_text(encoding="utf-8"), begin=False)
    except UnicodeDecodeError as error:
        raise MareyError(f"{text}: is not UTF-8 text: {error}") from None
    except OSError as error:
        raise MareyError(f"{text}: {error.strerror}") from None
    if len(tokens) < 2:
        raise MareyError(f"{text}: too short to judge by, it has {len(tokens)} tokens")
    width = min(config.seq_len, len(tokens) + 1, 256) - 1
    count = len(tokens) // width
    rows = np.array(tokens[:count * width]).reshape(count, width)
    return np.concatenate([np.full((count, 1), config.bos), rows], axis=1)


def layer_lines(found: list[dict]) -> list[str]:
    """The table of `marey eval --layers`."""
    rows = [f"{'layer':<7}{'error':>8}  saturated"]
    for each in found:
        error = "" if each["error"] is None else f"{each['error']:.2%}"
        saturated = ", ".join(f"{what} {part['count']:,} of {part['of']:,}" for what, part in each["saturated"].items())
        rows.append(f"{each['layer']:<7}{error:>8}  {saturated or 'nothing'}")
    return rows
