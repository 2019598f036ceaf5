"""The pins: digests of compiled programs and of generated Verilog, which `tests/test_pins.py`
compares.

`python -m tests.pins` computes all digests and writes them to `tests/pins.json`. Run it after a
change that is meant to alter a program, a quantised model or a tile's Verilog; the commit must say
which digests changed and why.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np

from marey.hdl.spec.config import PRESETS, Config
from marey.hdl.verilog import generate
from marey.sw.compiler.compile import compile_quantised, schedule
from marey.sw.compiler.integers import integers_for
from marey.sw.compiler.layout import CompileError
from marey.sw.compiler.plan import lay_out_model
from marey.sw.formats import DEFAULT_MODEL, load_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.program.program import Program
from marey.sw.quant.outline import outline_of_shape
from marey.sw.quant.quantise import quantise
from tests.configs import INT4, MODELS, ONE_PORT, ROOMY

FILE = Path(__file__).with_name("pins.json")
STORIES = Path(__file__).parents[2] / "shared" / "models" / "stories260K.bin"
STREAMED = [replace(config, wram_depth=depth, mem_depth=1 << 14) for config, depth in zip(ROOMY, (900, 900, 450, 900, 250),
                                                                                          strict=True)]
"""Tiles with too little W-RAM for the drawn models, which are streamed there."""
QUICK_TILES = ("s4", "w48", "q48", "p4")
"""Names of the tiles whose programs `make test` compares; `make test-slow` compares those of all
tiles."""
QUICK_PRESETS = ("tiny4x8", "up5k_4x4")
"""Presets whose Verilog `make test` compares; `make test-slow` compares that of all presets."""


def verilog_digests(names: Iterable[str] = PRESETS) -> dict[str, str]:
    """SHA-256 of the Verilog text of presets, by the preset's name."""
    return {name: generate(PRESETS[name])[1]["sha256"] for name in names}


def program_digest(program: Program) -> str:
    """SHA-256 over a program's instructions, W-RAM words, MEM constants, streamed segments and facts of the model."""
    digest = hashlib.sha256()
    image = program.image
    # Blocks of a prompt have instructions of their own behind the others.
    end = program.stream.block.entry if program.stream and program.stream.block else None
    digest.update(repr((image.codes(program.config)[:end], image.granule, program.model.context, program.model.words,
                        program.model.granules, program.model.logits, program.model.scale)).encode())
    arrays = [image.weights, image.constants]
    if program.stream:
        facts = {name: value for name, value in asdict(program.stream).items() if not isinstance(value, np.ndarray)}
        for section in (facts["begin"], *facts["layer"], *facts["end"]):
            # The digest leaves out names, which no tile sees, fields that follow from the operations, and those that are for
            # external memory; it has fields that were for it when the pins were made.
            for name in ("steps", "cached", "chooses", "before", "after", "later_granules"):
                section.pop(name, None)
            section |= {"far": 0, "stride": 0, "chunk_bits": 0}
        far = facts.pop("external"), facts.pop("logits_far")
        facts.pop("cache_bursts")
        if far[0]:
            digest.update(repr(far).encode())
        facts.pop("block")
        facts.pop("no_block")
        digest.update(json.dumps(facts, sort_keys=True).encode())
        arrays += [value.ravel() if name == "factors" else value for name, value in vars(program.stream).items()
                   if isinstance(value, np.ndarray) and (value.size or name != "positions")]
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def drawn_digests(tiles: Iterable[str] = ()) -> Iterator[tuple[str, str]]:
    """(name, digest) for whole programs of drawn models: resident on every kind of tile, and
    streamed.

    `tiles`: names of the tiles to include; all if empty. The digest is "refused" for a CompileError.
    """
    quantised = cache(lambda shape, bits, cache_bits: quantise(tiny_model(shape), bits, cache_bits=cache_bits))
    for kind, configs in (("resident", ROOMY + INT4 + ONE_PORT), ("streamed", STREAMED)):
        for config in (config for config in configs if not tiles or config.name in tiles):
            for shape, name in MODELS.items():
                yield f"{kind} {config.name}: {name}", _or_error(lambda config=config, shape=shape: program_digest(
                    compile_quantised(quantised(shape, config.weight_bits, config.cache_bits), config)))


def shape_digests(path: Path) -> Iterator[tuple[str, str]]:
    """(name, digest) for the program of a model file on each preset; without weights, so that only
    the schedule counts."""
    model = load_model(path)
    for name, config in PRESETS.items():
        yield f"{path.stem} on {name}", _or_error(lambda config=config: program_digest(_scheduled(model, config)))


def real_digests(path: Path, config: Config) -> str:
    """Digest of the whole program of a model file: quantised, with its weights and constants."""
    model = load_model(path)
    return program_digest(compile_quantised(quantise(model, **integers_for(config, model.config, model)), config))


REAL = [(DEFAULT_MODEL, "sim8x8"), (DEFAULT_MODEL, "sim8x8_int4"), (DEFAULT_MODEL, "up5k_4x4"), (STORIES, "sim8x8")]
"""Model files and presets whose whole programs are pinned; each takes a calibration of half a minute."""


def _scheduled(model, config):
    outline = outline_of_shape(model.config, model=model, **integers_for(config, model.config, model))
    return schedule(lay_out_model(config, outline), outline)


def _or_error(make):
    try:
        return make()
    except CompileError:
        return "refused"


def main() -> None:
    """Writes all pins to `FILE`."""
    pins = {"verilog": verilog_digests(), "drawn": dict(drawn_digests()),
            "shapes": dict(shape_digests(DEFAULT_MODEL)) | dict(shape_digests(STORIES)),
            "real": {f"{path.stem} on {name}": real_digests(path, PRESETS[name]) for path, name in REAL}}
    FILE.write_text(json.dumps(pins, indent=1) + "\n")


if __name__ == "__main__":
    main()
