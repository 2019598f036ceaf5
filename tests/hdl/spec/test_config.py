"""The configuration: what is legal, and when two tiles are one."""

from dataclasses import MISSING, asdict, fields, replace

import pytest

from marey.hdl.spec.config import LATER, PRESETS, Config, ConfigError, preset
from marey.hdl.spec.field import options

GOOD = PRESETS["sim8x8"]


@pytest.mark.parametrize(("field", "value"), [
    ("rows", 3), ("rows", 0), ("rows", 128), ("cols", 6), ("lanes", 16), ("lanes", 0), ("weight_bits", 5),
    ("wram_depth", 0), ("mem_depth", -1), ("program_depth", 2.5), ("link_timeout", 15), ("wram_depth", 1 << 24),
    ("mem_depth", True), ("rows", "8"), ("crc_bits", 3),
    ("gelu", 2), ("gelu", True), ("compact", 2), ("compact", -1), ("compact", True), ("wram_latency", 3),
    ("wram_latency", 0), ("wram_ports", 3), ("wram_ports", 0),
    ("act_depth", 1 << 14), ("x_depth", 8193), ("y_depth", 100), ("y_depth", 1 << 14), ("act_first", -1),
])
def test_a_bad_field_is_named(field, value):
    with pytest.raises(ConfigError, match=field) as caught:
        replace(GOOD, **{field: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("shape", "field"), [((4, 16, 1, 8), "lanes"), ((16, 4, 1, 8), "lanes"), ((64, 4, 4, 8), "lanes"),
                                              ((8, 64, 8, 4), "rows")])
def test_a_block_of_the_cache_can_be_counted(shape, field):
    """A tile whose instructions could not count the beats of a block would run no model: it is refused when it is made."""
    rows, cols, lanes, weight_bits = shape
    with pytest.raises(ConfigError, match=rf"{field} \(.*a block of the KV cache would take \d+ beats"):
        replace(GOOD, rows=rows, cols=cols, lanes=lanes, weight_bits=weight_bits)
    assert replace(GOOD, rows=4, cols=16, lanes=2).block == 16
    assert replace(GOOD, rows=4, cols=16, lanes=1, compact=1, wram_depth=512, mem_depth=512).compact


@pytest.mark.parametrize("about", options(Config), ids=lambda about: about.name)
def test_the_legal_values_of_a_field_are_those_that_it_says(about):
    """A value just outside is refused for being none of them; one inside is not, whatever else may be wrong with it."""
    numbers = {*range(-1, 130), 255, 256, 4096, 4097}
    assert about.meaning and (about.default is None or about.holds(about.default))
    for value in numbers:
        try:
            replace(GOOD, **{about.name: value})
            refused = False
        except ConfigError as error:
            refused = f"{about.name} must be {about.legal}, not {value}" in str(error)
        assert refused != about.holds(value), value


def test_hash_tells_all_fields_that_a_program_depends_on():
    assert replace(GOOD, name="other", link_timeout=100, crc_bits=8).hash == GOOD.hash
    changed = {"rows": 16, "cols": 16, "lanes": 4, "weight_bits": 4, "wram_depth": 100, "mem_depth": 100,
               "program_depth": 100, "scalars": 16, "compact": 1, "wram_ports": 1, "wram_latency": 2,
               "act_first": 64, "act_depth": 64, "x_depth": 100, "y_depth": 64, "multiply_bits": 4, "gelu": 1,
               "sdram": 1, "sdram_mhz": 80, "sdram_rate": 2, "sdram_sweep_us": 40_000, "reduce_stages": 3, "token_bits": 18,
               "paired": 1, "cache_bits": 4, "sum_stages": 2, "chained": 1}
    assert set(changed) == {field.name for field in fields(Config)} - {"name", "link_timeout", "crc_bits"}
    small = replace(GOOD, wram_depth=1024, mem_depth=1024)
    more = {"sdram_mhz": {"sdram": 1}, "sdram_rate": {"sdram": 1, "sdram_mhz": 70}, "sdram_sweep_us": {"sdram": 1},
            "paired": {"weight_bits": 4}, "cache_bits": {"weight_bits": 4},
            "chained": {"compact": 1, "lanes": 1, "cols": 4, "mem_depth": 256}}
    hashes = {replace(small, **{field: value} | more.get(field, {})).hash for field, value in changed.items()}
    assert len(hashes | {small.hash}) == len(changed) + 1


HASHES = {"sim8x8": 0xE96BCB91, "sim8x8_int4": 0x2FDBFA66, "ecp5_8x8": 0x6BECDA0B, "up5k_4x4": 0x43C8E3C9}
"""What tiles answered before configurations had the fields in `LATER`."""


def test_a_field_that_is_added_leaves_the_hash_of_tiles_that_have_its_default():
    assert {name: replace(PRESETS[name], paired=0, cache_bits=8, chained=0).hash for name in HASHES} == HASHES
    defaults = {field.name: field.default for field in fields(Config)}
    assert all(defaults[name] is not MISSING for name in LATER)


@pytest.mark.parametrize(("field", "value"), [("mem_depth", 2048), ("wram_depth", 1 << 15), ("scalars", 128)])
def test_a_compact_tile_has_no_more_than_its_instructions_address(field, value):
    with pytest.raises(ConfigError, match=f"{field} of a compact tile must be at most"):
        replace(preset("up5k_4x4"), act_first=0, act_depth=0, x_depth=0, y_depth=0, **{field: value})


def test_presets():
    assert {"sim8x8", "sim4x4"} <= set(PRESETS)
    for name in PRESETS:
        assert preset(name).name == name
        assert Config(**asdict(preset(name))) == preset(name)
    with pytest.raises(ConfigError, match="sim8x8"):
        preset("nonesuch")


def test_keys_of_4_bits_are_words_of_weights_of_4_bits():
    assert replace(GOOD, weight_bits=4, cache_bits=4).wide_beats == 1
    for others in ({}, {"weight_bits": 4, "paired": 1}):
        with pytest.raises(ConfigError, match="cache_bits 4 needs weight_bits 4 without paired"):
            replace(GOOD, cache_bits=4, **others)


def test_only_a_compact_tile_with_one_lane_and_four_columns_is_chained():
    assert replace(preset("tiny4x4"), compact=1, chained=1, mem_depth=64, wram_depth=64).chained
    for others in ({}, {"compact": 1, "cols": 8}, {"compact": 1, "lanes": 2}):
        with pytest.raises(ConfigError, match="chained needs a compact tile with one lane and four columns"):
            replace(preset("tiny4x4"), chained=1, mem_depth=64, wram_depth=64, **others)


def test_a_memory_with_one_port_has_no_register_behind_it():
    """Such a tile was accepted, and its products had the weights of the cycle before."""
    sizes = {"name": "one", "rows": 4, "cols": 4, "lanes": 2, "wram_depth": 64, "mem_depth": 64}
    assert Config(**sizes, wram_ports=1).wram_latency == 1 and Config(**sizes, wram_latency=2).wram_ports == 2
    with pytest.raises(ConfigError, match="wram_latency must be 1 where wram_ports is 1"):
        Config(**sizes, wram_ports=1, wram_latency=2)
