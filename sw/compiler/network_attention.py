"""Attention in a network: where its KV cache lies, and what `attention.Attention` and the kernels of a
token's attention ask of their builder."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...hdl.spec.config import Config
from ...hdl.spec.isa import Address, Instruction, Op, Source, To, isa_of
from ..model.graph import Operation
from ..model.network import Network
from ..quant.network_attention import OUTPUT_BITS, Attention
from .builder import log2
from .kernels import heads
from .registers import Registers
from .steps import IN_ORDER, Step, step

QUERIES, KEYS, VALUES = ".queries", ".keys", ".values"
"""Suffixes of the factors of an attention in MEM, and of its int8 queries."""
KEY, VALUE = "key", "value"
"""Address registers: where the position's key and value go, counted from where those of position 0 do."""


@dataclass(frozen=True)
class AttentionLayout:
    """The KV cache of one attention, in W-RAM words, and its heads.

    `context`: positions, a multiple of the block. `head`: values of a head in MEM, padding included.
    `keys`, `values`: the first words. `key_hop`, `value_hop`: words of one head's keys, and of cols
    channels of its values.
    """

    config: Config
    n_heads: int
    head: int
    context: int
    keys: int

    halves = 1

    @property
    def value_head(self) -> int:
        return self.head

    @property
    def n_kv_heads(self) -> int:
        return self.n_heads

    @property
    def key_hop(self) -> int:
        return self.context // self.config.cols * (self.head // self.config.rows)

    @property
    def value_hop(self) -> int:
        return self.context // self.config.rows

    @property
    def values(self) -> int:
        return self.keys + self.n_heads * self.key_hop

    @property
    def end(self) -> int:
        """The word behind the cache."""
        return self.values + self.n_heads * (self.head // self.config.cols) * self.value_hop

    def in_granules(self, values: int) -> int:
        """Granules that so many values take; `values` must be a multiple of lanes."""
        return values // self.config.lanes


class AttentionBuilder:
    """What the kernels of attention ask, for one attention of a network; see `builder.Builder`.

    `part`: its SCORES, SOFTMAX and VALUES. `buffer`: granules of the int8 queries "q", of the scores
    "score" and of the result "o"; `constants`: of factors. `reciprocals`: the first scalar register
    of the 1/sums. `registers`: of the program.
    """

    blocks, far_cache = None, False

    def __init__(
        self,
        network: Network,
        part: tuple[Operation, ...],
        integers: Attention,
        layout: AttentionLayout,
        buffer: Mapping[str, int],
        constants: Mapping[str, int],
        reciprocals: int,
        registers: Registers,
    ):
        scores, _, values = part
        self.config, self.layout, self.shape, self.place = layout.config, layout, layout, self
        self.isa = isa_of(layout.config)
        self.graph, self.buffer, self.registers = replace(network, operations=part), buffer, registers
        self.reciprocals, self._constants, self.part = reciprocals, constants, part
        self.shifts = {scores.name: integers.scores.shift, values.name: OUTPUT_BITS}
        self.head_granules = layout.in_granules(layout.head)
        self.second_engine = {"engine": 1} if self.config.engines > 1 else {}
        self.keys, self.values = Address(layout.keys), Address(layout.values)
        self.operation: Operation = scores
        self._integers = integers

    def op(self, op: Op, note: str = "", **operands) -> Instruction:
        """An instruction that belongs to `operation`."""
        made = self.isa.make(op, note=f"{self.operation.name}: {note}" if note else "", **operands)
        return replace(made, operation=self.operation.name)

    def word(self, buffer: str) -> int:
        """The MEM word at which a buffer begins."""
        return self.buffer[buffer] // self.config.granules_per_word

    def constant(self, name: str) -> Address:
        """The first granule of the factors of the scores, which the kernel calls "score"."""
        return Address(self._constants[self.part[0].name])

    def scores(self, q: int, k: int, v: int) -> list[Step]:
        """The steps up to the scores: the queries become int8, keys and values go to the cache.
        `q`, `k`, `v`: granules of int16 values."""
        layout, config, integers, name = self.layout, self.config, self._integers, self.part[0].name
        head, beats = self.head_granules, config.beats_per_result

        def narrowed(what, x, suffix, narrowing, **operands):
            return step(
                self.op(
                    Op.VXM,
                    what,
                    **self.second_engine
                    | {
                        "x": x,
                        "x_step": 1,
                        "y": self._constants[name + suffix],
                        "y_step": 1,
                        "by_vector": 1,
                        "shift": narrowing.shift,
                        "narrow": 1,
                    }
                    | operands,
                )
            )

        self.operation = self.part[0]
        return [
            narrowed(
                "keys",
                k,
                KEYS,
                integers.keys,
                inner=head,
                x_hop=head,
                y_hop=head,
                outer=layout.n_heads,
                dst=self.registers.address(KEY, layout.keys * config.granules_per_word),
                dst_hop=layout.key_hop * config.granules_per_word,
                to=To.KEYS,
            ),
            narrowed(
                "values to the cache",
                v,
                VALUES,
                integers.values,
                inner=beats,
                x_hop=beats,
                y_hop=beats,
                outer=layout.n_heads * layout.head // config.cols,
                dst=self.registers.address(VALUE, layout.values * beats),
                dst_hop=layout.value_hop * beats,
                to=To.VALUES,
            ),
            narrowed(
                "queries",
                q,
                QUERIES,
                integers.queries,
                inner=head * layout.n_heads,
                dst=self.buffer["q"],
                to=To.MEM,
            ),
            *heads.scores(self, self.part[0]),
        ]


def index_steps(
    config: Config, registers: Registers, layout: AttentionLayout, counted: dict[str, int]
) -> list[Step]:
    """The steps that compute the address registers from the position. `counted`: the registers of a
    compact tile that count blocks, see `Attention`."""

    def index(name, right, times, value):
        bits = max(1, (layout.context - 1 >> right).bit_length()) if config.compact else 0
        return step(
            isa_of(config).make(
                Op.INDEX,
                register=registers[name],
                source=Source.POSITION,
                right=right,
                bits=bits,
                times=times,
                value=value,
            ),
            after=IN_ORDER,
        )

    key_granules = layout.head // config.rows * config.granules_per_word
    return [
        index(KEY, log2(config.cols), key_granules, 0),
        index(VALUE, log2(config.rows), config.beats_per_result, 0),
        *(index(name, log2(config.block), times, registers.value(name)) for name, times in counted.items()),
    ]
