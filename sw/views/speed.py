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
    return run_seconds(program.cycles(position, wanted), program.link_words(wanted), clock_hz, baud)


def run_seconds(cycles: int, link_words: int, clock_hz: float, baud: int | None = None) -> float:
    """Seconds of so many cycles and words over the link, as `token_seconds` reckons them."""
    return max(cycles / clock_hz, link_words * (WORD_BITS / baud if baud else 1 / clock_hz))


def tokens_per_second(program: Program, clock_hz: float, position: int, baud: int | None = None) -> float:
    """Tokens a second at a position, to four digits: see `token_seconds`."""
    return float(f"{1 / token_seconds(program, clock_hz, position, baud):.4g}")


PROMPT_TOKENS = 64
"""Tokens of the prompt whose cycles `fit` and `report` tell."""


def prompt_cycles(program: Program) -> dict[str, int | str]:
    """What a prompt takes of `PROMPT_TOKENS` tokens, or of as many as the context has room for: {"tokens"; "cycles", of all
    runs, the last of which makes a token; "one_by_one", cycles without blocks of positions; "block", positions of a block, 1
    if there are none; "no_block", why there are none, or ""}."""
    tokens = min(PROMPT_TOKENS, program.model.context)
    last = program.cycles(tokens - 1)
    block = program.stream and program.stream.block
    return {"tokens": tokens, "cycles": sum(run.cycles for run in program.prompt_runs(0, tokens - 1)) + last,
            "one_by_one": sum(program.cycles(position, False) for position in range(tokens - 1)) + last,
            "block": block.positions if block else 1, "no_block": program.stream.no_block if program.stream else ""}


def middle(program: Program) -> int:
    """The position in the middle of the context, at which documents give a model's speed."""
    return program.model.context // 2


def link_assumption(program: Program, baud: int | None) -> str:
    """In words, what `tokens_per_second` assumes of the link; empty for a resident model, which does not depend on it."""
    if program.stream is None:
        return ""
    return f"a serial line of {baud:,} baud" if baud else "a link word in every clock cycle"
