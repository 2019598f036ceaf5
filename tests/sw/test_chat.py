"""`marey chat` as a person meets it: on a pseudo-terminal, through a pipe, and where it refuses; and `generate --chat`."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from marey.sw.cli import main
from marey.sw.formats import gguf, load_template
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.text.chat import ChatTemplate
from tests.sw.commands import marey, refused
from tests.vocabularies import byte_level

pytestmark = pytest.mark.usefixtures("unproved")

SHAPE = ModelConfig(dim=16, hidden_dim=24, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=400, seq_len=40, bos=0, eos=(0,),
                    tied=False)
SOURCE = ("{% for m in messages %}<|im_start|>{{ m['role'][0] }}{{ m['content'] }}<|endoftext|>{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>a{% endif %}")
TILE = ("--config", "tiny4x8", "--backend", "emulator")
PATIENCE_S = 60


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small GGUF file with a chat template."""
    path = tmp_path_factory.mktemp("chat") / "tiny.gguf"
    gguf.write(path, tiny_model(SHAPE), byte_level(), template=ChatTemplate(SOURCE))
    return path


@pytest.fixture(scope="module")
def program(model):
    """A program file of it."""
    path = model.with_suffix(".marey")
    assert marey("compile", model, "-o", path, "--config", "tiny4x8").exit_code == 0
    return path


def chat(program, *options, lines):
    """The result of `marey chat` with these lines on standard input."""
    return CliRunner().invoke(main, ["chat", str(program), "--backend", "emulator", *map(str, options)],
                              input="".join(f"{line}\n" for line in lines))


class Terminal:
    """A person at a terminal on which `marey chat` runs; `slow`: seconds that each token takes."""

    def __init__(self, program, *options, slow=0.0):
        # The first lines make it the process's own terminal, so that Ctrl-C there reaches it, even if the tests run in the
        # background, where a shell makes processes ignore it.
        code = ("import fcntl, signal, termios, time\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
                "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
                "from marey.sw.cli import main\nfrom marey.sw.runtime.driver import Device\nrun = Device.run\n"
                f"Device.run = lambda self, *a, **k: (time.sleep({slow}), run(self, *a, **k))[1]\nmain()")
        self._file, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, "chat", program, "--backend", "emulator", *map(str, options)], stdin=theirs,
            stdout=theirs, stderr=theirs, start_new_session=True, env=os.environ | {"TERM": "dumb"})
        os.close(theirs)
        self.text = ""

    def type(self, text):
        os.write(self._file, text.encode())

    def until(self, pattern):
        """Reads until the output since the last call has this pattern; returns that output."""
        end = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, self.text)):
            assert select.select([self._file], [], [], max(0, end - time.monotonic()))[0], self.text
            self.text += os.read(self._file, 4096).decode(errors="replace").replace("\r", "")
        said, self.text = self.text[:found.end()], self.text[found.end():]
        return said

    def leave(self):
        """The exit status, after all output was read."""
        while True:
            try:
                if not (part := os.read(self._file, 4096)):
                    break
            except OSError:  # the other end is closed
                break
            self.text += part.decode(errors="replace")
        os.close(self._file)
        return self._process.wait(PATIENCE_S)


@pytest.mark.slow
def test_on_a_terminal(program):
    """Two turns; Ctrl-C at the prompt, and in an answer, which is kept; a context that fills up; Ctrl-D."""
    person = Terminal(program, "--steps", 6, slow=0.08)
    person.until(r"a context of 40 tokens; .*\n> ")
    person.type("one day\n")
    first = person.until(r"\n> ")
    assert " 0 of which were known" in first
    person.type("half a line\x03")
    person.until(r"\n> ")
    person.type("dog\n")
    known = int(re.search(r"(\d+) of which were known", person.until(r"\n> "))[1])
    assert known > 5
    person.type("/reset\n")
    person.until(r"begins anew\)\n> ")
    person.type("one day\n")
    person.until(r"\n.")
    person.type("\x03")
    stopped = person.until(r"\n> ")
    assert "(interrupted; " in stopped and "Traceback" not in stopped
    turns = 0
    while "forgotten" not in (said := person.until(r"\n> ") if turns else ""):
        turns += 1
        assert turns < 8, said
        person.type("the dog\n")
    assert "(the context is full: the oldest " in said
    person.type("play " * 80 + "\n")
    assert "and the context is 40: shorten it" in person.until(r"\n> ")
    person.type("\x04")
    assert person.leave() == 0 and "Traceback" not in person.text


def test_through_a_pipe(program):
    """Answers on stdout, all else on stderr; a template may refuse a conversation, and the next question is asked."""
    result = chat(program, "--steps", 3, lines=["one day", "", "/help", "dog", "/quit", "never asked"])
    assert result.exit_code == 0 and "never asked" not in result.output
    assert len(result.stdout.splitlines()) >= 2 and result.stderr.count("cycles, as predicted)") == 2
    assert "> " not in result.stdout and all(line[0] == "(" for line in result.stderr.splitlines())
    again = chat(program, "--steps", 3, lines=["one day", "dog"])
    assert again.stdout == result.stdout


