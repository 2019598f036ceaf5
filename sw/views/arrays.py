"""Which size of array suits a model: a larger one is not always faster.

Heads, blocks of the KV cache and vectors are padded to the larger side of the array, and each
result takes the latency of all rows. A model with narrow heads loses more by that on a large array
than it gains by its multipliers.
"""

from dataclasses import dataclass, replace

from ...hdl.spec.config import Config, ConfigError
from ..compiler.compile import schedule
from ..compiler.integers import integers_for
from ..compiler.layout import CompileError
from ..compiler.plan import lay_out_model
from ..program.program import Program
from ..quant.outline import outline_of_shape


@dataclass(frozen=True)
class Smaller:
    """A smaller array that is at least as fast for a model. `cycles`: of its token at a position."""

    rows: int
    cols: int
    cycles: int


def smaller_array(program: Program, position: int) -> Smaller | None:
    """The array with half as many rows and columns, or a quarter and so on, on which the token at a
    position takes the fewest cycles; None if none takes as few as the program's tile.

    The tiles have memories of the same size, and as many lanes as their array allows. Only a
    resident program is compared, and only with tiles on which the model is resident, too.
    """
    if program.stream is not None:
        return None
    found, config, macs = [], program.config, program.graph.macs(position)
    while min(config.rows, config.cols) > 1 and (config := _halved(config)):
        if macs > program.cycles(position) * config.macs:
            break  # Not even an array that is never idle would be as fast.
        outline = outline_of_shape(program.model.shape, **integers_for(config, program.model.shape))
        try:
            smaller = schedule(lay_out_model(config, outline), outline)
        except CompileError:
            break
        if smaller.stream is None and position < smaller.model.context:
            found.append(Smaller(config.rows, config.cols, smaller.cycles(position)))
    best = min(found, key=lambda each: each.cycles, default=None)
    return best if best and best.cycles <= program.cycles(position) else None


def _halved(config: Config) -> Config | None:
    """The configuration with half as many rows and columns, and memories of the same size; None if
    there is none."""
    rows, cols = config.rows // 2, config.cols // 2
    try:
        return replace(config, name=f"{rows}x{cols}", rows=rows, cols=cols, lanes=min(config.lanes, rows, cols),
                       wram_depth=4 * config.wram_depth, mem_depth=2 * config.mem_depth, act_first=2 * config.act_first,
                       act_depth=2 * config.act_depth)
    except ConfigError:
        return None
