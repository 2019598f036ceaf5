"""The layouts of the operands of each operation, with the widths that a configuration needs."""

from dataclasses import dataclass

from amaranth.hdl import signed
from amaranth.lib import data

from .choice import Choice
from .config import Config, address_bits
from .instructions import (
    EPSILON_BITS,
    FACTOR_BITS,
    OPTIONAL_FUNCTIONS,
    POSITION_BITS,
    SHIFT_BITS,
    Function,
    MxmBlocks,
    Op,
    Place,
    Reduce,
    Sfu,
    Source,
    Then,
    To,
    VxmBlocks,
)

MOVE_COUNT_BITS = 16
"""Width of the number of bursts of a MOVE."""


def functions(config: Config) -> Choice:
    """The functions that the VXM of a tile has, as the shape of a field."""
    missing = {function for function, field in OPTIONAL_FUNCTIONS.items() if not getattr(config, field)}
    return Choice(Function, tuple(function for function in Function if function not in missing))


@dataclass(frozen=True)
class Widths:
    """Widths of operands, in bits.

    word           address of a word in MEM
    granule        address of a granule in MEM
    weight         address of a word in W-RAM
    dst            address that a VXM writes: a granule in MEM, or a part of a word in W-RAM
    target         address of an instruction
    scalar         number of a scalar register
    register       number of an address register
    register_value contents of an address register
    count          a count, and a period
    number         number of a granule in its round
    burst          address of a burst in external memory; 0 without
    """

    word: int
    granule: int
    weight: int
    dst: int
    target: int
    scalar: int
    register: int
    register_value: int
    count: int
    number: int
    burst: int

    @classmethod
    def of(cls, config: Config) -> "Widths":
        """The widths for a configuration."""
        profile = config.profile
        word, granule = address_bits(config.mem_depth), address_bits(config.granules)
        weight = address_bits(config.wram_depth)
        wram_parts = config.wram_depth * max(config.granules_per_word, config.beats_per_result)
        dst = max(granule, address_bits(wram_parts))
        burst = address_bits(config.memory.part.bursts) if config.memory else 0
        return cls(
            word=word, granule=granule, weight=weight, dst=dst, target=address_bits(config.program_depth),
            scalar=address_bits(config.scalars), register=address_bits(profile.registers),
            register_value=profile.register_bits or max(word, weight, dst, burst),
            count=min(granule + profile.count_over_granule, profile.most_count_bits),
            number=min(granule, config.token_bits), burst=burst,
        )


def operand_layouts(config: Config) -> dict[Op, data.StructLayout]:
    """By operation: the layout of its operands. An address is a layout of `offset` and `base`."""
    widths, profile = Widths.of(config), config.profile
    register, value, count, target = widths.register, widths.register_value, widths.count, widths.target
    layouts = {
        Op.HALT: {"if_prompt": 1},
        Op.NOP: {"register": register} if profile.counts_in_registers else {"turns": 8, "blocks": 3},
        Op.SET: {"register": register, "value": value},
        Op.ADD: {"register": register, "value": value},
        Op.INDEX: {"register": register, "value": value, "source": Source, "right": 4, "bits": 4,
                   "times": FACTOR_BITS},
        Op.PERIOD: {"value": count} if profile.counts_in_registers else {
            "value": signed(count), "times": 8, "least": count - 1},
        Op.LOOP: ({"counter": address_bits(profile.counters)} if profile.counters > 1 else {}) | {
            "count": profile.loop_count_bits or count, "target": target},
        Op.TOKEN: {"target": target},
        Op.MXM: _mxm(config, widths),
        Op.VXM: _vxm(config, widths),
        Op.SFU: {"function": Sfu, "a": widths.scalar, "b": widths.scalar, "into": widths.scalar,
                 "epsilon": EPSILON_BITS, "count": widths.scalar},
    }
    if config.memory:
        layouts[Op.MOVE] = {"to": Place, "far": _address(widths, widths.burst),
                            "near": _address(widths, max(widths.weight, widths.granule)), "count": MOVE_COUNT_BITS}
        layouts[Op.STEP] = {"value": POSITION_BITS}
    return {op: data.StructLayout(fields) for op, fields in layouts.items()}


def _address(widths, bits):
    return data.StructLayout({"offset": bits, "base": widths.register})


def _mxm(config, widths):
    profile, count = config.profile, widths.count
    outer = profile.mxm_outer_bits or count
    counted = _address(widths, count) if profile.counts_in_registers else count
    return {
        "act": _address(widths, widths.word), "wgt": _address(widths, widths.weight),
        "inner": counted, "middle": counted, "outer": outer,
        "wgt_step": widths.weight, "act_hop": widths.word, "wgt_hop": widths.weight, "wrap": outer,
        **({} if profile.counts_in_registers else {"blocks": MxmBlocks}),
        "paced": 1, "fetch": 1,
        **({"wide": 1} if config.wide_words > 1 else {}),
    }


def _vxm(config, widths):
    profile, count, granule = config.profile, widths.count, widths.granule
    counted = _address(widths, count) if profile.counts_in_registers else count
    hop = min(granule, profile.most_hop_bits or granule)
    return {
        **({"engine": 1} if profile.engines > 1 else {}),
        "stream": 1, "function": functions(config), "by_vector": 1, "plus": 1, "pair": 1,
        "x": _address(widths, granule), "y": _address(widths, granule), "dst": _address(widths, widths.dst),
        "inner": count, "middle": counted, "outer": profile.vxm_outer_bits or count, "interval": counted,
        **({} if profile.counts_in_registers else {"blocks": VxmBlocks}),
        "paced": 1, "x_step": 1, "y_step": 1, "x_hop": hop, "y_hop": hop,
        "dst_hop": min(widths.dst, profile.most_dst_hop_bits or widths.dst),
        "shift": signed(SHIFT_BITS), "narrow": 1, "to": To, "mask": 1,
        "scalar": widths.scalar, "scalar_hop": 1, "bare": 1,
        "reduce": Reduce, "into": widths.scalar - profile.into_less_scalar,
        # Halves of an 8-bit value are written one after the other only where weights have 4 bits and W-RAM has no pairs.
        **({"high": 1} if config.wide_beats > 1 else {}),
        **({"then": Then} if config.chained else {}),
    }
