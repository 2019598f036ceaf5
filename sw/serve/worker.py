"""The process of a tile: opens it, loads the program, and does jobs one after another."""

import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from ...hdl.spec.config import Config
from ...hdl.spec.errors import MareyError
from ..program.program import Program
from ..runtime.decoder import Decoder
from ..runtime.driver import Device
from ..runtime.generate import begun, pieces
from .job import Begun, Ended, Failed, Job, Leave, Piece, Ready

Opener = Callable[[Config], Device]
"""Opens a tile of a configuration; it must be possible to pickle it."""


def work(connection: Connection, opener: Opener, path: Path, burned: bool) -> None:
    """Does the jobs that come over the connection until it is closed, and sends their events.

    `path`: the program file. `burned`: the tile holds the program already. After a `Failed`, the tile is in no
    known state, and the process ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes the connection
    try:
        program = Program.load(path, checked=False)
        with opener(program.config) as device:
            (device.adopt if burned else device.load)(program)
            connection.send(Ready(getattr(opener, "backend", "")))
            decoder = Decoder(device, program)
            while True:
                job = connection.recv()
                if isinstance(job, Job):  # and not a Leave that came too late
                    _do(job, decoder, connection)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the server has ended
    except MareyError as error:
        connection.send(Failed(str(error)))
    except Exception as error:
        connection.send(Failed(f"internal error in the process of the tile: {type(error).__name__}: {error}"))


def _do(job: Job, decoder: Decoder, connection: Connection) -> None:
    """Does a job, and stops after the token in which a `Leave` for it comes."""
    left: set[int] = set()

    def wanted(_):
        while connection.poll():
            message = connection.recv()
            left.update({message.number} if isinstance(message, Leave) else ())
        return job.number not in left

    result = begun(decoder, list(job.tokens), job.logprobs)
    connection.send(Begun(result.known_count))
    runs, made = 0, 0
    for text in pieces(decoder, result, job.steps, job.sampler, stops=job.stops, ends=job.ends, logprobs=job.logprobs,
                       keep_going=wanted):
        new_step, new_token = len(result.steps) > runs, len(result.tokens) > made
        connection.send(Piece(text, result.steps[-1] if new_step else None, result.tokens[-1] if new_token else None,
                              result.logprobs[-1] if new_token and job.logprobs else None))
        runs, made = len(result.steps), len(result.tokens)
    connection.send(Ended(result.ended_by))
