"""A program: everything that a tile and its driver need, in one object and in one file."""

import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..hdl.config import Config
from ..hdl.errors import MareyError
from ..hdl.isa import Instruction, Isa
from ..hdl.rules import check
from .assembly import disassemble
from .lowering import Group, Segment, lower
from .model import Llama, ModelConfig
from .quantise import Norm, QuantisedLayer, QuantisedModel, quantise
from .tokenizer import Tokenizer

VERSION = 1
"""Counts changes of the file format."""
RECORDS = {kind.__name__: kind for kind in (ModelConfig, Norm, QuantisedLayer, QuantisedModel)}
"""What a program file's description may contain beside plain values and arrays."""

DAMAGE = (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error,
          struct.error, OverflowError)
"""What the libraries that read an archive raise when it is damaged."""


class ProgramFileError(MareyError):
    """A file that is no program, or is damaged, or is another version's."""


@dataclass(frozen=True)
class Program:
    """Segments to run, groups to load, and for a model the integers that the host computes with.

    `model` (its `linears` left out: they are in the groups) and `tokenizer` are None for a program assembled by hand.
    """

    config: Config
    groups: list[Group]
    segments: list[Segment]
    name: str = ""
    model: QuantisedModel | None = None
    tokenizer: Tokenizer | None = None

    @classmethod
    def from_instructions(cls, config: Config, instructions: list[Instruction]) -> "Program":
        """A bare program with one entry, its first instruction. ProgramError if it breaks a rule of the tile."""
        segment = Segment(linear="", first=0, outputs=0, inputs=0, vectors=0, group=0, entry=0, act=0, dst=0, inner=0,
                          outer=0, cycles=check(config, instructions))
        nothing = np.zeros((0, config.cols, config.rows), np.int8)
        return cls(config, [Group(instructions, nothing, np.zeros(0, np.int16), 0)], [segment])

    @property
    def resident(self) -> bool:
        """All of it is in the tile at once; otherwise it is streamed, group after group."""
        return len(self.groups) == 1

    @cached_property
    def token_cycles(self) -> int:
        """Predicted cycles of a token's runs; the same for every token."""
        return sum(segment.cycles for segment in self.segments)

    def check_config(self, config: Config) -> None:
        """MareyError unless the program was compiled for a tile like this."""
        if self.config.hash != config.hash:
            raise MareyError(f"this program is for configuration {self.config.name} ({self.config.hash:08x}), and the tile "
                             f"is {config.name} ({config.hash:08x}): compile it with --config {config.name}")

    def summary(self) -> str:
        """One line: what it is and what it takes."""
        words = sum(len(group.weights) for group in self.groups)
        how = "resident" if self.resident else f"streamed in {len(self.groups)} groups"
        return (f"{self.config.name}, {how}, {sum(len(group.program) for group in self.groups)} instructions, "
                f"{words} W-RAM words of {self.config.wram_depth}, {self.token_cycles} cycles")

    def listing(self) -> Iterator[str]:
        """The readable timetable, line by line; it assembles to the same instructions."""
        yield f"; configuration {self.config.name} ({self.config.hash:08x}); {self.summary()}"
        for number, group in enumerate(self.groups):
            if not self.resident:
                yield f"; group {number}: {len(group.weights)} W-RAM words"
            entries = {segment.entry: f"{_title(segment)}: {segment.cycles} cycles"
                       for segment in self.segments if segment.group == number}
            yield from disassemble(self.config, group.program, entries)

    def save(self, path: Path) -> None:
        """Writes the program as a numpy archive: arrays, and a JSON description."""
        arrays: dict[str, np.ndarray] = {}
        description = {
            "marey": VERSION, "config": asdict(self.config), "name": self.name,
            "segments": [asdict(segment) for segment in self.segments], "groups": [],
            "model": _pack(self.model, "model", arrays),
        }
        size = (Isa(self.config).width + 7) // 8
        for number, group in enumerate(self.groups):
            codes = b"".join(code.to_bytes(size, "little") for code in group.codes(self.config))
            arrays[f"group{number}.program"] = np.frombuffer(codes, np.uint8).reshape(-1, size)
            arrays[f"group{number}.weights"] = group.weights
            arrays[f"group{number}.factors"] = group.factors
            description["groups"].append({"factors_at": group.factors_at, "notes": [i.note for i in group.program]})
        if self.tokenizer:
            arrays["tokenizer.pieces"] = np.frombuffer(b"".join(self.tokenizer.pieces), np.uint8)
            arrays["tokenizer.lengths"] = np.array([len(piece) for piece in self.tokenizer.pieces])
            arrays["tokenizer.scores"] = np.array(self.tokenizer.scores)
        arrays["description"] = np.frombuffer(json.dumps(description).encode(), np.uint8)
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Program":
        """Reads a program file, and checks it against the rules of the tile. ProgramFileError if it is none."""
        if not path.is_file():
            raise ProgramFileError(f"{path}: no such file")
        try:
            arrays = _read_arrays(path)
            description = json.loads(bytes(arrays["description"]))
            if description["marey"] != VERSION:
                raise ProgramFileError(f"{path}: version {description['marey']} of the program format, and this Marey reads "
                                       f"version {VERSION}: compile it again")
            program = _unpack_program(description, arrays)
        except MareyError as error:
            raise ProgramFileError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
        except DAMAGE:
            raise ProgramFileError(f"{path}: damaged, or not a program that `marey compile` or `marey asm` wrote") from None
        for segment in program.segments:
            cycles = check(program.config, program.groups[segment.group].program, segment.entry)
            if cycles != segment.cycles:
                raise ProgramFileError(f"{path}: says {segment.cycles} cycles for {_title(segment)}, but its instructions "
                                       f"take {cycles}: damaged")
        return program


