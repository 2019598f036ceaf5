"""A board on a serial line, and all that can go wrong there. Each fault gives one line, nothing
hangs, and then it works again.

The board is the emulator behind a pseudo-terminal; the virtual boards' tests have netlists there.
"""

import json
import random
import time

import pytest
from click.testing import CliRunner

from marey.hdl.spec.config import preset
from marey.sim.port import PortError, PortTransport
from marey.sw.cli import main
from marey.sw.compiler.compile import compile_model
from marey.sw.formats.tiny import tiny_tokenizer
from marey.sw.runtime.driver import Device
from marey.sw.runtime.link import LinkError
from tests.fakeboard import FakeBoard

CONFIG = preset("tiny4x8")
RATE = 1_000_000


@pytest.fixture(scope="module")
def program(tiny_model):
    return compile_model(tiny_model, CONFIG, tiny_tokenizer())


@pytest.fixture(scope="module")
def run(program, tmp_path_factory):
    """Calls `marey run` on the program's file."""
    file = tmp_path_factory.mktemp("program") / "tiny.marey"
    program.save(file)

    def call(*arguments):
        return CliRunner().invoke(main, ["run", str(file), "--prompt", "once", "--baud", str(RATE), *map(str, arguments)])
    return call


@pytest.fixture(scope="module")
def tokens(run):
    """The tokens of `marey run`, and the backend; predicted cycles were measured."""
    def call(*arguments):
        result = run("--json", "--steps", 3, *arguments)
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["measured_cycles"] == found["predicted_cycles"]
        return found["tokens"], found["backend"]
    return call


@pytest.fixture(scope="module")
def expected(tokens):
    return tokens("--backend", "emulator")[0]


@pytest.fixture
def refused(run):
    """Checks that `marey run` fails within seconds, with status 1, one line on stderr and nothing
    on stdout."""
    def call(*arguments, word):
        begun = time.monotonic()
        result = run(*arguments)
        assert time.monotonic() - begun < 10
        assert result.exit_code == 1 and result.stdout == "", result.output
        (line,) = result.stderr.splitlines()
        assert word in line, line
    return call


def test_a_port_is_a_backend(tokens, expected):
    with FakeBoard(CONFIG, RATE) as board:
        assert tokens("--backend", "serial", "--port", board.port) == (expected, "serial")
        assert tokens("--port", board.port) == (expected, "serial")


def test_no_port(refused, tmp_path):
    (tmp_path / "file").write_text("")
    refused("--backend", "serial", word="name it with --port")
    refused("--port", tmp_path / "absent", word="there is no port")
    for path in (tmp_path / "file", tmp_path, "/dev/null"):
        refused("--port", path, word="is no serial port")


def test_a_port_in_use(refused, tokens, expected):
    with FakeBoard(CONFIG, RATE) as board:
        other = PortTransport(board.port, RATE)
        refused("--port", board.port, word="in use")
        other.close()
        assert tokens("--port", board.port)[0] == expected


def test_a_wrong_rate(refused, tokens, expected):
    with FakeBoard(CONFIG, RATE) as board:
        refused("--port", board.port, "--baud", 115200, "--patience", 0.5, word="--baud")
        assert tokens("--port", board.port)[0] == expected


def test_a_board_that_does_not_answer(refused):
    with FakeBoard(CONFIG, RATE, damage=lambda data: b"") as board:
        refused("--port", board.port, "--patience", 0.5, word="there was silence")


def test_another_configuration(refused):
    with FakeBoard(preset("tiny4x4"), RATE) as board:
        refused("--port", board.port, word=f"{preset('tiny4x4').hash:08x}")


@pytest.mark.parametrize("answered", [0, 100, 300])
def test_the_cable_is_pulled_and_plugged_in_again(program, tokens, expected, answered):
    """After the answer to a reset, while loading, in a story: no token is wrong, and the board
    works on afterwards."""
    def story(port):
        with Device(PortTransport(port, RATE), CONFIG) as device:
            device.load(program)
            for position in range(20):
                device.run(1, position)

    with FakeBoard(CONFIG, RATE, pull_after=answered) as board, pytest.raises(PortError, match="is gone"):
        story(board.port)
    with FakeBoard(CONFIG, RATE, endpoint=board.endpoint) as again:
        assert tokens("--port", again.port)[0] == expected


def test_a_port_is_gone_before_it_is_read():
    with FakeBoard(CONFIG, RATE) as board:
        transport = PortTransport(board.port, RATE)
    with pytest.raises(PortError, match="is gone"):
        transport.receive(1)


@pytest.mark.parametrize("seed", range(2))
def test_noise_on_the_line(program, seed):
    """Lost, doubled and flipped bytes give the right tokens or a LinkError; without noise, the
    right tokens."""
    rng, rate = random.Random(seed), [0.0]

    def damage(data):
        data = bytearray(data)
        if data and rng.random() < rate[0]:
            at = rng.randrange(len(data))
            data[at:at + 1] = rng.choice([b"", data[at:at + 1] * 2, bytes([data[at] ^ 1 << rng.randrange(8)])])
        return bytes(data)

    def story(device):
        token, made = 1, []
        for position in range(4):
            (token,) = device.run(token, position)
            made.append(token)
        return made

    with FakeBoard(CONFIG, RATE, damage=damage) as board, Device(PortTransport(board.port, RATE, 1), CONFIG) as device:
        device.load(program)
        clean = story(device)
        rate[0] = 0.1 + 0.3 * seed
        for _ in range(3):
            try:
                assert story(device) == clean
            except LinkError as error:
                assert "\n" not in str(error)
                rate[0], kept = 0.0, rate[0]
                device.link.reset()
                rate[0] = kept
        rate[0] = 0.0
        device.link.reset()
        assert story(device) == clean
