"""The report: what a model takes of a tile, and where the cycles of a token go, product by product."""

import json
from importlib.resources import files

from ..hdl.isa import Op
from ..hdl.timing import run_cycles, trace, uses
from .program import Program


def clocks() -> dict[str, dict]:
    """What `make cost` found: {"clock_mhz_met", "device", ...} by configuration."""
    return json.loads(files("marey.boards").joinpath("costs.json").read_text())


def report(program: Program, position: int) -> dict:
    """A program's memories, and the cycles of its token at a position.

    Keys: model, config, program_words, memory (used and there are, by memory), position, cycles, mac_floor_cycles,
    utilisation, phases (see `phases`), tokens_per_second (by device, at the clock that place and route met for this
    configuration), and summary: all that in words, for people.
    """
    config, image = program.config, program.image
    cycles, floor = program.cycles(position), program.model.shape.macs(position) / config.macs
    granules = program.model.granules
    memory = {
        "wram_words": {"used": len(image.weights), "of": config.wram_depth},
        "mem_words": {"used": -(-granules // config.granules_per_word), "of": config.mem_depth},
        "program_words": {"used": len(image.instructions), "of": config.program_depth},
    }
    speeds = {cost["device"]: round(cost["clock_mhz_met"] * 1e6 / cycles, 1)
              for name, cost in clocks().items() if name == config.name}
    summary = {
        "program": "{used} instructions of {of}".format(**memory["program_words"]),
        "W-RAM": "{used:,} words of {of:,}".format(**memory["wram_words"]),
        "MEM": "{used:,} words of {of:,}".format(**memory["mem_words"]),
        "positions": program.model.context,
        f"cycles at position {position}": f"{cycles:,}",
        "MACs' floor": f"{floor:,.0f} cycles, {floor / cycles:.1%}",
    } | {f"tokens a second, {device}": f"{speed:,.0f}" for device, speed in speeds.items()}
    return {
        "model": program.name, "config": config.name, "program_words": len(image.instructions), "memory": memory,
        "position": position, "cycles": cycles, "mac_floor_cycles": floor, "utilisation": floor / cycles,
        "phases": phases(program, position), "tokens_per_second": speeds, "summary": summary,
    }


def phases(program: Program, position: int) -> list[dict]:
    """By matrix product, in the order of a token at a position: {"name", "cycles", "mac_floor_cycles", "idle_before"}.

    `cycles` are those from the last beat of the product before it to its own last beat, all layers together; of them the
    MXM is idle for `idle_before`; what the MACs that the model needs take at least are `mac_floor_cycles`. The last row,
    "end", is what follows the last beat.
    """
    config, shape = program.config, program.model.shape
    heads, kv = shape.n_heads * shape.head_dim, shape.kv_dim
    macs = {
        "embedding": 0, "qk": shape.dim * (heads + kv), "v": shape.dim * kv, "scores": shape.dim * (position + 1),
        "values": shape.dim * (position + 1), "wo": heads * shape.dim, "w1": shape.dim * shape.hidden_dim,
        "w3": shape.dim * shape.hidden_dim, "w2": shape.dim * shape.hidden_dim, "classifier": shape.classifier_macs,
    }
    rows: dict[str, dict] = {}
    last = 0
    for issue in trace(config, program.image.instructions, position=position):
        if issue.op is Op.MXM:
            beats = next(use.cycles for use in uses(config, issue) if use.unit == "mxm")
            row = rows.setdefault(issue.instruction.note,
                                  {"name": issue.instruction.note, "cycles": 0, "mac_floor_cycles": 0, "idle_before": 0})
            row["cycles"] += int(beats[-1]) - last
            row["idle_before"] += int(beats[0]) - last - 1
            row["mac_floor_cycles"] += macs[row["name"]] / config.macs
            last = int(beats[-1])
    end = run_cycles(issue) - last
    return [*rows.values(), {"name": "end", "cycles": end, "mac_floor_cycles": 0, "idle_before": end}]
