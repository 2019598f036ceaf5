"""Whether a model fits, where, and how fast it would be: from its shape alone, without weights."""

import json
from dataclasses import dataclass

from ...hdl.spec.config import Config
from ..compiler.compile import schedule
from ..compiler.integers import integers_for
from ..compiler.layout import CompileError
from ..compiler.plan import lay_out_model
from ..model.config import ModelConfig
from ..model.model import Model
from ..quant.outline import outline_of_shape
from .report import memory
from .speed import link_assumption, middle, prompt_cycles, tokens_per_second

NO = "no"
"""The mode of a target that cannot run a model; for the others see `marey.sw.program.program`."""
ASSUMPTIONS = ("tokens/s: at the target's clock, in the middle of the context. A streamed model waits for its link: a board's "
               "serial line, or, on a preset, a word in every clock cycle.")


@dataclass(frozen=True)
class Target:
    """A tile to fit a model on. `clock_hz`: its clock, or None if unknown. `baud`: bits a second of a board's serial line; None
    means that the link brings a word in every clock cycle."""

    name: str
    config: Config
    clock_hz: float | None = None
    baud: int | None = None


def fit(shape: ModelConfig, targets: list[Target], model: Model | None = None, context: int | None = None) -> list[dict]:
    """For each target {"name", "config", "mode", "why", "positions", "memory", "cycles", "link_words", "prompt",
    "clock_mhz", "tokens_per_second", "link"}.

    `mode` is `RESIDENT`, `STREAMED` or `NO`; `why` says in a line why the model is not resident, or cannot run. `cycles` are
    those of a token at three positions: 0, mid (half the context) and last; `prompt` has those of a prompt (see
    `marey.sw.views.speed.prompt_cycles`). `tokens_per_second` is that of the token at mid
    (`marey.sw.views.speed`), None without a clock; `link` says what it assumes of the link. Where the model cannot run, all
    its figures are None. Cycles depend on the groups of weights of 4 bits: they are those of `model` if its weights are on a
    grid, else those that GPTQ makes. `context`: the positions that are needed; see `lay_out_model`.
    """
    known, rows = {}, []
    for target in targets:
        config = target.config
        if config.hash not in known:
            known[config.hash] = _scheduled(config, shape, model, context)
        program, why = known[config.hash]
        rows.append({"name": target.name, "config": config.name, **_facts(program, why),
                     "clock_mhz": target.clock_hz and target.clock_hz / 1e6,
                     "tokens_per_second": program and target.clock_hz and tokens_per_second(
                         program, target.clock_hz, middle(program), target.baud),
                     "link": program and link_assumption(program, target.baud)})
    return rows


def _scheduled(config, shape, model, context):
    """A model's program for a configuration, or None, and why it is not resident, or cannot run."""
    outline = outline_of_shape(shape, model=model, **integers_for(config, shape, model))
    try:
        layout = lay_out_model(config, outline, context)
        return schedule(layout, outline), getattr(layout, "why", "")
    except CompileError as error:
        return None, str(error)


def _facts(program, why):
    if program is None:
        return {"mode": NO, "why": why, "positions": None, "memory": None, "cycles": None, "link_words": None, "prompt": None}
    last = program.model.context - 1
    return {"mode": program.mode, "why": why, "positions": last + 1, "memory": memory(program),
            "cycles": {"0": program.cycles(0), "mid": program.cycles((last + 1) // 2), "last": program.cycles(last)},
            "link_words": program.link_words(), "prompt": prompt_cycles(program)}


def refuse(rows: list[dict], targets: list[Target], reasons: dict[int, str]) -> None:
    """Turns the rows of targets whose weights have bits that are in `reasons`, {bits: why}, into refusals."""
    for row, target in zip(rows, targets, strict=True):
        if row["mode"] != NO and (why := reasons.get(target.config.weight_bits)):
            row.update(_facts(None, why), tokens_per_second=None, link=None)


def lines(rows: list[dict]) -> list[str]:
    """What `fit` found, as a table for people; its last line says what the speeds assume."""
    found = [f"{'target':<22}{'tile':<22}{'mode':<10}{'positions':>9}{'W-RAM':>8}{'MEM':>7}{'SDRAM':>7}"
             f"{'cycles at 0':>13}{'mid':>12}{'last':>12}{'MHz':>7}{'tokens/s':>10}"]
    for row in rows:
        if row["mode"] == NO:
            found.append(f"{row['name']:<22}{row['config']:<22}no        {row['why']}")
            continue
        used = {name: f"{kind['used'] / kind['of']:.0%}" for name, kind in row["memory"].items()}
        clock, rate = (f"{value:g}" if value else "-" for value in (row["clock_mhz"], row["tokens_per_second"]))
        found.append(f"{row['name']:<22}{row['config']:<22}{row['mode']:<10}{row['positions']:>9}{used['wram_words']:>8}"
                     f"{used['mem_words']:>7}{used.get('sdram_bytes', '-'):>7}"
                     f"{row['cycles']['0']:>13,}{row['cycles']['mid']:>12,}{row['cycles']['last']:>12,}{clock:>7}{rate:>10}")
    return [*found, ASSUMPTIONS]


def quality_line(known: dict[int, float | None]) -> str:
    """A line about the quality of the integers (see `marey.sw.quant.quality`), by bits of a weight; None is not known."""
    ratios = [f"x{ratio:.3f} of float32's with weights of {bits} bits" for bits, ratio in known.items() if ratio is not None]
    if not ratios:
        return "quality: not known before marey compile or marey generate has judged the integers"
    return f"quality: perplexity in integers is {', '.join(ratios)}"


def as_json(name: str, rows: list[dict], known: dict[int, float | None]) -> str:
    """The stable keys of `marey fit --json`; `known` as for `quality_line`."""
    return json.dumps({"model": name, "quality": {str(bits): ratio for bits, ratio in known.items()}, "targets": rows})
