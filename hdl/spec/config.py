"""The configuration of a tile: one frozen object, from which every width and depth derives."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace

from .dram_parts import PARTS, PartError, Timing
from .errors import MareyError
from .field import OneOf, PowerOfTwo, Whole, option, options
from .profile import PROFILES, Profile
from .window import Window


class ConfigError(MareyError):
    """A configuration that is not legal, or a name that no preset has."""


LATER = ("gelu", "sdram", "sdram_mhz", "sdram_sweep_us", "reduce_stages", "token_bits", "paired", "sdram_rate", "cache_bits",
         "sum_stages", "chained")
"""Fields that were added later: `Config.hash` leaves them out where they have their default."""
MOST_TOKEN_BITS = 20
"""The widest token: the word of a START has no room for more."""
MAX_BITS = 28
"""Width of a link address, which counts 32-bit words: no memory may need more."""


def address_bits(depth: int) -> int:
    """Bits that address `depth` entries; at least one, so that no port is empty."""
    return max(1, (depth - 1).bit_length())


@dataclass(frozen=True, kw_only=True)
class Config:
    """The sizes and options of a tile.

    Immutable, validated, hashable; `preset()` returns the named ones. The meaning and the legal values of
    each field stand beside it, and `marey configs` prints them; further limits, which depend on several
    fields, stand in `__post_init__`. ConfigError, in one line, for a value that is not legal.
    """

    name: str
    rows: int = option("values in an activation word, and multipliers in a column", PowerOfTwo(1, 64))
    cols: int = option("columns of the MXM: results that are computed at the same time", PowerOfTwo(1, 64))
    lanes: int = option("values that the VXM computes in a cycle; divides rows and cols", PowerOfTwo(1, 64))
    weight_bits: int = option("bits of a weight; with 4, two weights are in a byte", OneOf((8, 4)), 8)
    paired: int = option("1: W-RAM with weights of 4 bits is read two words at a time, so that a word of keys or values, "
                         "which have 8 bits, takes one beat instead of two; multipliers have 8 x 8 bits", OneOf((0, 1)), 0)
    cache_bits: int = option("bits of a key or a value in W-RAM; 4, where weights have 4 bits, so that a word of them is one "
                             "word of W-RAM and takes one beat", OneOf((8, 4)), 8)
    wram_depth: int = option("words of `rows` weights in each column's W-RAM", Whole())
    wram_ports: int = option("with 1, a column's W-RAM is either read or written in a cycle", OneOf((2, 1)), 2)
    wram_latency: int = option("cycles of a read of W-RAM; with 2, a register is behind the memory", OneOf((1, 2)), 1)
    mem_depth: int = option("words of `rows` 16-bit values in MEM", Whole())
    act_first: int = option("first word of MEM that the MXM can read", Whole(0), 0)
    act_depth: int = option("words of MEM that the MXM can read, from act_first on, around the end; 0: all",
                            Whole(0), 0)
    x_depth: int = option("granules of MEM, the first, that the VXM can read as operand x and the host reads; 0: all",
                          Whole(0), 0)
    y_depth: int = option("granules of MEM, the last, that the VXM can read as operand y; 0: all", Whole(0), 0)
    program_depth: int = option("instructions in the program memory", Whole(1, 4096), 512)
    scalars: int = option("scalar registers; reductions write the lower half, SFU instructions the upper half",
                          PowerOfTwo(8), 64)
    compact: int = option("1: for a device with few logic cells and a slow clock", OneOf((0, 1)), 0)
    link_timeout: int = option("clock cycles without a word after which the link gives up a frame", Whole(16), 1024)
    crc_bits: int = option("bits of a link word that enter its checksum in a cycle", OneOf((32, 16, 8, 4, 2, 1)), 32)
    multiply_bits: int = option("bits of a scalar that are multiplied in a cycle", OneOf((16, 8, 4, 2, 1)), 8)
    gelu: int = option("1: the VXM has the function GELU, at the price of a second table in each lane", OneOf((0, 1)), 0)
    reduce_stages: int = option("registers in the trees of the VXM's reductions, each a cycle; more allow a faster clock where "
                                "there are many lanes", Whole(1, 6), 2)
    sum_stages: int = option("registers in the trees of the MXM's sums, each a cycle; more allow a faster clock where "
                             "multipliers lie all over a device", Whole(1, 4), 1)
    token_bits: int = option("bits of a token: a vocabulary has 2 to this many entries at most", Whole(16, MOST_TOKEN_BITS), 16)
    chained: int = option("1: a VXM that takes the MXM's results can go on with them before the next ones come: add up their "
                          "squares, apply SILU, or turn pairs; on a compact tile with one lane and four columns",
                          OneOf((0, 1)), 0)
    sdram: int = option("external memory; 0: none, " + ", ".join(f"{n}: {name}" for n, name in enumerate(PARTS, 1)),
                        OneOf(range(len(PARTS) + 1)), 0)
    sdram_mhz: int = option("the tile's clock, by which the external memory is timed", Whole(1, 200), 100)
    sdram_rate: int = option("cycles of the external memory in one of the tile's", OneOf((1, 2)), 1)
    sdram_sweep_us: int = option("0: moves refresh the external memory; else programs do it by reading, and this is the "
                                 "longest run, in microseconds", Whole(0, 1 << 16), 0)

    def __post_init__(self):
        def require(condition, what):
            if not condition:
                raise ConfigError(f"configuration {self.name!r}: {what}")

        require(isinstance(self.name, str), "its name must be a text")
        for field in options(Config):
            value = getattr(self, field.name)
            require(field.holds(value), f"{field.name} must be {field.legal}, not {value!r}")
        require(self.rows % self.lanes == 0 and self.cols % self.lanes == 0,
                f"lanes ({self.lanes}) must divide rows ({self.rows}) and cols ({self.cols})")
        for port, window in self.windows.items():
            require(window.legal, f"{port}_depth {window.depth} from {window.first} on is no window of {window.size}: it must "
                                  "begin at 0 or be a power of two")
        profile = self.profile
        for name, beats in (("lanes", self.block // self.lanes), ("rows", self.block // self.rows * self.wide_beats),
                            ("cols", self.block // self.cols)):
            most = profile.most_block_beats or beats
            require(beats <= most, f"{name} ({getattr(self, name)}) is too small beside {self.block}: a block of the KV cache "
                                   f"would take {beats} beats, and an instruction counts {most} at most")
        require(self.wram_latency <= profile.most_wram_latency,
                f"wram_latency of a {profile.name} tile must be at most {profile.most_wram_latency}, not "
                f"{self.wram_latency}")
        for name, most in profile.depth_limits(self.granules_per_word, self.beats_per_result).items():
            require(getattr(self, name) <= most,
                    f"{name} of a {profile.name} tile must be at most {most}, not {getattr(self, name)}")
        require(not self.compact or self.reduce_stages == 2,
                "a compact tile has no registers in the trees of reductions: leave reduce_stages at 2")
        require(not self.compact or self.sum_stages == 1,
                "a compact tile has no registers in the trees of sums: leave sum_stages at 1")
        require(not self.compact or self.token_bits == 16, "a compact tile has tokens of 16 bits: leave token_bits at 16")
        require(not self.chained or (self.compact and self.lanes == 1 and self.cols == 4),
                "chained needs a compact tile with one lane and four columns")
        require(not self.paired or (self.weight_bits == 4 and self.wram_ports == 2 and self.rows > 1
                                    and self.wram_depth % 2 == 0),
                "paired needs weight_bits 4, wram_ports 2, two rows or more and an even wram_depth")
        require(self.cache_bits == 8 or (self.weight_bits == 4 and not self.paired),
                "cache_bits 4 needs weight_bits 4 without paired, which has keys and values of 8 bits")
        require(self.wram_ports == 2 or self.wram_latency == 1,
                "wram_latency must be 1 where wram_ports is 1: that memory has no register behind it")
        if self.sdram:
            self._check_memory(require)
        require(self.sdram or (self.sdram_mhz == 100 and self.sdram_rate == 1 and not self.sdram_sweep_us),
                "sdram_mhz, sdram_rate and sdram_sweep_us are for a tile with external memory: set sdram, too")
        for name, words in (("wram_depth", self.wram_depth * self.cols * self.rows * self.weight_bits // 32),
                            ("mem_depth", self.mem_depth * self.rows), ("program_depth", self.program_depth * 8)):
            require(words < 1 << MAX_BITS, f"{name} {getattr(self, name)} is more than the link can address")

    def _check_memory(self, require):
        """Holds a tile with external memory to what such a tile must be."""
        require(not self.compact, "a compact tile has no external memory: set compact or sdram to 0")
        require(self.wram_ports == 2, "external memory needs a W-RAM that is read and written at once: set wram_ports to 2")
        try:
            bus_bits = self.memory.part.bus_bits
        except PartError as error:
            require(False, str(error))
        for name, bits in (("rows", self.rows * self.weight_bits), ("lanes", self.lanes * 16)):
            require(bits % bus_bits == 0, f"{name} ({getattr(self, name)}) is too small for external memory: an entry of "
                                          f"{bits} bits is no multiple of the {bus_bits} bits of its bus")

    @property
    def memory(self) -> Timing | None:
        """The external memory, in cycles of the tile's clock; None if the tile has none."""
        if not self.sdram:
            return None
        timing = list(PARTS.values())[self.sdram - 1].at(self.sdram_mhz, self.sdram_rate)
        return replace(timing, sweep=self.sdram_sweep_us * self.sdram_mhz,
                       entry_words=max(1, self.rows * self.weight_bits // timing.part.bus_bits))

    @property
    def profile(self) -> Profile:
        """The kind of the tile, full or compact, with all that the kind decides."""
        return PROFILES[self.compact]

    @property
    def macs(self) -> int:
        """Multiply-accumulates a cycle at full rate."""
        return self.rows * self.cols

    @property
    def granules(self) -> int:
        """Granules in MEM. The VXM reads or writes one granule, `lanes` 16-bit values, a cycle."""
        return self.mem_depth * self.rows // self.lanes

    @property
    def granules_per_word(self) -> int:
        """Granules in one activation word."""
        return self.rows // self.lanes

    @property
    def engines(self) -> int:
        """Engines of the VXM: see `Profile.engines`."""
        return self.profile.engines

    @property
    def accumulator_bits(self) -> int:
        """Width of the MXM's sums."""
        return self.profile.accumulator_bits

    @property
    def windows(self) -> dict[str, Window]:
        """The part of MEM that each port can read: `act` in words, `x` and `y` in granules."""
        y_depth = self.y_depth or self.granules
        return {"act": Window(self.act_first, self.act_depth or self.mem_depth, self.mem_depth),
                "x": Window(0, self.x_depth or self.granules, self.granules),
                "y": Window(max(self.granules - y_depth, 0), y_depth, self.granules)}

    @property
    def whole(self) -> bool:
        """Whether every port can read all of MEM."""
        return all(window.whole for window in self.windows.values())

    @property
    def block(self) -> int:
        """Positions in a block of the KV cache.

        The columns hold the keys of `cols` positions, a W-RAM word the values of `rows`: the larger
        counts.
        """
        return max(self.rows, self.cols)

    @property
    def beats_per_result(self) -> int:
        """Granules in one result of the MXM: the VXM takes its `cols` values in so many cycles."""
        return self.cols // self.lanes

    @property
    def wide_words(self) -> int:
        """W-RAM words that hold a word of `rows` keys or values: one, or two if these have 8 bits and weights 4."""
        return self.cache_bits // self.weight_bits

    @property
    def wide_beats(self) -> int:
        """Beats of the MXM for a word of keys or values in W-RAM."""
        return 1 if self.paired else self.wide_words

    @property
    def column_words(self) -> int:
        """Words of the memory that is a column's W-RAM: half of `wram_depth` where it holds pairs of words."""
        return self.wram_depth // (1 + self.paired)

    @property
    def column_bits(self) -> int:
        """Bits of a row in a word of that memory."""
        return self.weight_bits * (1 + self.paired)

    @property
    def weights(self) -> int:
        """Weights that fit into W-RAM."""
        return self.wram_depth * self.rows * self.cols

    @property
    def hash(self) -> int:
        """32 bits that tell configurations apart.

        A tile answers with them, and a program's image has them.

        Fields on which no program depends do not count: `name`, `link_timeout` and `crc_bits`. A field
        in `LATER` counts only where it is not its default: a tile that was built before the field
        existed keeps its hash.
        """
        defaults = {field.name: field.default for field in fields(self) if field.name in LATER}
        left_out = {"name", "link_timeout", "crc_bits"} | {
            name for name, default in defaults.items() if getattr(self, name) == default}
        facts = {key: value for key, value in asdict(self).items() if key not in left_out}
        return int.from_bytes(hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()[:4], "little")


PRESETS = {
    config.name: config
    for config in (
        # For simulation: memories as large as the benchmark's 512x512 matrix and stories260K need.
        Config(name="sim8x8", rows=8, cols=8, lanes=8, wram_depth=8192, mem_depth=8192),
        Config(name="sim4x4", rows=4, cols=4, lanes=4, wram_depth=32768, mem_depth=8192),
        # The same with the VXM function that GPT-2's family needs.
        Config(name="sim8x8_gelu", rows=8, cols=8, lanes=8, wram_depth=8192, mem_depth=8192, gelu=1),
        # The same with weights of 4 bits.
        Config(name="sim8x8_int4", rows=8, cols=8, lanes=8, weight_bits=4, paired=1, wram_depth=8192, mem_depth=8192),
        # An LPU in simulation, for language models: 512 MB of weights on the chip, and every function.
        Config(name="lpu16x16", rows=16, cols=16, lanes=16, wram_depth=1 << 21, mem_depth=1 << 17, scalars=256, gelu=1,
               token_bits=18),
        # For an ECP5-45F: 64 + 8 of its 72 multipliers, 128 KB of weights in block RAM.
        Config(name="ecp5_8x8", rows=8, cols=8, lanes=4, wram_depth=2048, wram_latency=2, mem_depth=1024, crc_bits=8),
        # The same with weights of 4 bits, which has the model that ships resident.
        Config(name="ecp5_8x8_int4", rows=8, cols=8, lanes=4, weight_bits=4, paired=1, wram_depth=4096, wram_latency=2,
               mem_depth=1024, crc_bits=8),
        # For an ECP5-85F: 128 + 16 of its 156 multipliers, stories260K resident with a context of 128.
        Config(name="ecp5_8x16", rows=8, cols=16, lanes=8, wram_depth=2560, wram_latency=2, mem_depth=1024, act_first=896,
               act_depth=256, crc_bits=8, reduce_stages=3, sum_stages=2),
        # For an ECP5-85F with a ULX3S's SDRAM: a context of 64 for a model of stories15M's shape, and blocks of 8 positions.
        # The chip has two cycles in one of the tile's. With weights of 8 bits, wires to eight lanes would not meet the clock.
        Config(name="ecp5_8x8_sdram", rows=8, cols=8, lanes=4, wram_depth=4096, wram_latency=2, mem_depth=2048,
               program_depth=1024, crc_bits=8, sdram=1, sdram_mhz=70, sdram_rate=2),
        Config(name="ecp5_8x8_int4_sdram", rows=8, cols=8, lanes=8, weight_bits=4, paired=1, wram_depth=8192, wram_latency=2,
               mem_depth=2048, program_depth=1024, crc_bits=8, reduce_stages=3, sdram=1, sdram_mhz=70, sdram_rate=2),
        # For an ECP5-45F with a Colorlight i9's SDRAM of 32 bits.
        Config(name="ecp5_8x8_int4_sdram32", rows=8, cols=8, lanes=4, weight_bits=4, paired=1, wram_depth=4096, wram_latency=2,
               mem_depth=1024, program_depth=1024, crc_bits=8, sdram=3, sdram_mhz=80),
        # For an ECP5-25F: 16 + 1 of its 28 multipliers.
        Config(name="ecp5_4x4", rows=4, cols=4, lanes=1, wram_depth=2048, mem_depth=1024, crc_bits=8),
        # For an iCE40 UP5K: a column's weights are one of its four 32 KB single-port RAMs; MEM is 12 of its 30 block RAMs.
        Config(name="up5k_4x4", rows=4, cols=4, lanes=1, weight_bits=4, cache_bits=4, wram_depth=16384, wram_ports=1,
               mem_depth=512, act_first=448, act_depth=256, x_depth=1536, y_depth=1024, program_depth=128, compact=1,
               crc_bits=1, multiply_bits=1, chained=1),
        # For an iCE40 HX8K: no multipliers, 32 block RAMs of half a kilobyte; 10 are MEM, 6 W-RAM: models are streamed.
        Config(name="hx8k_2x2", rows=2, cols=2, lanes=1, wram_depth=768, mem_depth=512, program_depth=128, compact=1,
               crc_bits=1, multiply_bits=1),
        # Small, oblong and narrow on purpose: the shapes that a square tile does not try.
        Config(name="tiny4x4", rows=4, cols=4, lanes=1, wram_depth=16384, mem_depth=4096, program_depth=128),
        Config(name="tiny4x8", rows=4, cols=8, lanes=2, wram_depth=8192, mem_depth=4096, program_depth=128),
    )
}


def preset(name: str) -> Config:
    """The named configuration; ConfigError with the names there are for any other."""
    if name not in PRESETS:
        raise ConfigError(f"no configuration {name!r}: there are {', '.join(PRESETS)}")
    return PRESETS[name]
