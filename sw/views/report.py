"""The report: the memories and cycles of a tile that a model uses, with the cycles of a token
product by product."""

from collections.abc import Iterable
from dataclasses import asdict

from ...hdl.spec.isa import Op
from ...hdl.timing import run_cycles, trace, uses
from ..model.families import graph_of
from ..program.program import Program
from .arrays import smaller_array
from .speed import prompt_cycles, tokens_per_second


def report(program: Program, position: int, costs: Iterable[dict] = ()) -> dict:
    """A report on a model's program and its token at a position; `costs` as for `speeds`.

    Keys: model, config, mode, program_words, memory (see `memory`), position, cycles,
    mac_floor_cycles, utilisation (mac_floor_cycles / cycles), prompt (see `speed.prompt_cycles`),
    phases (see `phases`), link_words (words that a token of a streamed model takes on the link, else
    0), tokens_per_second (see `speeds`), smaller_array ({"rows", "cols", "cycles"} of a smaller array that is as fast, or None:
    see `arrays.smaller_array`), and summary: {label: text}, the same for a terminal.
    """
    config, image = program.config, program.image
    cycles, floor = program.cycles(position), graph_of(program.model.shape).macs(position) / config.macs
    used, seconds, link_words = memory(program), speeds(program, position, costs), program.link_words()
    smaller, prompt = smaller_array(program, position), prompt_cycles(program)
    summary = {
        "program": "{used} instructions of {of}".format(**used["program_words"]),
        "W-RAM": "{used:,} words of {of:,}".format(**used["wram_words"]),
        "MEM": "{used:,} words of {of:,}".format(**used["mem_words"]),
        "positions": program.model.context,
        f"cycles at position {position}": f"{cycles:,}",
        "MACs' floor": f"{floor:,.0f} cycles, {floor / cycles:.1%}",
        f"a prompt of {prompt['tokens']} tokens": f"{prompt['cycles']:,} cycles" + (
            f", {program.stream.prompts}" + f"; {prompt['one_by_one']:,} one by one" * (prompt["block"] > 1)
            if program.stream else ""),
    } | _external(used, config, cycles) | (
        {"a smaller array is as fast": f"{smaller.rows}x{smaller.cols} with {smaller.cycles:,} cycles"} if smaller else {}) | (
        {"link words a token": f"{link_words:,}"} if program.stream else {}) | {
        f"tokens a second, {device}": f"{speed:,.0f}" for device, speed in seconds.items()}
    return {
        "model": program.name, "config": config.name, "mode": program.mode, "program_words": len(image.instructions),
        "memory": used,
        "position": position, "cycles": cycles, "mac_floor_cycles": floor, "utilisation": floor / cycles,
        "prompt": prompt, "phases": phases(program, position), "link_words": link_words, "tokens_per_second": seconds,
        "smaller_array": smaller and asdict(smaller), "summary": summary,
    }


def network_report(program: Program, position: int = 0) -> dict:
    """A report on the program of a network, with those keys of `report` that are not about tokens.
    `position`: of the vector in its sequence, for a network with attention."""
    config, network = program.config, program.network
    cycles, floor = program.cycles(position, wanted=False), network.macs(position) / config.macs
    used = {"wram_words": {"used": program.wram_words, "of": config.wram_depth},
            "mem_words": {"used": -(-(program.image.granule + len(program.image.constants)) // config.granules_per_word),
                          "of": config.mem_depth},
            "program_words": {"used": len(program.image.instructions), "of": config.program_depth}}
    summary = {
        "program": "{used} instructions of {of}".format(**used["program_words"]),
        "W-RAM": "{used:,} words of {of:,}".format(**used["wram_words"]),
        "MEM": "{used:,} words of {of:,}".format(**used["mem_words"]),
        f"cycles at position {position}" if network.positions else "cycles": f"{cycles:,}",
        "MACs' floor": f"{floor:,.0f} cycles, {floor / cycles:.1%}"}
    return {"model": program.name, "config": config.name, "program_words": len(program.image.instructions), "memory": used,
            "position": position, "cycles": cycles, "mac_floor_cycles": floor, "utilisation": floor / cycles,
            "phases": phases(program, position),
            "summary": summary}


def _external(used, config, cycles):
    """The lines about external memory: its bytes, and the part of the bus's peak that they take, as each is read once."""
    if "sdram_bytes" not in used:
        return {}
    octets = used["sdram_bytes"]["used"]
    cache = ", {cache:,} of them for the KV cache" * bool(used["sdram_bytes"]["cache"])
    return {"external memory": f"{{used:,}} bytes of {{of:,}}{cache}".format(**used["sdram_bytes"]),
            "its bus": f"{octets * 8 / (cycles * config.memory.part.bus_bits):.1%} of the peak"}


def memory(program: Program) -> dict[str, dict[str, int]]:
    """For each memory, the words that a model's program uses, and the words that the tile has:
    {"used", "of"}; of external memory the bytes, with "cache", those that are for the KV cache."""
    config, granules, sdram = program.config, program.model.granules, {}
    if program.stream and program.stream.external:
        part, cache = config.memory.part, program.stream.cache_bursts
        sdram = {"sdram_bytes": {"used": (program.stream.image_bursts(config) + cache) * part.burst_bytes, "of": part.bytes,
                                 "cache": cache * part.burst_bytes}}
    return {
        "wram_words": {"used": program.wram_words, "of": config.wram_depth},
        "mem_words": {"used": -(-granules // config.granules_per_word), "of": config.mem_depth},
        "program_words": {"used": len(program.image.instructions), "of": config.program_depth},
    } | sdram


def speeds(program: Program, position: int, costs: Iterable[dict]) -> dict[str, float]:
    """Tokens per second, if all tokens took the cycles of the token at `position`: {device: tokens
    per second}.

    `costs`: results of place and route, {"config", "device", "clock_mhz_met"}; those of other
    configurations are skipped. For a streamed model the link is assumed to carry a word each cycle.
    """
    return {cost["device"]: tokens_per_second(program, cost["clock_mhz_met"] * 1e6, position)
            for cost in costs if cost["config"] == program.config.name}


def phases(program: Program, position: int) -> list[dict]:
    """The cycles of the token at a position, divided among the operations that use the MXM, in the
    token's order.

    A row has, for all layers together:

    - "name": of the operation.
    - "cycles": from the last MXM beat of the product before it to its own last MXM beat.
    - "idle_before": how many of these cycles lie before its first beat.
    - "mac_floor_cycles": its useful multiply-accumulates / (rows x cols).

    The last row, "end", has the cycles after the last beat of a run; in a streamed model, of all runs.
    """
    config, graph = program.config, program.graph
    rows: dict[str, dict] = {}
    end = 0
    for entry, count, times in program.runs(position=position):
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
