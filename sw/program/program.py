"""A program: all that a tile and its driver need to run a model, in one object and in one file."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.errors import MareyError
from ...hdl.spec.isa import Instruction, isa_of
from ...hdl.timing import abridged, blocks, check, run_cycles
from ...sim.files import write_file
from ..model.config import ModelConfig
from ..model.families import graph_of
from ..model.graph import Graph
from ..model.integer_graph import integer_graph
from ..model.network import Network
from ..text.chat import ChatTemplate
from ..text.tokenizer import Tokenizer
from .archive import read_arrays
from .assembly import disassemble
from .image import Image
from .prompt import PromptRun, prompt_runs
from .ranges import ONE, Entries, entry_of, parts_of, read_entries
from .retention import Retention, prove
from .stream import ARRAYS, Stream
from .verified import verify_once

RESIDENT, STREAMED = "resident", "streamed"
"""How a model is run: its weights lie in W-RAM, or come for each token."""
VERSION = 10
"""Version of the file format. It rises when the format, or the meaning of an instruction, changes."""

DAMAGE = (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error,
          struct.error, OverflowError, MemoryError)
"""Exceptions that the libraries raise when they read a damaged archive."""

COMPRESSED_BYTES = 1 << 25
"""Programs of fewer bytes are compressed. Weights lose about a tenth by it, and large ones take many seconds."""


class ProgramFileError(MareyError):
    """The file is no program, is damaged, or has another version of the format."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Facts about a compiled model that its driver needs.

    `shape`: its configuration. `context`: positions that the KV cache has room for. `words`,
    `granules`: of W-RAM and MEM that it takes. `logits`, `scale`: MEM granules at which a token
    leaves its int16 logits and their int16 scale. A logit's value is logit * scale * `logit_unit`.
    `quality`: as in `QuantisedModel`.
    """

    shape: ModelConfig
    context: int
    words: int
    granules: int
    logits: int
    scale: int
    logit_unit: float
    quality: float | None = None


@dataclass(frozen=True)
class Program:
    """A program for a configuration: the image, and for a model its facts, its tokenizer, and its chat
    template if it has one.

    A resident model's program makes one or more tokens in one run; `entries` are its ranges of positions, see `ranges.py`.
    If there is a `stream`, a token takes the stream's runs, or one run if its segments lie in external memory, and the
    image has only what stays on the tile.
    `name`: of the model. `sections`: {number of an instruction: name of the section of the listing
    that begins there}. `network`: of a program that makes no tokens, but turns a vector into another one.
    """

    config: Config
    image: Image
    name: str = ""
    model: ModelFacts | None = None
    tokenizer: Tokenizer | None = None
    sections: dict[int, str] = field(default_factory=dict)
    stream: Stream | None = None
    template: ChatTemplate | None = None
    network: Network | None = None
    entries: Entries = ONE

    @classmethod
    def from_instructions(cls, config: Config, instructions: list[Instruction]) -> "Program":
        """A program without weights, constants and model. ProgramError if it breaks a rule of the
        tile."""
        check(config, instructions)
        return cls(config, Image(instructions, np.zeros((0, config.cols, config.rows), np.int8),
                                 np.zeros((0, config.lanes), np.int16)))

    @property
    def one_run(self) -> bool:
        """Whether a token takes one run."""
        return self.stream is None or self.stream.external

    def entry(self, position: int) -> int:
        """The first instruction of a run that begins at a position, if a token takes one run."""
        return entry_of(self.entries, position)

    def parts(self, position: int, count: int) -> list[tuple[int, int]]:
        """The runs for `count` tokens from a position on, if a token takes one; see `parts_of`."""
        return parts_of(self.entries, position, count)

    def runs(self, wanted: bool = True, position: int = 0) -> list[tuple[int, int, int]]:
        """The runs of the token at a position: [(first instruction, tokens that the run makes, number of such
        runs)].

        `wanted`: the token that follows is computed, which is not needed within a prompt.
        """
        if self.one_run:
            return [(self.entry(position), int(wanted), 1)]
        return [(section.entry, int(section.chooses), times) for section, times in self.stream.counted(wanted)]

    def cycles(self, position: int = 0, wanted: bool = True) -> int:
        """Predicted cycles of the token at a position, all its runs together; `wanted` as for
        `runs`."""
        return sum(times * self.run_cycles(position, count, entry) for entry, count, times in self.runs(wanted, position))

    def run_cycles(self, position: int, count: int, entry: int | None = None) -> int:
        """Predicted cycles of a run that makes `count` tokens, the first at a position.

        `entry`: the run's first instruction, if it is not that of its position. A run of several tokens takes less than as
        many runs of one, which each also take the cycles of a run's start and end.
        """
        entry = self.entry(position) if entry is None else entry
        known, run = self.image.known_cycles, self._run(position, count, entry)
        if run not in known:
            issues, _ = abridged(self.config, self.image.instructions, entry, position=position, count=count)
            known[run] = run_cycles(issues[-1])
        return known[run]

    def _run(self, position, count, entry):
        """What the cycles of a run depend on."""
        return entry, blocks(self.config, position) if count <= 1 else position, count

    def know_cycles(self, runs: Iterable[tuple[int, int, int, int]]) -> None:
        """Takes the cycles of runs from whoever has found them: (entry, position, count, cycles) each."""
        for entry, position, count, cycles in runs:
            self.image.known_cycles[self._run(position, count, entry)] = cycles

    def block_cycles(self, positions: range) -> int:
        """Predicted cycles of a block of a prompt, of which these positions are computed; all its runs together."""
        stream = self.stream
        if stream.external:
            return self.run_cycles(positions.start, 0, stream.block.entry)
        return sum(times * self.run_cycles(position, 0, entry) for entry, (_, times)
                   in zip(stream.block.entries, stream.counted(False), strict=True) if entry >= 0 for position in positions)

    def prompt_runs(self, first: int, end: int) -> Iterator[PromptRun]:
        """The runs for a prompt's tokens at the positions `first` to `end` - 1: one by one, or in blocks of positions."""
        return prompt_runs(self, first, end)

    @property
    def graph(self) -> Graph | Network | None:
        """The model's integer graph, or the network, whose operations the instructions belong to; None for a program
        that was written by hand."""
        if not self.model:
            return self.network
        # Which operations a balanced residual, offsets and halves need shows in the instructions: a shape does not tell.
        made = {instruction.operation for instruction in self.image.instructions}
        kinds, plain = ((), (False, False, True), (True,), (True, True)), graph_of(self.model.shape)
        *graphs, last = (integer_graph(plain, *kind) for kind in kinds)
        return next((graph for graph in graphs if made <= {each.name for each in graph.operations} | {""}), last)

    @property
    def mode(self) -> str:
        """How the model is run: `RESIDENT` or `STREAMED`."""
        return STREAMED if self.stream else RESIDENT

    def check_burnable(self, config: Config) -> None:
        """MareyError if the program cannot be burned into the tile's bitstream.

        It can be if it is compiled for this configuration, has a model, and is resident.
        """
        self.check_config(config)
        if self.model is None:
            raise MareyError("this program was assembled by hand and makes no tokens: burn in a model's")
        if self.stream:
            raise MareyError(f"{self.name} does not fit into {self.config.name} alone, and cannot be burned in: `marey fit` "
                             "says where it is resident")

    @property
    def wram_words(self) -> int:
        """W-RAM words that the program uses."""
        return self.model.words if self.model else len(self.image.weights)

    def check_retention(self) -> Retention | None:
        """The proof that the program refreshes external memory by reading it, on a tile that wants one; else None.
        RetentionError if it does not."""
        if not (self.config.memory and self.config.memory.sweep and self.stream and self.stream.external):
            return None
        return prove(self.config, self.image.instructions, self.stream.image_bursts(self.config) + self.stream.cache_bursts)

    def link_words(self, wanted: bool = True) -> int:
        """Link words, both ways, that a token of a streamed model takes; 0 for a resident model,
        which takes few."""
        return self.stream.link_words(self.config, wanted) if self.stream else 0

    def formula(self) -> tuple[int, int, int]:
        """(a, b, least): a token takes a + b * blocks cycles, where blocks = position // block + 1
        is at least `least`.

        For fewer blocks see `cycles`.
        """
        counts = range(1, self.model.context // self.config.block + 1)
        cycles = [self.cycles((count - 1) * self.config.block) for count in counts]
        steps = np.diff(cycles)
        if len(steps) == 0:
            return cycles[0], 0, 1
        slope = int(steps[-1])
        same = len(steps) - next((i for i, step in enumerate(steps[::-1]) if step != slope), len(steps))
        return cycles[-1] - slope * len(cycles), slope, same + 1

    def check_config(self, config: Config) -> None:
        """MareyError unless the program was compiled for this configuration."""
        if self.config.hash != config.hash:
            raise MareyError(f"this program is for configuration {self.config.name} ({self.config.hash:08x}), and the tile "
                             f"is {config.name} ({config.hash:08x}): compile it with --config {config.name}")

    def summary(self) -> str:
        """One line of text: the tile, the memory that the program uses, and its cycles."""
        line = f"{self.config.name}, {len(self.image.instructions)} instructions, "
        if self.stream and self.stream.external:
            line += (f"in external memory{', with the KV cache' * bool(self.stream.cache_bursts)}: one run a token, with "
                     f"segments of up to {self.stream.room} W-RAM words of {self.config.wram_depth}")
            if proof := self.check_retention():
                line += f"; {proof.text(self.config)}"
        elif self.stream:
            line += (f"streamed: {sum(times for _, times in self.stream.counted())} runs a token, with segments of up to "
                     f"{self.stream.room} W-RAM words of {self.config.wram_depth}")
        else:
            line += f"{self.wram_words} W-RAM words of {self.config.wram_depth}"
        if self.stream:
            line += f", a prompt {self.stream.prompts}"
        if self.model is None:
            return f"{line}, {self.cycles()} cycles"
        constant, slope, least = self.formula()
        return (f"{line}, {self.model.context} positions; a token takes {constant} + {slope} * blocks cycles, blocks = "
                f"position / {self.config.block} + 1" + f" (from {least} blocks on)" * (least > 1))

    def listing(self) -> Iterator[str]:
        """The readable timetable, line by line; it assembles to the same instructions."""
        yield f"; configuration {self.config.name} ({self.config.hash:08x}); {self.summary()}"
        begins = self.entries if self.one_run else [(0, run[0]) for run in self.runs()]
        yield from disassemble(self.config, self.image.instructions, self.sections, begins)

    def save(self, path: str | Path) -> None:
        """Writes the program as a numpy archive of arrays and a JSON description. OSError if it
        cannot be written.

        An existing file is replaced only when the new one is complete. MareyError for the program of a network, which
        files have no place for.
        """
        if self.network:
            raise MareyError("the program of a network is not written to a file: compile its module again")
        size = (isa_of(self.config).width + 7) // 8
        codes = b"".join(code.to_bytes(size, "little") for code in self.image.codes(self.config))
        arrays = {"program": np.frombuffer(codes, np.uint8).reshape(-1, size), "weights": self.image.weights,
                  "constants": self.image.constants}
        facts = None
        if self.stream:
            arrays |= {f"stream.{name}": getattr(self.stream, name) for name in ARRAYS}
            facts = {name: value for name, value in asdict(self.stream).items() if name not in ARRAYS}
        description = {
            "marey": VERSION, "config": asdict(self.config), "name": self.name,
            "notes": [instruction.note for instruction in self.image.instructions],
            "operations": [instruction.operation for instruction in self.image.instructions],
            "sections": list(self.sections.items()), "entries": self.entries,
            "granule": self.image.granule, "model": asdict(self.model) if self.model else None, "stream": facts,
            "cycles": self.cycles(),
            "template": self.template and {"source": self.template.source, "special": dict(self.template.special)},
        }
        if self.tokenizer:
            arrays["tokenizer"] = np.frombuffer(self.tokenizer.to_json().encode(), np.uint8)
        arrays["description"] = np.frombuffer(json.dumps(description).encode(), np.uint8)
        # In memory, because an archive is not written from its beginning to its end, as a pipe needs.
        content = io.BytesIO()
        size = sum(array.nbytes for array in arrays.values())
        (np.savez_compressed if size < COMPRESSED_BYTES else np.savez)(content, **arrays)
        write_file(Path(path), content.getvalue())

    @classmethod
    def load(cls, path: str | Path, checked: bool = True) -> "Program":
        """Reads a program file. ProgramFileError if it is not a program, or is damaged.

        `checked`: also verify the program against the rules of the tile, and its cycles against the
        number in the file.
        """
        path = Path(path)
        if not path.is_file():
            raise ProgramFileError(f"{path}: {'is no regular file' if path.exists() else 'no such file'}")
        try:
            arrays = read_arrays(path)
            description = json.loads(bytes(arrays["description"]))
            if description["marey"] != VERSION:
                raise ProgramFileError(f"{path}: version {description['marey']} of the program format, and this Marey reads "
                                       f"version {VERSION}: compile it again")
            program, cycles = _unpack_program(description, arrays), description["cycles"]
            if checked:
                verify_once(program)
                if program.cycles() != cycles:
                    raise ProgramFileError(f"{path}: says {cycles} cycles, but its instructions take {program.cycles()}: "
                                           "damaged")
        except MareyError as error:
            raise ProgramFileError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
        except DAMAGE:
            raise ProgramFileError(f"{path}: damaged, or not a program that `marey compile` or `marey asm` wrote") from None
        return program


def _unpack_program(description, arrays):
    """A program from a file's description and arrays; one of `DAMAGE` if they do not match."""
    config = Config(**description["config"])
    isa = isa_of(config)
    instructions = [replace(isa.decode(int.from_bytes(code.tobytes(), "little")), note=str(note), operation=str(operation))
                    for code, note, operation in zip(arrays["program"], description["notes"], description["operations"],
                                                     strict=True)]
    tokenizer, model = None, None
    if "tokenizer" in arrays:
        tokenizer = Tokenizer.from_json(arrays["tokenizer"].tobytes().decode())
    if description["model"] is not None:
        facts = description["model"]
        model = ModelFacts(**facts | {"shape": ModelConfig(**facts["shape"])})
        if not 0 < model.context <= min(model.shape.seq_len, config.wram_depth * config.cols):
            raise ValueError("context")
    image = Image(instructions, arrays["weights"], arrays["constants"], description["granule"])
    stream = None
    if description["stream"] is not None:
        stream = Stream.load(description["stream"], {name: arrays[f"stream.{name}"] for name in ARRAYS})
    if image.weights.dtype != np.int8 or image.constants.dtype != np.int16:
        raise ValueError("types")
    template = None
    if chat := description.get("template"):
        template = ChatTemplate(str(chat["source"]), {str(name): str(text) for name, text in chat["special"].items()})
    return Program(config, image, description["name"], model, tokenizer,
                   {int(at): str(name) for at, name in description["sections"]}, stream, template,
                   entries=read_entries(description["entries"], len(instructions), model.context if model else 0))
