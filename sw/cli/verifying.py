"""The option --verify of the commands that make text."""

import click

from ...hdl.spec.errors import MareyError
from ..runtime.verify import EmulatorReference, GoldenReference, Verifier
from .compiling import Compiled

TOKENS, LOGITS, OFF = "tokens", "logits", "off"
SIMULATED = ("verilator", "pysim")
"""Backends that simulate the tile's RTL, whose values are worth comparing with a reference."""
SHORT = {"--verify": f"--verify={TOKENS}", "--no-verify": f"--verify={OFF}"}
"""Spellings of --verify without a value."""
OF_MODEL = "on with verilator and pysim; the reference is the golden integer model"
OF_PROGRAM = "on with pysim; the reference is the emulator, which takes longer than verilator"
"""When --verify is on, for model files and for program files, as its help says."""


class Verifying(click.Command):
    """A command with --verify, which may be given without a value, and --no-verify."""

    def parse_args(self, ctx, args):
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [SHORT.get(arg, arg) for arg in args[:end]] + args[end:])


def verify_option(default: str):
    """The option --verify; `default` says in words when it is on."""
    return click.option(
        "--verify", "verify", type=click.Choice([TOKENS, LOGITS, OFF]), metavar="[=tokens|logits]",
        help="Compare every token that the tile makes, or its logits too, with a reference that runs beside it; a difference "
             f"ends the run with status 1. --no-verify turns it off. Default: {default}.")


def check_verify(verify: str | None, backend: str) -> None:
    """MareyError for an explicit --verify of the emulator, which is a reference itself."""
    if verify in (TOKENS, LOGITS) and backend == "emulator":
        raise MareyError("--verify compares a tile with a reference, and the emulator is one: choose another --backend")


def verifier_for(compiled: Compiled, verify: str | None, backend: str) -> Verifier | None:
    """What compares the tile's tokens, or None. A program file has no quantised model, and the emulator is its reference."""
    known = compiled.quantised is not None
    level = verify or (TOKENS if backend in (SIMULATED if known else ("pysim",)) else OFF)
    if level == OFF:
        return None
    return Verifier(GoldenReference(compiled.quantised) if known else EmulatorReference(compiled.program), level == LOGITS)
