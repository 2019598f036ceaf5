"""The beats of an MXM or VXM: when each happens, and which addresses it has.

An instruction works in `outer` rounds of `middle` turns of `inner` beats, one beat a cycle.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..spec import chained
from ..spec.config import Config, address_bits
from ..spec.isa import Op, isa_of
from .several import Number, larger
from .walk import Issue


def mxm_interval(config: Config, operands: dict) -> Number:
    """Cycles from one result of an MXM to the next.

    They are the beats of a result, or the beats in which the VXM takes it, if those are more.
    """
    return operands["inner"] if operands["fetch"] else larger(operands["inner"], config.beats_per_result)


def vxm_parts(config: Config, issue: Issue) -> list[Issue]:
    """The issues of VXM instructions without `then` that do what the issue of a VXM does; the issue itself, if it has none.
    See `marey.hdl.spec.chained`."""
    return [issue._replace(cycle=issue.cycle + later, operands=operands)
            for later, operands in chained.parts(config, issue.operands)]


def beats(issue: Issue, interval: int) -> np.ndarray:
    """Cycles of an MXM's or VXM's beats, from its first beat on: int64 [outer, middle, inner].

    `interval`: cycles from one turn to the next.
    """
    operands = issue.operands
    turns = np.arange(operands["middle"])[:, None] * interval
    period = issue.period if operands["paced"] else operands["middle"] * interval
    return np.arange(operands["outer"])[:, None, None] * period + turns + np.arange(operands["inner"])


def mxm_addresses(config: Config, operands: dict) -> tuple[np.ndarray, np.ndarray]:
    """Activation words and W-RAM words of an MXM: two int64 [outer, middle, inner].

    Addresses wrap as in hardware. Of a pair of W-RAM words that one beat reads, the first is listed.
    """
    outer, middle = np.arange(operands["outer"])[:, None, None], np.arange(operands["middle"])[:, None]
    inner, pairs = np.arange(operands["inner"]), reads_pairs(config, operands)
    act_step = inner if pairs else inner >> operands.get("wide", 0)
    act = operands["act"] + outer * operands["act_hop"] + 0 * middle + act_step
    hop = outer % operands["wrap"] * operands["wgt_hop"]
    wgt = operands["wgt"] + hop + middle * operands["wgt_step"] + (inner << pairs)
    wgt -= wgt % 2 * pairs
    return act % (1 << address_bits(config.mem_depth)), wgt % (1 << address_bits(config.wram_depth))


def reads_pairs(config: Config, operands: dict) -> bool:
    """Whether each beat of an MXM reads two words of W-RAM."""
    return bool(config.paired and operands["wide"])


@dataclass(frozen=True)
class Granules:
    """Addresses of a VXM's beats. `beats` is the number of beats in a round.

    x         MEM granule of operand x, int64 [outer, beats]; None if x is not read
    y         likewise of operand y
    dst       address of the result, int64 [outer, beats]
    number    number of the granule in its round, int64 [beats]
    complete  whether the beat completes a value, bool [beats]: each beat, or with `pair` each
              second
    scalar    scalar register that the round reads, int64 [outer]
    into      scalar register that the round's reduction writes, int64 [outer]
    """

    x: np.ndarray | None
    y: np.ndarray | None
    dst: np.ndarray
    number: np.ndarray
    complete: np.ndarray
    scalar: np.ndarray
    into: np.ndarray

    def round(self, index: int) -> "Granules":
        """The addresses of one round: arrays as above with outer = 1."""
        def row(values):
            return None if values is None else values[index:index + 1]

        by_round = {name: row(getattr(self, name)) for name in ("x", "y", "dst", "scalar", "into")}
        return replace(self, **by_round)


def vxm_granules(config: Config, operands: dict) -> Granules:
    """Addresses of a VXM's beats. They wrap as in hardware."""
    outer, beat = np.arange(operands["outer"])[:, None], np.arange(operands["middle"] * operands["inner"])
    number = beat >> operands["pair"]
    second = (beat & 1) * operands["pair"]
    command = isa_of(config).command(Op.VXM)
    stream, by_vector, plus = (operands[name] for name in ("stream", "by_vector", "plus"))

    def granules(name, steps):
        return (operands[name] + outer * operands[f"{name}_hop"] + steps) % (1 << command[name].width)

    x = granules("x", number * operands["x_step"])
    if config.lanes == 1:
        # A value's neighbour is in the next granule, not in the next lane.
        x ^= second
    return Granules(
        x=x if not stream or plus else None,
        y=granules("y", beat * operands["y_step"]) if by_vector or (plus and not stream) else None,
        dst=granules("dst", number), number=number % (1 << isa_of(config).number_bits),
        complete=(second == 1) | (operands["pair"] == 0),
        scalar=(operands["scalar"] + outer[:, 0] * operands["scalar_hop"]) % (1 << command["scalar"].width),
        into=(operands["into"] + outer[:, 0]) % (1 << command["into"].width),
    )


def cached_word(config: Config, operands: dict, word: np.ndarray) -> np.ndarray:
    """W-RAM words that a VXM writes, from numbers of words in the KV cache: int64, shape of `word`.

    Where weights have 4 bits, a word of the cache is two W-RAM words; the first, or with `high` the second.
    """
    return word * config.wide_words + operands.get("high", 0)
