"""Operands with which a VXM that takes a product's results goes on with them, see `marey.sw.compiler.chained`."""

from ....hdl.spec.chained import TABLE_UNIT, inner_beats
from ....hdl.spec.isa import Address, Reduce, Then
from ..builder import SQUARES, Builder


def chain(builder: Builder, then: Then, dst: Address) -> dict[str, int | Address | Then | Reduce]:
    """The operands for results in the granules from `dst` on; {} for NOTHING."""
    config = builder.config
    found = {"then": then, "x": dst, "x_step": 1}
    match then:
        case Then.NOTHING:
            return {}
        case Then.SQUARES:
            found |= {"reduce": Reduce.SUM, "into": SQUARES}
        case Then.TURN:
            found |= {"x_hop": builder.layout.head // config.cols - 1, "y_hop": builder.buffer["turn"] // TABLE_UNIT}
    return found | {"inner": inner_beats(config, then)}
