"""The driver: a device is a tile that holds a program. One interface for every backend."""

from collections.abc import Callable, Sequence

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.errors import MareyError
from ...hdl.spec.isa import POSITION_BITS
from ...hdl.spec.packing import pack_program
from ...hdl.spec.protocol import MOST_TOKENS, Space
from ...hdl.timing import check
from ...sim.progress import Share, progress
from ...sim.transport import Transport
from ..model.families import graph_of
from ..program.program import Program
from .external import ExternalRunner
from .link import Link, LinkError
from .loading import load_external
from .resident import ResidentRunner
from .session import Session, Tally
from .streamer import Streamer


class Device:
    """A tile at the other end of a link, and the program that it holds.

    `Device(transport, config)` connects. LinkError if the tile was not built for `config`. A session (memories and runs) is
    below; above it, a runner makes tokens in the way that the loaded program needs: resident, streamed, or from external
    memory.
    """

    def __init__(self, transport: Transport, config: Config):
        self.config = config
        self.session = Session(transport, config)
        self._program: Program | None = None
        self._runner: ResidentRunner | ExternalRunner | Streamer | None = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def transport(self) -> Transport:
        return self.session.transport

    @property
    def link(self) -> Link:
        return self.session.link

    @property
    def tally(self) -> Tally:
        return self.session.tally

    def close(self) -> None:
        """Ends the simulation, or releases the port."""
        self.transport.close()

    def load(self, program: Program) -> None:
        """Loads a program with its weights and constants, except those that are streamed later.

        MareyError if the program was compiled for another configuration.
        """
        program.check_config(self.config)
        self._program = self._runner = None
        image, session = program.image, self.session
        code = pack_program(self.config, image.codes(self.config))
        total_bytes = 4 * code.size + 2 * image.constants.size + image.weights.size * self.config.weight_bits // 8
        hz = self.transport.simulated_hz
        share = Share(total_bytes, total_bytes / 4 / hz if hz else None)

        def sent(words):
            share.done += 4 * words

        if program.stream and program.stream.external:
            load_external(session, program.stream)
        with progress("loading the tile", share.expected_s):
            session.write(Space.PROGRAM, 0, code, sent)
            session.write_mem(image.granule, image.constants, sent)
            session.load_weights(image.weights, sent)
        self._hold(program)

    def adopt(self, program: Program) -> None:
        """Assumes that the tile already holds a program: from its flash, its bitstream, or an earlier `load`.

        Only the instructions are compared. LinkError if the tile's are not the program's.
        """
        program.check_config(self.config)
        expected = pack_program(self.config, program.image.codes(self.config))
        if not np.array_equal(self.session.read_program(len(expected)), expected):
            raise LinkError(f"the tile does not hold {program.name or 'this program'}: load it, or burn it in")
        self._hold(program)

    def _hold(self, program):
        self._program = program
        kind = ResidentRunner if not program.stream else ExternalRunner if program.stream.external else Streamer
        self._runner = kind(self.session, program)

    def run(self, token: int = 0, position: int = 0, count: int = 1, *,
            show: Callable[[int], None] = lambda token: None) -> list[int]:
        """Runs the loaded program with a token at a position, until it has made `count` tokens (0 to 256); returns them.

        With `count` 0 the token is one of a prompt: it enters the KV cache, and no token is made. `show` gets each token when
        it is made. ScheduleError if a run's cycles are not the predicted ones. MareyError, before anything runs, for a token
        that the model does not have, for positions beyond its context, and for more tokens than a run can make.
        """
        self._check_run(token, position, count)
        tokens = self._runner.tokens(token, position, count, show)
        if facts := self._program.model:
            graph, end = graph_of(facts.shape), position + max(count, 1)
            self.tally.macs += sum(graph.macs(at, bool(count)) for at in range(position, end))
        return tokens

    def run_block(self, tokens: Sequence[int], position: int) -> None:
        """Takes a prompt's tokens from a position on into the KV cache, as a block of positions; all are within one block.

        From external memory a block is one run: the tokens begin with it, and the positions behind them are computed, too,
        and are to be run later. ScheduleError if the run's cycles are not the predicted ones. MareyError, before anything
        runs, for a program without blocks, and for tokens and positions as in `run`.
        """
        block = self._program.stream and self._program.stream.block
        first = position - block.start(position) if block else 0
        if not block or (first and not block.entries) or not 0 < len(tokens) <= block.positions - first:
            raise MareyError(f"no block of {len(tokens)} tokens at position {position}")
        for number, token in enumerate(tokens):
            self._check_run(token, position + number, 0)
        self._runner.block(tokens, position)
        graph = graph_of(self._program.model.shape)
        self.tally.macs += sum(graph.macs(position + number, False) for number in range(len(tokens)))

    def _check_run(self, token, position, count):
        """MareyError for a run that would leave the program's model or the link's counts. A run of a program
        without a model is checked against the rules of the tile instead: ProgramError if it breaks one."""
        if not 0 <= count <= MOST_TOKENS:
            raise MareyError(f"a run makes 0 to {MOST_TOKENS} tokens, not {count}")
        facts = self._program.model
        if facts is None:
            for what, value, bits in (("token", token, self.config.token_bits), ("position", position, POSITION_BITS)):
                if not 0 <= value < 1 << bits:
                    raise MareyError(f"{what} {value} does not fit into {bits} bits")
            # A program by hand is proved for no other run than this one.
            check(self.config, self._program.image.instructions, position=position, count=count, token=token)
            return
        if not 0 <= token < facts.shape.vocab_size:
            raise MareyError(f"token {token} is not one of the model's {facts.shape.vocab_size}")
        last = position + max(count, 1) - 1
        if position < 0 or last >= facts.context:
            raise MareyError(f"positions {position} to {last} are not within the program's context of {facts.context}")

    def logits(self) -> np.ndarray:
        """The logits, float64 [vocab], of the token that was run last."""
        facts = self._program.model
        return self._runner.logits() * (float(self.read_mem(facts.scale, 1)[0]) * facts.logit_unit)

    def write_mem(self, granule: int, values: np.ndarray) -> None:
        """Writes int16 values, a multiple of `lanes` of them, to MEM from a granule on."""
        self.session.write_mem(granule, values)

    def read_mem(self, granule: int, count: int) -> np.ndarray:
        """Reads `count` int16 values of MEM, from a granule on."""
        return self.session.read_mem(granule, count)
