"""Trains the default model: `python -m marey.sw.train`, or `make train`. Needs PyTorch: pip install 'marey[train]'.

One seed gives one text, one vocabulary and one order of stories. The checkpoint is written as it gets better, with what it
was made from; an interrupted training leaves the last.
"""

import json
import time
from itertools import islice
from pathlib import Path

import click
import numpy as np
import torch
from torch.nn import functional
from tqdm import trange

from ..formats import gguf
from ..model import Layer, Llama, ModelConfig
from ..tokenizer import Tokenizer
from .grammar import stories
from .network import Matrix, Network
from .tokenizer import train_tokenizer

CONFIG = ModelConfig(dim=64, hidden_dim=160, n_layers=4, n_heads=4, n_kv_heads=1, vocab_size=384, seq_len=256)
"""What an iCE40 UP5K holds: 96 KB of 4-bit weights, and 128 bytes of keys and values a position in the other 32 KB."""
HELD_OUT = 1 << 20
"""Added to the seed: stories that are for the loss curve, and that training does not see."""
IGNORED = -100
WARM_UP = 100


def batches(tokenizer: Tokenizer, seed: int, size: int, length: int):
    """Batches without end: tokens [size, length] and what follows each, `IGNORED` after the end of a story."""
    source = stories(seed)
    while True:
        rows = [[*tokenizer.encode(story), *CONFIG.eos][:length + 1] for story in islice(source, size)]
        longest = max(map(len, rows))
        padded = torch.tensor([row + [IGNORED] * (longest - len(row)) for row in rows])
        yield padded[:, :-1].clamp(min=0), padded[:, 1:]


def loss_of(network, tokens, targets):
    return functional.cross_entropy(network(tokens).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def llama(network: Network) -> Llama:
    """The network's weights, on their grids, as a checkpoint."""
    config = network.config

    def weight(matrix: Matrix):
        integers, step = matrix.grid()
        return (integers * step).detach().numpy()

    ones = np.ones(config.dim, np.float32)
    layers = []
    for block in network.blocks:
        wq, wk = np.split(weight(block.qk), [config.dim])
        layers.append(Layer(attention_norm=ones, wq=wq, wk=wk, wv=weight(block.v), wo=weight(block.wo), ffn_norm=ones,
                            w1=weight(block.w1), w2=weight(block.w2), w3=weight(block.w3)))
    table = weight(network.embedding)
    return Llama(config, table, layers, ones, table)


@click.command()
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="GGUF file to write.")
@click.option("--seed", default=0, show_default=True, help="Of text, weights and order.")
@click.option("--steps", default=10_000, show_default=True, help="Batches of training.")
@click.option("--batch", default=48, show_default=True, help="Stories a batch.")
@click.option("--rate", default=4e-3, show_default=True, help="Largest learning rate.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="JSON file for the loss curve.")
def main(output, seed, steps, batch, rate, log):
    """Trains the default model on stories of the grammar."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(CONFIG.vocab_size, seed)
    network = Network(CONFIG)
    steps_of = [value for name, value in network.named_parameters() if name.endswith("log_step")]
    weights = [value for name, value in network.named_parameters() if not name.endswith("log_step")]
    optimizer = torch.optim.AdamW([{"params": weights, "weight_decay": 0.02}, {"params": steps_of, "weight_decay": 0.0}],
                                  lr=rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP, 1) * (0.01 + 0.99 * (1 + np.cos(np.pi * step / steps)) / 2))
    source, held_out = batches(tokenizer, seed, batch, CONFIG.seq_len), next(batches(tokenizer, seed + HELD_OUT, 256,
                                                                                  CONFIG.seq_len))
    curve, began = [], time.monotonic()
    progress = trange(steps, disable=None)
    for step in progress:
        loss = loss_of(network, *next(source))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 250 == 249 or step == steps - 1:
            with torch.no_grad():
                found = loss_of(network, *held_out).item()
            curve.append({"step": step + 1, "loss": round(loss.item(), 4), "held_out": round(found, 4),
                          "seconds": round(time.monotonic() - began)})
            progress.set_postfix(curve[-1])
            gguf.write(output, llama(network), tokenizer, dtype="Q4_0")
            if log:
                facts = {"seed": seed, "steps": steps, "batch": batch, "rate": rate, "torch": torch.__version__}
                log.write_text(json.dumps(facts | {"curve": curve}, indent=1) + "\n")


if __name__ == "__main__":
    main()
