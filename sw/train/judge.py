"""Judges the default model by the stories that it writes: `python -m marey.sw.train.judge`.

The golden integer model writes the stories; the tile computes the same. Each greedy story continues
the first two sentences of a story that was not in the training; the others begin from nothing, and
each token is drawn.
"""

import json
import re
from itertools import islice
from pathlib import Path

import click
import numpy as np

from ..formats import DEFAULT_MODEL, load_model, load_tokenizer
from ..quant.golden import Golden
from ..quant.quantise import quantise
from ..text.sampling import Sampler
from ..text.tokenizer import Tokenizer
from .grammar import stories
from .reader import CAST, consists, has_a_plot, names

END = "The end."
SEED = 1 << 21
"""Seed of the beginnings and the draws; neither the training nor the loss curve uses it."""
MEASURES = {
    "ends": lambda text, ended: ended and text.find(END) == len(text) - len(END),
    "sentences": lambda text, ended: consists(text),
    "two names": lambda text, ended: len(names(text)) <= 2,
    "characters": lambda text, ended: consists(text, kept=CAST),
    "plot": lambda text, ended: ended and has_a_plot(text),
}
"""Whether a measure holds for a text, which ended with an end token or not."""
MEANING = {
    "ends": f"ends with '{END}' and the end token, within the context",
    "sentences": "every sentence is one of the grammar's",
    "two names": "nobody but the two characters is named",
    "characters": "each sentence fits the two in name, kind and pronouns",
    "plot": "opening, one plot and ending, and every thing stays what it was",
    "different": "different stories among all",
}
"""What each measure says, for people."""


def write_stories(model, tokenizer: Tokenizer, prompts: list[str], sampler: Sampler) -> list[tuple[str, bool]]:
    """A text for each prompt, and whether it ended with an end token.

    `model`: a `Reference` or a `Golden`, whose batch has as many rows as there are prompts.
    """
    rows, config = [tokenizer.encode(prompt) for prompt in prompts], model.model.config
    lengths = {}
    for position in range(config.seq_len):
        chosen = sampler(model.step(np.array([row[position] for row in rows]), position))
        for index, row in enumerate(rows):
            if len(row) == position + 1:
                row.append(int(chosen[index]))
                if row[-1] in config.eos:
                    lengths.setdefault(index, position + 1)
        if len(lengths) == len(rows):
            break
    return [(tokenizer.decode(row[:lengths.get(index)]), index in lengths) for index, row in enumerate(rows)]


def judge(written: list[tuple[str, bool]]) -> dict[str, float]:
    """For each measure, the share of the stories that it holds for; `different` is the share of
    different stories.

    `written`: texts, and whether each one ended with an end token.
    """
    return {name: sum(bool(holds(*story)) for story in written) / len(written) for name, holds in MEASURES.items()} | {
        "different": len({text for text, _ in written}) / len(written)}


def beginnings(count: int, seed: int) -> list[str]:
    """The first two sentences of `count` stories."""
    return [re.match(r"(?:[^.]*\.){2}", story)[0] for story in islice(stories(seed), count)]


@click.command()
@click.argument("model", type=click.Path(path_type=Path), default=DEFAULT_MODEL)
@click.option("--stories", "count", type=click.IntRange(min=1), default=200, show_default=True, help="Stories of each kind.")
@click.option("--bits", type=click.Choice(["8", "4"]), default="8", show_default=True, help="Bits of a weight.")
@click.option("--show", type=int, default=0, help="Mistaken stories of each kind to print.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and nothing else.")
def main(model, count, bits, show, as_json):
    """Share of the stories of MODEL that end, are grammatical, and stay with their characters."""
    loaded = load_model(model)
    tokenizer = load_tokenizer(None, model, loaded.config.vocab_size)
    quantised = quantise(loaded, int(bits))
    asked = {"greedy": (beginnings(count, SEED), Sampler())} | {
        f"temperature {heat}": ([""] * count, Sampler(heat, 1.0, SEED)) for heat in (0.8, 1.0)}
    written = {kind: write_stories(Golden(quantised, count), tokenizer, *how) for kind, how in asked.items()}
    shares = {kind: judge(texts) for kind, texts in written.items()}
    if as_json:
        click.echo(json.dumps({"model": model.name, "bits": int(bits), "stories": count, "shares": shares}))
        return
    click.echo(f"{'':<12}" + "".join(f"{kind:>17}" for kind in shares))
    for name, meaning in MEANING.items():
        click.echo(f"{name:<12}" + "".join(f"{share[name]:>17.1%}" for share in shares.values()) + f"   {meaning}")
    for kind, texts in written.items():
        for text, _ in islice((story for story in texts if not MEASURES["plot"](*story)), show):
            click.echo(f"\n{kind}: {text}")


if __name__ == "__main__":
    main()
