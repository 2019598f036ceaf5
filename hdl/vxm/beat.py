"""The beat of the VXM: what travels with it through the pipeline."""

from amaranth import *
from amaranth.lib import data

from ..spec.config import Config, address_bits
from ..spec.isa import SHIFT_BITS, Op, Reduce, Then, To, functions, isa_of


def beat_layout(config: Config) -> data.StructLayout:
    """The layout of a beat: its addresses, and what the stages of the VXM do with its values.

    Fields that are not operands of the instruction: `active`, there is a beat in this cycle;
    `second`, it is the second beat of a pair; `complete`, its value is written and reduced (the
    value of the first beat of a pair is not); `first` and `ends`, it begins or ends a round;
    `number`, of its granule in the round; `chained`, on a tile that has this, it takes from MEM what the instruction has
    written there.
    """
    command = isa_of(config).command(Op.VXM)
    granule, scalar = address_bits(config.granules), address_bits(config.scalars)
    return data.StructLayout({
        "active": 1, "x": granule, "y": granule, "dst": command["dst"].shape, "scalar": scalar, "into": scalar,
        "stream": 1, "by_vector": 1, "plus": 1, "bare": 1, "function": functions(config),
        "shift": signed(SHIFT_BITS), "narrow": 1, "to": To,
        "mask": 1, "reduce": Reduce, "second": 1, "complete": 1, "first": 1, "ends": 1, "number": isa_of(config).number_bits,
    } | ({"high": 1} if config.wide_beats > 1 else {}) | ({"then": Then, "chained": 1} if config.chained else {}))


HELD = ("stream", "by_vector", "plus", "bare", "function", "shift", "narrow", "to", "mask", "reduce", "high",
        "then")
"""Fields that are the same for all beats of an instruction. In a compact tile an instruction has left the VXM before
the next one enters, so that these fields need not travel with the beats."""

Step = data.StructLayout({"step": 1, "ends": 1})
"""`step`, a value passes in this cycle; `ends`, it ends its round."""
