"""How a command makes a program of a file: read, refuse early what cannot run, quantise, compile."""

import time
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
from click.core import ParameterSource

from ...hdl.spec.config import PRESETS, Config
from ...hdl.spec.errors import MareyError
from ...sim.progress import progress
from ..compiler.compile import compile_quantised, schedule
from ..compiler.decisions import Scheduled
from ..compiler.integers import integers_for
from ..compiler.layout import CompileError
from ..compiler.plan import ADVICE, lay_out_model
from ..errors import FormatError, FormatWarning, ValuesError
from ..formats import load_model, load_template, load_tokenizer
from ..model.config import ModelConfig
from ..model.families import graph_of
from ..model.model import Model
from ..program.program import RESIDENT, STREAMED, Program
from ..quant.outline import outline_of_shape, outline_with_offsets
from ..views.fit import Target, fit
from . import calibrations
from .compiled import WORTH_KEEPING_S, Compiled, find, keep, name_of
from .verdict import judge, remember

READ_BYTES_PER_S = 100e6
"""Bytes of a model file that are read in a second; an estimate."""
LOOKED_THROUGH = 20_000_000
"""Weights up to which `small_weights` reads them."""
COMPILE_S, COMPILED_MACS_PER_S = 2, 2.5e6
"""For an estimate of the compiler's time: seconds for a small model, and for a larger one multiply-accumulates of a token that
are compiled in a second. Measured on one core of a busy server: 5 s for 7.2 million."""


Check = Callable[[Program], None]
"""Refuses a program by raising an error."""


def accept_all(program: Program) -> None:
    """A check that refuses nothing."""


def compile_model_file(path: Path | str, tokenizer: Path | str | None, config: Config,
                       check: Check = accept_all, context: int | None = None, force: bool = True) -> Compiled:
    """Compiles a model file for a configuration.

    Calibration takes up to a minute, unless an earlier command has calibrated this model. Everything that can be refused
    without it is refused before: a model that the configuration cannot run (CompileError, which names a preset that can), and
    what `check` refuses, which is called with the program as it will be, but without weights and constants. `context`: the
    positions that it must have room for; see `lay_out_model`. Integers that lose too much are told in a warning, and refused
    unless `force` (QualityError).
    """
    name, begun = name_of(path, tokenizer, config, context), time.process_time()
    if name and (found := find(name)):
        check(found.program)
        remember(path, config.weight_bits, found.program.model.quality)
        judge(found.program.name, found.program.model.quality, force)
        return found
    (model, words, template), warned = _read(path, tokenizer, context)
    about = {"name": Path(path).name, "tokenizer": words, "template": template}
    how = integers_for(config, model.config, model)
    program, scheduled = _without_weights(model, config, context, how)
    check(replace(program, **about))
    integers = calibrations.quantised(model, **how)
    remember(path, config.weight_bits, integers.quality)
    judge(about["name"], integers.quality, force)
    with progress("compiling the model", COMPILE_S + graph_of(model.config).macs(0) / COMPILED_MACS_PER_S):
        program = compile_quantised(integers, config, context=context, scheduled=scheduled)
        compiled = Compiled(replace(program, **about), integers)
    # A file that has changed since its digest was made may have been read before or after that.
    if time.process_time() - begun > WORTH_KEEPING_S and name == name_of(path, tokenizer, config, context):
        keep(name, compiled, calibrations.name_of(model, **how), model.config, warned)
    return compiled


def _read(path, tokenizer, context):
    """The model, the tokenizer and the template of a file, and what the user was told about it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FormatWarning)
        with progress("reading the model", size_bytes(path) / READ_BYTES_PER_S or None):
            model = load_model(path)
        check_context(model.config, context)
        read = model, load_tokenizer(tokenizer, path, model.config.vocab_size), load_template(path)
    for warning in caught:
        warnings.warn(warning.message, stacklevel=2)
    return read, [str(warning.message) for warning in caught if issubclass(warning.category, FormatWarning)]


def check_context(shape: ModelConfig, context: int | None) -> None:
    """MareyError for a context that is longer than a model's."""
    if context and context > shape.seq_len:
        raise MareyError(f"the model has {shape.seq_len} positions: --context must be 1 to {shape.seq_len}, not {context}")


