"""The runs in which a program takes the tokens of a prompt into the KV cache: one by one, or in blocks of positions.

`program` is a `marey.sw.program.program.Program`, whose module imports this one.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class PromptRun:
    """A run for the tokens of a prompt at the positions `first` to `end` - 1.

    `start`: the first position that is computed with them, which may be before them; None if the token is by itself. `cycles`,
    `link_words`: what the run takes; of words only those that `Program.link_words` counts.
    """

    first: int
    end: int
    start: int | None
    cycles: int
    link_words: int


def prompt_runs(program, first: int, end: int) -> Iterator[PromptRun]:
    """The runs for the tokens at the positions `first` to `end` - 1, of which none makes a token.

    In external memory a block is computed as a whole. It is taken where it takes fewer cycles than its tokens one by one.
    Over the link its positions have runs of their own, and weights are sent once for two or more of them.
    """
    block = program.stream and program.stream.block
    while first < end:
        run = PromptRun(first, first + 1, None, program.cycles(first, False), program.link_words(False))
        if block:
            start = block.start(first)
            until = min(start + block.positions, end)
            start = start if program.stream.external else first
            cycles = program.block_cycles(range(start, until))
            if until - first > 1 if block.entries else cycles < sum(
                    program.cycles(position, False) for position in range(first, until)):
                words = program.stream.block_words(program.config, until - first)
                run = PromptRun(first, until, start, cycles, words)
        yield run
        first = run.end
