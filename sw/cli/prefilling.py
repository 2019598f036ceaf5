"""The option --prefill of the commands that make text with a model file."""

import click

from ...hdl.spec.errors import MareyError
from ..runtime.prefill import HostPrefill
from ..runtime.verify import GoldenReference, Verifier
from .compiling import Compiled

TILE, HOST = "tile", "host"
PREFILL = click.option(
    "--prefill", type=click.Choice([TILE, HOST]), default=TILE, show_default=True,
    help="What computes the prompt: the tile, token by token; or the host, many tokens together, which writes their keys and "
         "values to the tile. The text is the same.")


def prefill_for(compiled: Compiled, prefill: str, verifier: Verifier | None) -> HostPrefill | None:
    """What computes prompts on the host, or None. It shares the golden model with a verifier that has one.

    MareyError for a program file, which has no integer model in it.
    """
    if prefill == TILE:
        return None
    if compiled.quantised is None:
        raise MareyError(f"{compiled.program.name}: --prefill {HOST} needs a model file, for a program file has no "
                         "integer model in it")
    reference = verifier.reference if verifier else GoldenReference(compiled.quantised)
    return HostPrefill(reference, compiled.program)
