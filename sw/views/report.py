"""The report: what a model takes of a tile, and where the cycles of a token go, product by product."""

from collections.abc import Iterable

from ...hdl.spec.isa import Op
from ...hdl.timing import run_cycles, trace, uses
from ..model.families import graph_of
from ..program.program import Program
from .speed import tokens_per_second


def report(program: Program, position: int, costs: Iterable[dict] = ()) -> dict:
    """A program's memories, and the cycles of its token at a position. `costs`: see `speeds`.

    Keys: model, config, mode, program_words, memory (see `memory`), position, cycles, mac_floor_cycles, utilisation, phases
    (see `phases`), link_words (a token's, of a streamed model), tokens_per_second (see `speeds`), and summary: all that in
    words, for people.
    """
    config, image = program.config, program.image
    cycles, floor = program.cycles(position), graph_of(program.model.shape).macs(position) / config.macs
    used, seconds, link_words = memory(program), speeds(program, position, costs), program.link_words()
    summary = {
        "program": "{used} instructions of {of}".format(**used["program_words"]),
        "W-RAM": "{used:,} words of {of:,}".format(**used["wram_words"]),
        "MEM": "{used:,} words of {of:,}".format(**used["mem_words"]),
        "positions": program.model.context,
        f"cycles at position {position}": f"{cycles:,}",
        "MACs' floor": f"{floor:,.0f} cycles, {floor / cycles:.1%}",
    } | ({"link words a token": f"{link_words:,}"} if program.stream else {}) | {
        f"tokens a second, {device}": f"{speed:,.0f}" for device, speed in seconds.items()}
    return {
        "model": program.name, "config": config.name, "mode": program.mode, "program_words": len(image.instructions),
        "memory": used,
        "position": position, "cycles": cycles, "mac_floor_cycles": floor, "utilisation": floor / cycles,
        "phases": phases(program, position), "link_words": link_words, "tokens_per_second": seconds, "summary": summary,
    }


def memory(program: Program) -> dict[str, dict[str, int]]:
    """What a model's program uses of each memory, and what there is: {"used", "of"} by memory."""
    config, granules = program.config, program.model.granules
    return {
        "wram_words": {"used": program.wram_words, "of": config.wram_depth},
        "mem_words": {"used": -(-granules // config.granules_per_word), "of": config.mem_depth},
        "program_words": {"used": len(program.image.instructions), "of": config.program_depth},
    }


def speeds(program: Program, position: int, costs: Iterable[dict]) -> dict[str, float]:
    """Tokens a second of a token at a position, by device: {device: tokens a second}.

    `costs`: results of place and route, {"config", "device", "clock_mhz_met"}; those of other configurations are passed
    over. A streamed model is reckoned with a link that brings one word in every cycle.
    """
    return {cost["device"]: tokens_per_second(program, cost["clock_mhz_met"] * 1e6, position)
            for cost in costs if cost["config"] == program.config.name}


def phases(program: Program, position: int) -> list[dict]:
    """By operation with products, in the order of a token at a position: {"name", "cycles", "mac_floor_cycles",
    "idle_before"}.

    `cycles` are those from the last beat of the product before it to its own last beat, all layers together; of them the
    MXM is idle for `idle_before`; what the MACs that the model needs take at least are `mac_floor_cycles`. The last row,
    "end", is what follows the last beat; of a streamed model, that of every run.
    """
    config, graph = program.config, program.graph
    rows: dict[str, dict] = {}
    end = 0
    for entry, count, times in program.runs():
        last = 0
        for issue in trace(config, program.image.instructions, entry, position=position, count=count):
            if issue.op is Op.MXM:
                beats = next(use.cycles for use in uses(config, issue) if use.unit == "mxm")
                name = issue.instruction.operation
                row = rows.setdefault(name, {
                    "name": name, "cycles": 0, "mac_floor_cycles": graph.macs_of(graph.find(name), position) / config.macs,
                    "idle_before": 0})
                row["cycles"] += times * (int(beats[-1]) - last)
                row["idle_before"] += times * (int(beats[0]) - last - 1)
                last = int(beats[-1])
        end += times * (run_cycles(issue) - last)
    return [*rows.values(), {"name": "end", "cycles": end, "mac_floor_cycles": 0, "idle_before": end}]
