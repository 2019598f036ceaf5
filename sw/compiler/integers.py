"""The integers that suit a tile: the arguments with which a model is quantised for it."""

from ...hdl.spec.config import Config
from ..model.config import ModelConfig
from ..model.integer_graph import GROUP_UNIT, first_half
from ..model.model import Model
from ..quant.outline import outline_of_shape
from ..quant.quantise import GROUP
from .layout import CompileError
from .plan import plan

LEAST_WORDS = 4
"""Words of the first half of a residual: with fewer, the VXM is busy with the results of halves all the time."""
EXTERNAL_GROUP = 32
"""Inputs that share a scale where weights of 4 bits lie in external memory: scales of groups of 16 take a tenth of the bus."""


def integers_for(config: Config, shape: ModelConfig, model: Model | None = None) -> dict[str, int]:
    """The arguments of `quantise` and `outline_of_shape` for a tile, but for the model and its ranges.

    A model is pipelined (see `integer_graph`) where the tile takes a result of the MXM in one cycle, and where it is
    resident with as many positions as without halves; with its classifier apart, if there is room for it. It is static
    where the VXM has one engine and the model is resident. `model`: as for `outline_of_shape`.
    """
    group = max(EXTERNAL_GROUP if config.memory else GROUP, config.rows)
    plain = {"bits": config.weight_bits, "group": group, "pipelined": False, "apart": False,
             "cache_bits": config.cache_bits, "static": False}
    if config.engines == 1:
        return plain | {"static": _context(config, shape, model, plain) > 0}
    fitting = GROUP_UNIT % config.rows == GROUP_UNIT % config.cols == 0 and first_half(shape.dim) >= LEAST_WORDS * config.rows
    roomy = config.beats_per_result == 1 and config.weight_bits == 8 and config.wram_ports == 2
    if not fitting or not roomy or config.memory:
        return plain
    most = _context(config, shape, model, plain)
    ways = [plain | {"pipelined": True, "apart": apart} for apart in (True, False)]
    return next((how for how in ways if most and _context(config, shape, model, how) == most), plain)


def _context(config, shape, model, how):
    """The positions for which a resident model with these integers has room; 0 if it cannot be resident."""
    try:
        return plan(config, outline_of_shape(shape, model=model, **how)).context
    except CompileError:
        return 0
