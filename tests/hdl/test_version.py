"""A program runs only on a tile that takes it as it was meant: the ID register has the VERSION of what programs count on."""

import enum
import hashlib
from contextlib import suppress
from dataclasses import replace

from marey.hdl.manual import encoding
from marey.hdl.spec import instructions, integer
from marey.hdl.spec.chained import inner_beats
from marey.hdl.spec.config import Config, ConfigError
from marey.hdl.spec.isa import (
    OPTIONAL_FUNCTIONS,
    OPTIONAL_OPERATIONS,
    Function,
    Op,
    Place,
    Reduce,
    Sfu,
    Then,
    To,
    functions,
    isa_of,
)
from marey.hdl.spec.protocol import VERSION
from marey.hdl.timing import trace, uses
from tests.configs import op

MEANT = {5: {"": "d7379897d73242ac", "chained": "61d83be8cffeb625", "gelu": "b34d390f61097da7", "sdram": "f4eeaa4bcd102ff1"}}
"""By version, the digests of `meaning`: for `CONFIGS` as they are, and with each field that adds a function."""

CONFIGS = [
    Config(name="int4", rows=8, cols=4, lanes=2, weight_bits=4, wram_depth=64, wram_latency=2, mem_depth=64),
    Config(name="compact", rows=4, cols=4, lanes=1, weight_bits=4, wram_depth=64, wram_ports=1, mem_depth=64, compact=1),
]


def samples(config):
    """A program that has every operation, and every function that the slices of the tile have."""
    def make(name, **operands):
        return op(config, name, **operands)

    half = config.scalars // 2
    yield from (make("SET", register=1, value=9), make("ADD", register=1, value=1), make("INDEX", register=2, times=3, bits=2))
    yield from (make("PERIOD", value=40), make("NOP", wait=5), make("LOOP", count=2, target=4))
    yield from (make("MXM", inner=3, middle=2, outer=2, paced=1), make("MXM", inner=2, fetch=1))
    yield from (make("VXM", inner=2, middle=2, stream=1, to=to) for to in To)
    yield from (make("VXM", inner=4, outer=2, by_vector=1, plus=1, function=function)
                for function in functions(config))
    yield from (make("VXM", inner=2, pair=1, reduce=reduce, into=int(reduce not in (Reduce.NONE, Reduce.ARGMAX)))
                for reduce in Reduce)
    if config.chained:
        yield from (make("VXM", stream=1, by_vector=1, then=then, inner=inner_beats(config, then), middle=4, interval=16, x=16,
                         dst=16, x_step=1, to=To.MEM, reduce=reduce, into=int(reduce is Reduce.SUM), x_hop=1, y_hop=2)
                    for then, reduce in ((Then.SQUARES, Reduce.SUM), (Then.SILU, Reduce.NONE), (Then.TURN, Reduce.NONE)))
    yield from (make("SFU", function=function, into=half, count=2) for function in Sfu if function is not Sfu.MULTIPLY)
    yield make("SFU", function=Sfu.MULTIPLY, a=half, b=half, into=half)
    if config.memory:
        yield from (make("MOVE", to=to, far=3, near=1, count=200) for to in Place)
    yield from (make("TOKEN"), make("HALT"))


def meaning(configs):
    """What a program compiled for these tiles counts on, in lines: encodings, cycles, tables of functions.

    A function or an operation that none of the tiles has is left out: a new one does not change what their programs mean.
    """
    able = {function for config in configs for function in functions(config)}
    operations = {op for config in configs for op in isa_of(config).operands}
    for kind in (value for value in vars(instructions).values() if isinstance(value, enum.EnumMeta) and list(value)):
        if (kind is Place and Op.MOVE not in operations) or (kind is Then and not any(config.chained for config in configs)):
            continue
        has = {Function: able, Op: operations}.get(kind, set(kind))
        kept = [(member.name, member.value) for member in kind if member in has]
        yield f"{kind.__name__} {kept}"
    for config in configs:
        yield from encoding(config)
        for issue in trace(config, list(samples(config))):
            yield f"{issue.cycle} {issue.op.name}"
            for use in uses(config, issue):
                addresses = None if use.addresses is None else use.addresses.tolist()
                yield f"{use.unit} {use.cycles.tolist()} {addresses} {use.delay}"
    gelu = [integer.gelu_table] if Function.GELU in able else []
    tables = [integer.exp2_table, integer.sigmoid_table, *gelu, integer.reciprocal_table, integer.rsqrt_table]
    for table in tables:
        yield f"{table.__name__} {table().tolist()}"
    yield f"a gate's inputs count 2**-{integer.GATE_UNIT}"


def tiles(field):
    """The configurations, with a field that adds a function if one is named: those that can have it."""
    for config in CONFIGS:
        with suppress(ConfigError):
            yield replace(config, **{field: 1}) if field else config


def test_a_change_of_meaning_is_a_new_version():
    digests = {field: hashlib.sha256("\n".join(meaning(list(tiles(field)))).encode()).hexdigest()[:16]
               for field in ("", "chained", *OPTIONAL_FUNCTIONS.values(), *OPTIONAL_OPERATIONS.values())}
    assert MEANT[VERSION] == digests, (
        f"programs mean something else than in version {VERSION}: raise it in hdl/spec/protocol.py and in "
        f"sw/program/program.py, and put {digests} here")