def size_bytes(path: Path | str) -> int:
    """Bytes of a file, or of all files in a folder; 0 for what is not there."""
    path = Path(path)
    return sum(file.stat().st_size for file in (path, *path.glob("*")) if file.is_file())


def small_weights(path: Path, shape: ModelConfig) -> Model | None:
    """The model in a file, if its weights are there and few: whether they lie on a grid of 4 bits changes where it fits.
    ValuesError for NaN and infinity."""
    if graph_of(shape).macs(-1) > LOOKED_THROUGH:
        return None
    try:
        return load_model(path)
    except ValuesError:
        raise
    except FormatError:
        return None


def compile_file(path: Path | str, tokenizer: Path | str | None, config: Config,
                 check: Check = accept_all, context: int | None = None, force: bool = True) -> Program:
    """The program of a model file for a configuration; as `compile_model_file` compiles it."""
    return compile_model_file(path, tokenizer, config, check, context, force).program


def load_or_compile(path: Path, tokenizer: Path | None, config: Config,
                    check: Check = accept_all) -> Program:
    """The program in a program file, or the one compiled from a model file, which `check` has not refused.

    MareyError for a --config that is not the program file's, and for a tokenizer, which a program file contains.
    """
    return load_or_compile_model(path, tokenizer, config, check).program


def load_or_compile_model(path: Path, tokenizer: Path | None, config: Config,
                          check: Check = accept_all, context: int | None = None, force: bool = True) -> Compiled:
    """The same, with the integer model if there is a model file; `force`: as for `compile_model_file`. MareyError for a
    `context` that is not a program file's."""
    if path.is_file() and zipfile.is_zipfile(path):
        program = Program.load(path)
        if tokenizer:
            raise MareyError(f"{path}: a program has its tokenizer in it: leave --tokenizer away")
        if click.get_current_context().get_parameter_source("config") is ParameterSource.COMMANDLINE:
            program.check_config(config)
        if context and program.model and context != program.model.context:
            raise MareyError(f"{path}: was compiled with a context of {program.model.context}: leave --context away, or "
                             "compile the model again")
        check(program)
        judge(program.name, program.model and program.model.quality)
        return Compiled(program, None)
    return compile_model_file(path, tokenizer, config, check, context, force)


def _without_weights(model: Model, config: Config, context: int | None, how: dict) -> tuple[Program, Scheduled]:
    """The program of a model without its weights and constants, made without calibration, and what was scheduled.
    CompileError if the model cannot run on the configuration, whatever calibration finds. `how`: see `integers_for`."""
    outline = outline_of_shape(model.config, model=model, **how)
    try:
        return _scheduled(outline, config, context)
    except CompileError as error:
        refused = CompileError(str(error).removesuffix(ADVICE) + _cure(model.config, config, context))
    try:
        if config.weight_bits == 4 and (outline := outline_with_offsets(model.config)):
            return _scheduled(outline, config, context)
    except CompileError:
        pass
    raise refused


def _scheduled(outline, config, context):
    """What `_without_weights` returns for an outline."""
    layout = lay_out_model(config, outline, context)
    scheduled = Scheduled(outline, layout.context)
    return schedule(layout, outline, scheduled.decisions), scheduled


def _cure(shape: ModelConfig, config: Config, context: int | None) -> str:
    """The end of the message that refuses a model: a preset that can run it, or what else to change."""
    others = [Target(other.name, other) for other in PRESETS.values() if other.hash != config.hash]
    modes = {row["name"]: row["mode"] for row in fit(shape, others, context=context)}
    for mode in (RESIDENT, STREAMED):
        for name, found in modes.items():
            if found == mode:
                return f": --config {name} runs it, {mode}"
    shorter = "a shorter --context, or " if context else ""
    return f": no preset can run it: choose {shorter}a model with fewer or smaller layers, or a smaller vocabulary"
