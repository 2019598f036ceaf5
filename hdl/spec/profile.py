"""The two kinds of tile, and what each has besides the sizes in its configuration."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a kind of tile has. `Config.profile` is the one of a configuration.

    Hardware:

    engines              engines of the VXM: instructions that it works at in turns
    accumulator_bits     width of the MXM's sums
    scalar_banks         banks of scalar registers; registers in one bank share its write port
    most_wram_latency    the longest `Config.wram_latency`, in cycles
    instruction_rows     True if an instruction is read in rows, one a cycle (see `row_encoding`),
                         False if as a whole

    Instructions:

    counts_in_registers  True if a count and the wait of a NOP may have an address register added;
                         False if they may be in blocks or periods (`blocks`, `turns`)
    most_block_beats     most beats of an instruction for a block of the KV cache: a count in blocks is a
                         shift of at most 3 (`instructions.MOST_SHIFT`); None where registers hold counts
    registers            address registers; more are needed where counts have them, too
    counters             loop counters, which is how deep loops nest

    Widths in bits. None means no limit of its own: the field is as wide as the configuration needs.

    register_bits        an address register
    count_over_granule   width of a count less the width of a granule address
    most_count_bits      the widest count
    mxm_outer_bits       `outer` and `wrap` of an MXM
    vxm_outer_bits       `outer` of a VXM
    loop_count_bits      `count` of a LOOP
    most_hop_bits        the widest `x_hop` and `y_hop` of a VXM
    most_dst_hop_bits    the widest `dst_hop`
    into_less_scalar     width of a scalar register's number less the width of a VXM's `into`
    wram_address_bits    an address in W-RAM: a part (granule or group of columns) of a word
    word_address_bits    an address of a word in MEM
    granule_address_bits an address of a granule in MEM
    scalar_address_bits  the number of a scalar register
    """

    name: str
    engines: int
    accumulator_bits: int
    scalar_banks: int
    most_wram_latency: int
    instruction_rows: bool
    counts_in_registers: bool
    most_block_beats: int | None = None
    registers: int
    counters: int
    register_bits: int | None = None
    count_over_granule: int
    most_count_bits: int
    mxm_outer_bits: int | None = None
    vxm_outer_bits: int | None = None
    loop_count_bits: int | None = None
    most_hop_bits: int | None = None
    most_dst_hop_bits: int | None = None
    into_less_scalar: int = 0
    wram_address_bits: int | None = None
    word_address_bits: int | None = None
    granule_address_bits: int | None = None
    scalar_address_bits: int | None = None

    def depth_limits(self, granules_per_word: int, beats_per_result: int) -> dict[str, int]:
        """The largest values of fields of `Config` that instructions can address.

        The keys are `wram_depth`, `mem_depth` and `scalars`; a field without a limit is left out.
        """
        found = {}
        for field, bits, parts in (
            ("wram_depth", self.wram_address_bits, max(granules_per_word, beats_per_result)),
            ("mem_depth", self.word_address_bits, 1),
            ("mem_depth", self.granule_address_bits, granules_per_word),
            ("scalars", self.scalar_address_bits, 1),
        ):
            if bits is not None:
                limit = (1 << bits) // parts
                found[field] = min(limit, found.get(field, limit))
        return found


FULL = Profile(
    name="full", most_block_beats=8, engines=2, accumulator_bits=32, scalar_banks=2, most_wram_latency=2,
    instruction_rows=False, counts_in_registers=False, registers=8, counters=4,
    count_over_granule=1, most_count_bits=14,
)
"""The kind for devices with room: two VXM engines, deep pipelines."""

COMPACT = Profile(
    name="compact", engines=1, accumulator_bits=24, scalar_banks=1, most_wram_latency=1,
    instruction_rows=True, counts_in_registers=True, registers=16, counters=1, register_bits=16,
    count_over_granule=-1, most_count_bits=10, mxm_outer_bits=7, vxm_outer_bits=6, loop_count_bits=8,
    most_hop_bits=10, most_dst_hop_bits=11, into_less_scalar=1,
    wram_address_bits=16, word_address_bits=10, granule_address_bits=12, scalar_address_bits=6,
)
"""The kind for devices with few logic cells and a slow clock.

No count of it steps through half of MEM or more.
"""

PROFILES = (FULL, COMPACT)
"""By the value of `Config.compact`."""
