"""`marey serve` as a person starts it: where it listens, what it refuses, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

import marey.sw.serve
from marey.sw.serve.server import is_loopback
from tests.sw.commands import refused
from tests.sw.serve.servers import known


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A program file of the tiny model, which has no chat template."""
    path = tmp_path_factory.mktemp("command") / "tiny.marey"
    known().program.save(path)
    return path


@pytest.mark.slow
def test_it_runs_until_it_is_interrupted(file, tmp_path):
    template = tmp_path / "template.jinja"
    template.write_text("{{ messages[-1].content }}")
    command = [sys.executable, "-c", "import sys; from marey.sw.cli import main; sys.exit(main())", "serve", file,
               "--backend", "emulator", "--http-port", "0", "--template", template, "--clock-mhz", "12"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"MAREY_API_KEY": ""})
    try:
        line = process.stderr.readline()
        assert "tiny on 1 x sim8x8, emulator, at http://127.0.0.1:" in line
        url = re.search(r"http://[\d.]+:\d+", line)[0]
        with urllib.request.urlopen(f"{url}/v1/models", timeout=20) as answer:
            assert b'"clock_hz": 12000000.0, "clock_of": "--clock-mhz"' in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[1] == "" and process.returncode == 0
    finally:
        process.kill()


def test_it_listens_beyond_this_machine_only_with_a_key(file):
    for host in ("0.0.0.0", "192.168.0.9", "::", "example.org", "127.0.0.1.example.org"):
        refused("serve", file, "--host", host, word=f"--host {host} can be reached from other machines: give an --api-key")
        assert not is_loopback(host)
    assert is_loopback("127.9.0.1") and is_loopback("::1") and is_loopback("localhost")


def test_what_cannot_be_served(file, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused("serve", file, "--http-port", taken.getsockname()[1], word="Address already in use")
    refused("serve", file, "--host", "198.51.100.7", "--api-key", "x", "--http-port", 0, word="cannot listen on 198.51.100.7")
    refused("serve", tmp_path / "none.gguf", "--http-port", 0, word="none.gguf")
    (tmp_path / "bad.jinja").write_text("{% for %}")
    refused("serve", file, "--template", tmp_path / "bad.jinja", "--http-port", 0, word="its chat template is damaged")


def test_without_the_extra_it_says_what_to_install(file, monkeypatch):
    monkeypatch.setattr(marey.sw, "serve", marey.sw.serve)
    for name in [name for name in sys.modules if name.startswith("marey.sw.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    refused("serve", file, word="marey serve needs uvicorn: pip install 'marey[serve]'")