def compile_model(model: Llama, config: Config, tokenizer: Tokenizer | None = None, name: str = "") -> Program:
    """Quantises, lowers, schedules and checks a model for a configuration. CompileError if it cannot run there."""
    quantised = quantise(model, config.weight_bits)
    groups, segments = lower(config, quantised.linears)
    return Program(config, groups, segments, name, replace(quantised, linears={}), tokenizer)


def _read_arrays(path):
    """The arrays of an archive, whose checksums are tested before anything is made of its contents."""
    with path.open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            if archive.testzip() is not None:
                raise zipfile.BadZipFile
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            return dict(archive)


def _title(segment):
    return f"{segment.linear}[{segment.first}:{segment.first + segment.outputs}]" if segment.linear else "program"


def _pack(value, path, arrays):
    """A value as JSON, its arrays put aside under their paths."""
    if is_dataclass(value):
        return {"record": type(value).__name__,
                **{field.name: _pack(getattr(value, field.name), f"{path}.{field.name}", arrays) for field in fields(value)}}
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {"array": path}
    if isinstance(value, list):
        return [_pack(item, f"{path}.{index}", arrays) for index, item in enumerate(value)]
    return value


def _unpack(value, arrays):
    """What `_pack` packed."""
    if isinstance(value, list):
        return [_unpack(item, arrays) for item in value]
    if isinstance(value, dict) and "array" in value:
        return arrays[value["array"]]
    if isinstance(value, dict) and "record" in value:
        return RECORDS[value["record"]](**{name: _unpack(item, arrays) for name, item in value.items() if name != "record"})
    return value


def _unpack_program(description, arrays):
    config = Config(**description["config"])
    isa = Isa(config)
    groups = []
    for number, about in enumerate(description["groups"]):
        codes = arrays[f"group{number}.program"]
        instructions = [replace(isa.decode(int.from_bytes(code.tobytes(), "little")), note=note)
                        for code, note in zip(codes, about["notes"], strict=True)]
        groups.append(Group(instructions, arrays[f"group{number}.weights"], arrays[f"group{number}.factors"],
                            about["factors_at"]))
    tokenizer = None
    if "tokenizer.pieces" in arrays:
        content, ends = arrays["tokenizer.pieces"].tobytes(), np.cumsum(arrays["tokenizer.lengths"])
        tokenizer = Tokenizer([content[end - length:end] for end, length in zip(ends, arrays["tokenizer.lengths"],
                                                                               strict=True)],
                              arrays["tokenizer.scores"].tolist())
    return Program(config, groups, [Segment(**segment) for segment in description["segments"]], description["name"],
                   _unpack(description["model"], arrays), tokenizer)