def test_a_template_that_refuses(program, tmp_path):
    picky = tmp_path / "picky.jinja"
    picky.write_text("{% if messages[-1].content == 'x' %}{{ raise_exception('not x') }}{% endif %}" + SOURCE)
    result = chat(program, "--steps", 2, "--template", picky, lines=["x", "one day"])
    assert result.exit_code == 0 and result.stderr.count("cycles, as predicted)") == 1
    assert "(the model's chat template refuses this conversation: not x)" in result.stderr


def test_one_question(model, program):
    """`generate --chat` and the first turn of a chat: the same answer, and the system text in the prompt."""
    options = ("--system", "x", "--steps", 3)
    answer = chat(program, *options, lines=["one day"]).stdout.removesuffix("\n")
    found = json.loads(marey("generate", "one day", "--model", model, *TILE, *options, "--json").stdout)
    assert found["text"] == answer and found["ended_by"] in ("steps", "end token")
    assert found["prompt_tokens"] == byte_level().encode(
        "<|im_start|>sx<|endoftext|><|im_start|>uone day<|endoftext|><|im_start|>a")
    told = marey("run", program, "--prompt", "one day", *TILE[2:], *options)
    assert told.stdout.startswith(f"{answer}\n\ntokens ")


def test_stops_and_log_probabilities(program):
    run = ("run", program, "--prompt", "day", *TILE[2:], "--steps", 4)
    whole = json.loads(marey(*run, "--json", "--logprobs", 3).stdout)
    assert len(whole["logprobs"]) == len(whole["tokens"])
    for token, about in zip(whole["tokens"], whole["logprobs"], strict=True):
        assert about["token"] == token and len(about["top"]) == 3 and about["top"][0]["logprob"] == about["logprob"] < 0
    assert "".join(about["text"] for about in whole["logprobs"]) in whole["text"]
    stop = whole["text"][-3:-1]
    short = json.loads(marey(*run, "--json", "--stop", "never", "--stop", stop).stdout)
    assert short["ended_by"] == "stop text" and whole["text"].startswith(short["text"]) and stop not in short["text"][7:]
    assert marey(*run, "--logprobs", 2).stdout.count("  of  ") == len(whole["tokens"])
    greedy = json.loads(marey(*run, "--json", "--top-k", 1, "--temperature", 1).stdout)
    assert greedy["tokens"] == whole["tokens"]


def test_what_cannot_chat(tiny, model, program, tmp_path, monkeypatch):
    """In one line, before calibration."""
    monkeypatch.setattr("marey.sw.cli.calibrations.quantised", lambda *_, **__: pytest.fail("calibrated"))
    refused("chat", tiny, *TILE, word="tiny.bin: the model has no chat template")
    refused("generate", "x", "--model", tiny, *TILE, "--chat", word="give one with --template FILE")
    (tmp_path / "bad.jinja").write_text("{% for %}")
    refused("chat", model, *TILE, "--template", tmp_path / "bad.jinja", word="its chat template is damaged: line 1")
    refused("chat", model, *TILE, "--template", tmp_path / "absent.jinja", word="no such file")
    refused("chat", model, *TILE, "--system", "play " * 99, word="the context on tiny4x8 has 40: choose a larger --config")
    refused("generate", "x", "--model", model, *TILE, "--stop", "", word="at least one character")
    refused("generate", "x", "--model", model, *TILE, "--repeat-penalty", 0.5, word="--repeat-penalty")
    (tmp_path / "x.asm").write_text("HALT\n")
    marey("asm", tmp_path / "x.asm", "-o", tmp_path / "x.marey", "--config", "tiny4x8")
    refused("chat", tmp_path / "x.marey", *TILE[2:], word="assembled by hand")


@pytest.mark.filterwarnings("default::marey.sw.errors.FormatWarning")
def test_a_damaged_template_matters_only_to_a_chat(tmp_path):
    gguf.write(tmp_path / "m.gguf", tiny_model(SHAPE), byte_level(), template=ChatTemplate(SOURCE))
    content = (tmp_path / "m.gguf").read_bytes()
    assert content.count(b"{% endfor %}") == 1
    (tmp_path / "m.gguf").write_bytes(content.replace(b"{% endfor %}", b"{% endfoo %}"))
    for command in (["export", tmp_path / "m.gguf", "-o", tmp_path / "x.gguf"], ["chat", tmp_path / "m.gguf", *TILE]):
        result = marey(*command)
        assert result.exit_code == (2 if command[0] == "chat" else 0)
        warning = result.stderr.splitlines()[0]
        assert "warning: " in warning and "its chat template is damaged: line 1: " in warning and "is left out" in warning
    assert "no chat template" in result.stderr


def test_export_keeps_the_template(model, tmp_path):
    """To a folder and back."""
    marey("export", model, "-o", tmp_path / "folder")
    marey("export", tmp_path / "folder", "-o", tmp_path / "back.gguf")
    for path in (model, tmp_path / "folder", tmp_path / "back.gguf"):
        assert load_template(path).source == SOURCE
        assert load_template(path).special.items() >= {("bos_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>")}
