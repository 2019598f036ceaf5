"""Commands about model files: export, eval."""

import json
from pathlib import Path

import click

from ...boards.targets import targets
from ...hdl.spec.errors import MareyError
from ...sim.progress import progress
from ..formats import gguf, huggingface, llama2c, load_model, load_shape, load_template, load_tokenizer
from ..views import evaluate as evaluation
from ..views import fit as fitting
from .base import JSON, MODEL_FILE, POSITIONS, TOKENIZER, check_output, main, on_device
from .compiling import check_context, size_bytes, small_weights
from .configs import ConfigType
from .verdict import FORCE, WORST, recall, said

FIT_S = 5
"""Seconds that `fit` takes for all presets and boards; measured on one core of a busy server."""


@main.command("export")
@MODEL_FILE
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True,
              help="What to write: FILE.gguf; FILE.bin in llama2.c's format, with a tokenizer.bin beside it; or FOLDER in "
                   "Hugging Face's format.")
@TOKENIZER
@click.option("--type", "kind", type=click.Choice(["f32", "q8_0", "q4_0"]), default="f32", show_default=True,
              help="Number format of the matrices in a GGUF file.")
def export_command(model, output, tokenizer, kind):
    """Write MODEL in another format."""
    check_output(output, model, tokenizer, folder=not output.suffix)
    loaded = load_model(model)
    words, template = load_tokenizer(tokenizer, model, loaded.config.vocab_size), load_template(model)
    if output.suffix == ".bin":
        _keep_tokenizer(output, words, loaded.config.vocab_size)
    match output.suffix, kind:
        case ".gguf", _:
            gguf.write(output, loaded, words, kind.upper(), template)
        case ".bin", "f32":
            llama2c.write(output, loaded, words)
        case "", "f32":
            huggingface.write(output, loaded, words, template)
        case _:
            raise MareyError(f"{output}: cannot write {kind} there: name a .gguf file, or with f32 a .bin file or a folder")
    click.echo(f"{output}: {size_bytes(output):,} bytes")


def _keep_tokenizer(output, words, vocab_size):
    """MareyError if writing a llama2.c file would replace another model's tokenizer.bin beside it."""
    beside = output.with_name("tokenizer.bin")
    check_output(output, beside)
    if beside.exists() and beside.read_bytes() != llama2c.tokenizer_bytes(beside, words, vocab_size):
        raise MareyError(f"{beside}: is another model's, and this one's would take its place: name a folder of its own")


@main.command("fit")
@MODEL_FILE
@POSITIONS
@FORCE
@JSON
def fit_command(model, context, force, as_json):
    """Print the tiles and boards that can run MODEL, resident (all weights on the tile) or streamed, and how fast.

    Only the model's header is needed; the weights need not be there."""
    shape, tried = load_shape(model), targets()
    check_context(shape, context)
    if all(target.baud is None for target in tried):
        click.echo("marey: boards are left out: they need pip install 'marey[boards]'", err=True)
    with progress("fitting the model", FIT_S):
        rows = fitting.fit(shape, tried, small_weights(model, shape), context)
    known = {bits: recall(model, bits) for bits in sorted({target.config.weight_bits for target in tried}, reverse=True)}
    if not force:
        fitting.refuse(rows, tried, {bits: said(model.name, ratio) for bits, ratio in known.items() if ratio and ratio > WORST})
    if as_json:
        click.echo(fitting.as_json(model.name, rows, known))
        return
    click.echo("\n".join([*fitting.lines(rows), fitting.quality_line(known)]))


@main.command("eval")
@MODEL_FILE
@click.option("--text", type=click.Path(path_type=Path),
              help="Text file on which perplexity is computed. Default: text sampled from the model.")
@TOKENIZER
@click.option("--quant", "quants", type=click.Choice([*evaluation.TILES]), multiple=True,
              help="Format of the weights; may be given more than once. Default: int8 and int4.")
@click.option("--tile", "config", type=ConfigType(),
              help="Run 1,000 tokens on this tile too, and compute all perplexities on these.")
@click.option("--layers", "by_layer", is_flag=True,
              help="List for each layer the error of the residual, and the operations whose values saturate.")
@on_device
@JSON
def eval_command(model, text, tokenizer, quants, config, by_layer, connect, as_json):
    """Print the perplexity of MODEL in float32 and in the tile's integers, side by side."""
    tile = (lambda: connect(config)) if config else None
    result = evaluation.evaluate(model, text=text, tokenizer=tokenizer, quants=quants or evaluation.TILES, tile=tile,
                                 by_layer=by_layer)
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(f"{result['tokens']} tokens")
    click.echo(f"float32  perplexity {result['float32']['perplexity']:.4f}")
    for name in (*evaluation.TILES, "tile"):
        if name in result:
            click.echo("{:<9}perplexity {perplexity:.4f}  x{ratio:.4f}  top-1 agreement {top1_agreement:.1%}".format(
                name, **result[name]))
    for name in evaluation.TILES if by_layer else ():
        if name in result:
            click.echo("\n".join(["", name, *evaluation.layer_lines(result[name]["layers"])]))
