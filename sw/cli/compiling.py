"""How a command makes a program of a file: read, refuse early what cannot run, quantise, compile."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import click
from click.core import ParameterSource

from ...hdl.spec.config import PRESETS, Config
from ...hdl.spec.errors import MareyError
from ..compiler.compile import compile_quantised, schedule
from ..compiler.layout import CompileError
from ..compiler.plan import ADVICE, lay_out_model
from ..formats import load_model, load_template, load_tokenizer
from ..model.config import ModelConfig
from ..model.model import Model
from ..program.program import Program
from ..quant.model import QuantisedModel
from ..quant.outline import outline_of_shape
from ..quant.quantise import GROUP
from ..views.fit import Target, fit
from .calibrations import quantised


@dataclass(frozen=True)
class Compiled:
    """A program, and the integer model that it computes; None if the program comes from a program file."""

    program: Program
    quantised: QuantisedModel | None


def compile_model_file(path: Path | str, tokenizer: Path | str | None, config: Config,
                       check: Callable[[Program], None] = lambda program: None) -> Compiled:
    """Compiles a model file for a configuration.

    Calibration takes up to a minute, unless an earlier command has calibrated this model. Everything that can be refused
    without it is refused before: a model that the configuration cannot run (CompileError, which names a preset that can), and
    what `check` refuses, which is called with the program as it will be, but without weights and constants.
    """
    name = Path(path).name
    model = load_model(path)
    words, template = load_tokenizer(tokenizer, path, model.config.vocab_size), load_template(path)
    check(replace(_without_weights(model, config), name=name, tokenizer=words, template=template))
    integers = quantised(model, config.weight_bits, max(GROUP, config.rows))
    return Compiled(replace(compile_quantised(integers, config, words, name=name), template=template), integers)


def compile_file(path: Path | str, tokenizer: Path | str | None, config: Config,
                 check: Callable[[Program], None] = lambda program: None) -> Program:
    """The program of a model file for a configuration; as `compile_model_file` compiles it."""
    return compile_model_file(path, tokenizer, config, check).program


def load_or_compile(path: Path, tokenizer: Path | None, config: Config,
                    check: Callable[[Program], None] = lambda program: None) -> Program:
    """The program in a program file, or the one compiled from a model file, which `check` has not refused.

    MareyError for a --config that is not the program file's, and for a tokenizer, which a program file contains.
    """
    return load_or_compile_model(path, tokenizer, config, check).program


def load_or_compile_model(path: Path, tokenizer: Path | None, config: Config,
                          check: Callable[[Program], None] = lambda program: None) -> Compiled:
    """The same, with the integer model if there is a model file."""
    if path.is_file() and zipfile.is_zipfile(path):
        program = Program.load(path)
        if tokenizer:
            raise MareyError(f"{path}: a program has its tokenizer in it: leave --tokenizer away")
        if click.get_current_context().get_parameter_source("config_name") is ParameterSource.COMMANDLINE:
            program.check_config(config)
        check(program)
        return Compiled(program, None)
    return compile_model_file(path, tokenizer, config, check)


def _without_weights(model: Model, config: Config) -> Program:
    """The program of a model without its weights and constants, made without calibration. CompileError if the model cannot
    run on the configuration."""
    outline = outline_of_shape(model.config, config.weight_bits, max(GROUP, config.rows), model)
    try:
        return schedule(lay_out_model(config, outline), outline)
    except CompileError as error:
        raise CompileError(str(error).removesuffix(ADVICE) + _cure(model.config, config)) from None


def _cure(shape: ModelConfig, config: Config) -> str:
    """The end of the message that refuses a model: a preset that can run it, or what else to change."""
    others = [Target(other.name, other) for other in PRESETS.values() if other.hash != config.hash]
    modes = {row["name"]: row["mode"] for row in fit(shape, others)}
    for mode in ("resident", "streamed"):
        for name, found in modes.items():
            if found == mode:
                return f": --config {name} runs it, {mode}"
    return ": no preset can run it: choose a model with fewer or smaller layers, or a smaller vocabulary"
