"""The speed of a program in tokens a second: the one source of this figure for `fit`, `report` and the documents."""

from ..program.program import Program

WORD_BITS = 40
"""Bits on a serial line for each link word: four bytes, each with a start and a stop bit."""


def token_seconds(program: Program, clock_hz: float, position: int, baud: int | None = None, wanted: bool = True) -> float:
    """Seconds that the token at a position takes; `wanted`: as for `Program.runs`.

    A resident model computes for all of the time. A streamed one waits for its link, which works while the tile computes: the
    longer of the two counts. `baud`: bits a second of the tile's serial line; without it, the link brings a word in every
    clock cycle. Words over the link other than a streamed model's take no time here.
    """
    word_seconds = WORD_BITS / baud if baud else 1 / clock_hz
    return max(program.cycles(position, wanted) / clock_hz, program.link_words(wanted) * word_seconds)


def tokens_per_second(program: Program, clock_hz: float, position: int, baud: int | None = None) -> float:
    """Tokens a second at a position, to four digits: see `token_seconds`."""
    return float(f"{1 / token_seconds(program, clock_hz, position, baud):.4g}")


def middle(program: Program) -> int:
    """The position in the middle of the context, at which documents give a model's speed."""
    return program.model.context // 2


def link_assumption(program: Program, baud: int | None) -> str:
    """In words, what `tokens_per_second` assumes of the link; empty for a resident model, which does not depend on it."""
    if program.stream is None:
        return ""
    return f"a serial line of {baud:,} baud" if baud else "a link word in every clock cycle"
