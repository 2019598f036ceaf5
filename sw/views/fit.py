"""Whether a model fits, where, and how fast it would be: from its shape alone, without weights."""

import json
from dataclasses import dataclass

from ...hdl.spec.config import Config
from ..compiler.compile import schedule
from ..compiler.layout import CompileError
from ..compiler.plan import lay_out_model
from ..model.config import ModelConfig
from ..model.model import Model
from ..program.program import Program
from ..quant.quantise import GROUP
from ..quant.standin import stand_in
from .report import memory

WORD_BITS = 40
"""Bits on a serial line of a link word: four bytes, each with a start and a stop bit."""


@dataclass(frozen=True)
class Target:
    """A tile to fit a model on. `clock_hz`, where it is known; `baud`, of a board's line, else the link brings a word in
    every cycle."""

    name: str
    config: Config
    clock_hz: float | None = None
    baud: int | None = None


def fit(shape: ModelConfig, targets: list[Target], model: Model | None = None) -> list[dict]:
    """For each target {"name", "config", "mode", "why", "positions", "memory", "cycles", "link_words", "clock_mhz",
    "tokens_per_second"}.

    `mode` is "resident", "streamed" or "no", and `why` says in a line why it is not the one before. `cycles` are those of a
    token at the positions 0, mid (half the context) and last; `tokens_per_second` is of the one in the middle, None
    without a clock; of a streamed model what the link brings is the limit. What a model does not have where it cannot
    run is None, too. With weights of 4 bits their groups matter: those of a `model` that is on a grid, else those of GPTQ.
    """
    known, rows = {}, []
    for target in targets:
        config = target.config
        if config.hash not in known:
            known[config.hash] = _scheduled(config, shape, model)
        program, why = known[config.hash]
        rows.append({"name": target.name, "config": config.name, **_facts(program, why),
                     "clock_mhz": target.clock_hz and target.clock_hz / 1e6,
                     "tokens_per_second": program and target.clock_hz and speed(program, target.clock_hz, target.baud)})
    return rows


def _scheduled(config, shape, model):
    """A model's program for a configuration, or None, and why it is not better."""
    without = stand_in(shape, config.weight_bits, max(GROUP, config.rows), model)
    try:
        layout = lay_out_model(config, without)
        return schedule(layout, without), getattr(layout, "why", "")
    except CompileError as error:
        return None, str(error)


def _facts(program, why):
    if program is None:
        return {"mode": "no", "why": why, "positions": None, "memory": None, "cycles": None, "link_words": None}
    last = program.model.context - 1
    return {"mode": program.mode, "why": why, "positions": last + 1, "memory": memory(program),
            "cycles": {"0": program.cycles(0), "mid": program.cycles((last + 1) // 2), "last": program.cycles(last)},
            "link_words": program.link_words()}


def speed(program: Program, clock_hz: float, baud: int | None = None) -> float:
    """Tokens a second in the middle of the context, to four digits; the link works while the tile computes.

    `baud`, of its line, matters for a streamed model alone; without it the link brings a word a cycle.
    """
    word_seconds = WORD_BITS / baud if baud else 1 / clock_hz
    seconds = max(program.cycles(program.model.context // 2) / clock_hz, program.link_words() * word_seconds)
    return float(f"{1 / seconds:.4g}")


def lines(rows: list[dict]) -> list[str]:
    """What `fit` found, as a table for people."""
    found = [f"{'target':<16}{'tile':<15}{'mode':<10}{'positions':>9}{'W-RAM':>8}{'MEM':>7}"
             f"{'cycles at 0':>13}{'mid':>12}{'last':>12}{'MHz':>7}{'tokens/s':>10}"]
    for row in rows:
        if row["mode"] == "no":
            found.append(f"{row['name']:<16}{row['config']:<15}no        {row['why']}")
            continue
        used = [f"{kind['used'] / kind['of']:.0%}" for kind in row["memory"].values()]
        clock, rate = (f"{value:g}" if value else "-" for value in (row["clock_mhz"], row["tokens_per_second"]))
        found.append(f"{row['name']:<16}{row['config']:<15}{row['mode']:<10}{row['positions']:>9}{used[0]:>8}{used[1]:>7}"
                     f"{row['cycles']['0']:>13,}{row['cycles']['mid']:>12,}{row['cycles']['last']:>12,}{clock:>7}{rate:>10}")
    return found


def as_json(name: str, rows: list[dict]) -> str:
    """The stable keys of `marey fit --json`."""
    return json.dumps({"model": name, "targets": rows})
