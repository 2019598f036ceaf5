"""Trains the default model: `python -m marey.sw.train`, or `make train`; with `--family gpt2` a small
GPT-2. Needs PyTorch: pip install 'marey[train]'.

One seed gives one text, one vocabulary and one order of stories. The checkpoint is written every
500 steps, so an interrupted training leaves the last one.
"""

import json
import time
from itertools import islice
from pathlib import Path

import click
import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from ...sim.files import write_file
from ..model.config import ModelConfig
from ..text.tokenizer import Tokenizer
from . import gpt2, network
from .grammar import PLOTS, stories
from .tokenizer import train_tokenizer

FAMILIES = {"llama": network, "gpt2": gpt2}
"""A module for each family. It has `CONFIG`; `Network(CONFIG)`, which makes logits and the last
residual of token ids; `checkpoint(network)`, a Model; `write(path, model, tokenizer)`; and `FOLDER`,
whether `write` makes a folder.
"""
HELD_OUT = 1 << 20
"""Added to the seed for the stories of the loss curve, which the training does not see."""
WARM_UP = 100
"""Steps until the learning rate is at its largest."""
TOKENS = 2048
"""Tokens of a batch."""
QUIET = 1e-3
"""Price of the residual's mean square, in nats. A norm's result does not depend on the size of the
residual, but the tile has one int16 unit for all of it: if it grows eighty times from layer to
layer, the first layer's residual is only a few units.
"""
ALL = tuple(PLOTS.values())
"""The plots of whole stories."""


def batches(config: ModelConfig, tokenizer: Tokenizer, source, length: int, tokens: int = TOKENS):
    """Batches without end: token ids [tokens / length, length], and the ids that follow each of
    them.

    A row begins with BOS and has story after story up to its length. So every position is trained,
    and the network knows text after an end token, which the quantiser samples for its calibration.
    """
    def row():
        found = [config.bos]
        while len(found) <= length:
            found += [*tokenizer.encode(next(source), begin=False), *config.eos]
        return found[:length + 1]

    while True:
        rows = torch.tensor([row() for _ in range(tokens // length)])
        yield rows[:, :-1], rows[:, 1:]


def lessons(config: ModelConfig, tokenizer: Tokenizer, seed: int, steps: int):
    """The batches of a training: first stories without a plot, then whole stories, then rows as
    long as the context.

    Without a plot two names are a few words apart. The network learns there which name is whose;
    from whole stories that takes ten times as long.
    """
    for share, length, plots in ((0.05, 64, ((),)), (0.55, 128, ALL), (0.4, config.seq_len, ALL)):
        yield from islice(batches(config, tokenizer, stories(seed, plots), length), round(share * steps))


def losses(trained, tokens, targets):
    """Cross entropy in nats a token, and the price of large residuals."""
    logits, residual = trained(tokens)
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten()), QUIET * residual.square().mean()


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True,
              help="What to write: a GGUF file for llama, a Hugging Face folder for gpt2.")
@click.option("--family", type=click.Choice(list(FAMILIES)), default="llama", show_default=True,
              help="Family of the model: llama learns with 4-bit weights, gpt2 with float32.")
@click.option("--seed", default=0, show_default=True, help="Seed of text, weights and order.")
@click.option("--steps", default=8_000, show_default=True, help="Batches of training.")
@click.option("--rate", default=3e-3, show_default=True, help="Largest learning rate.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="JSON file for the loss curve.")
def main(output, family, seed, steps, rate, log):
    """Trains a small model on stories of the grammar."""
    made = FAMILIES[family]
    if output.exists() and output.is_dir() != made.FOLDER:
        raise click.UsageError(f"{output}: {family} is written as a {'folder' if made.FOLDER else 'file'}, and "
                               f"{'a file' if made.FOLDER else 'a folder'} is there: choose another name")
    config = made.CONFIG
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # sums in one order; the matrices are too small for more
    tokenizer = train_tokenizer(config.vocab_size, seed)
    trained = made.Network(config)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP, 1) * (0.01 + 0.99 * (1 + np.cos(np.pi * step / steps)) / 2))
    held_out = next(batches(config, tokenizer, stories(seed + HELD_OUT), config.seq_len, 8 * TOKENS))
    curve, began = [], time.monotonic()
    progress = tqdm(lessons(config, tokenizer, seed, steps), total=steps, disable=None)
    for step, batch in enumerate(progress, 1):
        loss, price = losses(trained, *batch)
        optimizer.zero_grad()
        (loss + price).backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 500 == 0 or step == steps:
            with torch.no_grad():
                found = losses(trained, *held_out)[0].item()
            curve.append({"step": step, "loss": round(loss.item(), 4), "held_out": round(found, 4),
                          "seconds": round(time.monotonic() - began)})
            progress.set_postfix(curve[-1])
            made.write(output, made.checkpoint(trained), tokenizer)
            if log:
                facts = {"family": family, "seed": seed, "steps": steps, "rate": rate, "torch": torch.__version__}
                write_file(log, json.dumps(facts | {"curve": curve}, indent=1) + "\n")


if __name__ == "__main__":
    main()
