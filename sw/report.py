"""The report: where the cycles of a token go, product by product."""

from ..hdl.isa import Op
from ..hdl.timing import run_cycles, trace, uses
from .program import Program


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
