"""The rules of the timetable, as data, and the check of a program against them.

The hardware has no interlock: a program that breaks a rule gives a wrong result. So no program
leaves the compiler, and none runs in the emulator, before `violations` has found nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..spec.config import Config
from ..spec.isa import Instruction, Op
from .timing import Issue, ProgramError, Use, run_cycles, trace, uses

EXCLUSIVE = {
    "engine.mxm": "an instruction for the MXM begins before the one before it has ended",
    "mxm": "two beats enter the MXM in one cycle",
    "drain": "two granules leave the MXM in one cycle",
    "engine0": "an instruction for the VXM's engine 0 begins before the one before it has ended",
    "engine1": "an instruction for the VXM's engine 1 begins before the one before it has ended",
    "vxm": "two beats enter the VXM in one cycle",
    "stream": "two beats of the VXM take a granule in one cycle",
    "engine.sfu": "an instruction for the scalar unit begins before the one before it has ended",
    "sfu": "a beat of the scalar unit begins before the one before it has left its result",
    "scalar.reduced": "two reductions end in one cycle",
    "scalar.bank": "two scalars are written into one bank in one cycle",
}
"""Units that serve one use a cycle, and what to say when there are two."""

PAIRED = [
    ("drain", "stream", "a granule leaves the MXM and no VXM instruction takes it"),
    ("stream", "drain", "a VXM instruction takes a granule that the MXM does not deliver"),
]
"""(unit, partner, what to say when the unit is used in a cycle in which the partner is not)."""

APART = [("wram.read", "wram.write", "a column's W-RAM, which has one port, is read and written")]
"""(unit, other, what to say when both are used in a cycle)."""

RIVALS = {unit: unit for unit in EXCLUSIVE} | {unit: other for one, two, _ in APART for unit, other in ((one, two), (two, one))}
"""By unit: the one that is not to be in use in the same cycle."""

BOUNDED: dict[str, Callable[[Config], int]] = {
    "mem.act": lambda config: config.mem_depth,
    "mem.x": lambda config: config.granules,
    "mem.y": lambda config: config.granules,
    "mem.write": lambda config: config.granules,
    "wram": lambda config: config.wram_depth,
    "wram.keys": lambda config: config.wram_depth,
    "wram.values": lambda config: config.wram_depth,
    "scalar.vxm": lambda config: config.scalars,
    "scalar.sfu": lambda config: config.scalars,
    "scalar.reduced": lambda config: config.scalars // 2,
    "scalar.computed": lambda config: config.scalars,
}
"""Memories that are addressed, and their depth."""

READ = {"mem.act": "act", "mem.x": "x", "mem.y": "y"}
"""Units that read MEM, and their windows in `Config.windows`."""

ORDERED = {
    "MEM granule": {
        "mem.act": ("read", lambda config: config.granules_per_word),
        "mem.x": ("read", lambda config: 1),
        "mem.y": ("read", lambda config: 1),
        "mem.write": ("write", lambda config: 1),
    },
    "W-RAM word": {
        "wram": ("read", lambda config: 1),
        "wram.late": ("read", lambda config: 1),
        "wram.keys": ("write", lambda config: 1),
        "wram.values": ("write", lambda config: 1),
    },
    "scalar": {
        "scalar.vxm": ("read", lambda config: 1),
        "scalar.sfu": ("read", lambda config: 1),
        "scalar.reduced": ("write", lambda config: 1),
        "scalar.computed": ("write", lambda config: 1),
    },
    "choice": {
        "chosen": ("read", lambda config: 1),
        "chosen.write": ("write", lambda config: 1),
    },
}
"""Memories, and the accesses to each: their kind, and the entries of each. Where one of two accesses to an entry is a
write, they happen in the order of the program, in different cycles."""


@dataclass(frozen=True)
class Violation:
    """A broken rule: what, in which cycle, by which instruction (program counter)."""

    what: str
    cycle: int
    pc: int

    def __str__(self):
        return f"cycle {self.cycle}, instruction {self.pc}: {self.what}"


def violations(config: Config, program: Sequence[Instruction], entry: int = 0, *, position: int = 0,
               count: int = 1, token: int = 0) -> list[Violation]:
    """The broken rules of a run from `entry` with a token at a position, for `count` tokens; empty for a legal program.

    Raises ProgramError for a program that does not halt or leaves the program memory.
    """
    issues = list(trace(config, program, entry, position=position, count=count, token=token))
    by_unit: dict[str, list[tuple[Issue, Use]]] = defaultdict(list)
    for issue in issues:
        for use in uses(config, issue):
            by_unit[use.unit].append((issue, use))
    found = []
    for unit, what in EXCLUSIVE.items():
        cycles, pcs = _flat(by_unit[unit])
        order = np.argsort(cycles, kind="stable")
        again = order[1:][np.diff(cycles[order]) == 0]
        found += [Violation(what, int(cycles[i]), int(pcs[i])) for i in again[:1]]
    for unit, partner, what in PAIRED:
        cycles, pcs = _flat(by_unit[unit])
        alone = np.flatnonzero(~np.isin(cycles, _flat(by_unit[partner])[0]))
        found += [Violation(what, int(cycles[i]), int(pcs[i])) for i in alone[:1]]
    for unit, other, what in APART:
        cycles, pcs = _flat(by_unit[unit])
        both = np.flatnonzero(np.isin(cycles, _flat(by_unit[other])[0]))
        found += [Violation(what, int(cycles[i]), int(pcs[i])) for i in both[:1]]
    for unit, depth in BOUNDED.items():
        for issue, use in by_unit[unit]:
            outside = np.flatnonzero(use.addresses >= depth(config))
            found += [Violation(f"{unit} address {use.addresses[i]} is outside its {depth(config)} entries",
                                int(use.cycles[i]), issue.pc) for i in outside[:1]]
    for unit, port in READ.items():
        window = config.windows[port]
        for issue, use in by_unit[unit]:
            outside = np.flatnonzero(~window.holds(use.addresses))
            found += [Violation(f"{unit} address {use.addresses[i]} is outside its window of {window.depth} entries from "
                                f"{window.first} on", int(use.cycles[i]), issue.pc) for i in outside[:1]]
    for memory, accesses in ORDERED.items():
        found += _disordered(config, by_unit, memory, accesses)
    end = run_cycles(issues[-1])
    late = [(int(use.cycles[-1]), issue.pc) for unit in by_unit for issue, use in by_unit[unit] if use.cycles[-1] > end]
    found += [Violation(f"still at work after the end of the run in cycle {end}", cycle, pc) for cycle, pc in late[:1]]
    return found


def check(config: Config, program: Sequence[Instruction], entry: int = 0, *, position: int = 0, count: int = 1,
          token: int = 0) -> int:
    """Cycles of a run of a legal program; ProgramError names the first broken rule of any other."""
    found = violations(config, program, entry, position=position, count=count, token=token)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ProgramError(f"{found[0]}{more}")
    *_, halt = trace(config, program, entry, position=position, count=count)
    assert halt.op is Op.HALT
    return run_cycles(halt)


def _flat(pairs):
    """Cycles and program counters of uses, one after the other."""
    if not pairs:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return (np.concatenate([use.cycles for _, use in pairs]),
            np.repeat([issue.pc for issue, _ in pairs], [use.cycles.size for _, use in pairs]))


def entries_of(use: Use, width: int) -> np.ndarray:
    """The entries of a memory that a use of it touches, `width` an address: int64, address by address."""
    return (use.addresses[:, None] * width + np.arange(width)).ravel()


def _disordered(config, by_unit, memory, accesses):
    """Accesses to a memory that do not happen in the order of the program."""
    columns = []
    for unit, (kind, width) in accesses.items():
        width, pairs = width(config), by_unit[unit]
        if not pairs:
            continue
        sizes = [use.cycles.size * width for _, use in pairs]
        facts = [(issue.cycle, use.delay, issue.pc, kind == "write") for issue, use in pairs]
        entry = np.concatenate([entries_of(use, width) for _, use in pairs])
        cycle = np.repeat(np.concatenate([use.cycles for _, use in pairs]), width)
        columns.append((entry, cycle, *(np.repeat(fact, sizes) for fact in zip(*facts, strict=True))))
    if not columns:
        return []
    entry, cycle, order, delay, pc, write = map(np.concatenate, zip(*columns, strict=True))
    # What is never written has no order.
    ordered = np.isin(entry, entry[write])
    if not ordered.any():
        return []
    entry, cycle, order, delay, pc, write = (column[ordered] for column in (entry, cycle, order, delay, pc, write))
    begun = cycle - delay
    # The order of the program, and within an instruction that of its beats, which read before they write.
    sort = np.lexsort((cycle, write, begun, order, entry))
    entry, cycle, pc, write = entry[sort], cycle[sort], pc[sort], write[sort]
    # Running maxima within each entry: the entry is the high part of the key.
    base = entry * (int(cycle.max()) + 2)
    key = base + cycle + 1
    before = np.concatenate([[-1], np.maximum.accumulate(key)[:-1]])
    written = np.concatenate([[-1], np.maximum.accumulate(np.where(write, key, base))[:-1]])
    wrong = np.flatnonzero(key <= np.where(write, np.maximum(before, base), np.maximum(written, base)))
    return [Violation(f"{memory} {entry[i]} is {'written' if write[i] else 'read'} before an earlier instruction "
                      f"has {'used' if write[i] else 'written'} it", int(cycle[i]), int(pc[i])) for i in wrong[:1]]
