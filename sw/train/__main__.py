"""Trains the default model: `python -m marey.sw.train`, or `make train`. Needs PyTorch: pip install
'marey[train]'.

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

from ..formats import gguf
from ..model.config import ModelConfig
from ..model.model import Model
from ..text.tokenizer import Tokenizer
from .grammar import PLOTS, stories
from .network import Matrix, Network
from .tokenizer import train_tokenizer

CONFIG = ModelConfig(dim=64, hidden_dim=160, n_layers=4, n_heads=4, n_kv_heads=1, vocab_size=384, seq_len=256)
"""A shape that fits an iCE40 UP5K: 96 KB of 4-bit weights, and 32 KB for 128 bytes of keys and
values a position.
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


def batches(tokenizer: Tokenizer, source, length: int, tokens: int = TOKENS):
    """Batches without end: token ids [tokens / length, length], and the ids that follow each of
    them.

    A row begins with BOS and has story after story up to its length. So every position is trained,
    and the network knows text after an end token, which the quantiser samples for its calibration.
    """
    def row():
        found = [CONFIG.bos]
        while len(found) <= length:
            found += [*tokenizer.encode(next(source), begin=False), *CONFIG.eos]
        return found[:length + 1]

    while True:
        rows = torch.tensor([row() for _ in range(tokens // length)])
        yield rows[:, :-1], rows[:, 1:]


def lessons(tokenizer: Tokenizer, seed: int, steps: int):
    """The batches of a training: first stories without a plot, then whole stories, then rows as
    long as the context.

    Without a plot two names are a few words apart. The network learns there which name is whose;
    from whole stories that takes ten times as long.
    """
    for share, length, plots in ((0.05, 64, ((),)), (0.55, 128, ALL), (0.4, CONFIG.seq_len, ALL)):
        yield from islice(batches(tokenizer, stories(seed, plots), length), round(share * steps))


def losses(network, tokens, targets):
    """Cross entropy in nats a token, and the price of large residuals."""
    logits, residual = network(tokens)
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten()), QUIET * residual.square().mean()


def llama(network: Network) -> Model:
    """The network's weights, on their grids, as a checkpoint."""
    config = network.config

    def weight(matrix: Matrix):
        integers, step = matrix.grid()
        return (integers * step).detach().numpy()

    ones = np.ones(config.dim, np.float32)
    weights = {"embedding": weight(network.embedding), "final_norm": ones}
    for index, block in enumerate(network.blocks):
        wq, wk = np.split(weight(block.qk), [config.dim])
        layer = {"attention_norm": ones, "wq": wq, "wk": wk, "ffn_norm": ones}
        layer |= {"wv" if name == "v" else name: weight(getattr(block, name)) for name in ("v", "wo", "w1", "w3", "w2")}
        weights |= {f"layers.{index}.{name}": values for name, values in layer.items()}
    return Model(config, weights)


@click.command()
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="GGUF file to write.")
@click.option("--seed", default=0, show_default=True, help="Seed of text, weights and order.")
@click.option("--steps", default=8_000, show_default=True, help="Batches of training.")
@click.option("--rate", default=3e-3, show_default=True, help="Largest learning rate.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="JSON file for the loss curve.")
def main(output, seed, steps, rate, log):
    """Trains the default model on stories of the grammar."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # sums in one order; the matrices are too small for more
    tokenizer = train_tokenizer(CONFIG.vocab_size, seed)
    network = Network(CONFIG)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP, 1) * (0.01 + 0.99 * (1 + np.cos(np.pi * step / steps)) / 2))
    held_out = next(batches(tokenizer, stories(seed + HELD_OUT), CONFIG.seq_len, 8 * TOKENS))
    curve, began = [], time.monotonic()
    progress = tqdm(lessons(tokenizer, seed, steps), total=steps, disable=None)
    for step, batch in enumerate(progress, 1):
        loss, price = losses(network, *batch)
        optimizer.zero_grad()
        (loss + price).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 500 == 0 or step == steps:
            with torch.no_grad():
                found = losses(network, *held_out)[0].item()
            curve.append({"step": step, "loss": round(loss.item(), 4), "held_out": round(found, 4),
                          "seconds": round(time.monotonic() - began)})
            progress.set_postfix(curve[-1])
            gguf.write(output, llama(network), tokenizer, dtype="Q4_0")
            if log:
                facts = {"seed": seed, "steps": steps, "rate": rate, "torch": torch.__version__}
                log.write_text(json.dumps(facts | {"curve": curve}, indent=1) + "\n")


if __name__ == "__main__":
    main()
