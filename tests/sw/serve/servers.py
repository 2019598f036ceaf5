"""Servers for tests, in a thread of this process, with a tiny model that has a chat template."""

import asyncio
import sys
import threading
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from marey.hdl.spec.config import preset
from marey.sw.compiler.compile import compile_quantised
from marey.sw.formats import DEFAULT_MODEL, load_model, load_tokenizer
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.program.program import Program
from marey.sw.quant.model import QuantisedModel
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.verify import GoldenReference
from marey.sw.serve import server
from marey.sw.serve.promise import Clock
from marey.sw.serve.worker import Opener
from marey.sw.text.chat import ChatTemplate
from tests.vocabularies import byte_level

SHAPE = ModelConfig(dim=16, hidden_dim=24, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=400, seq_len=32, bos=0, eos=(0,),
                    tied=False)
TEMPLATE = ChatTemplate("{% for m in messages %}<|im_start|>{{ m['role'][0] }}{{ m['content'] }}<|endoftext|>{% endfor %}"
                        "{% if add_generation_prompt %}<|im_start|>a{% endif %}")
CLOCK = Clock(8e6, "a test")
END_S = 20
"""Seconds after which a server that should have ended counts as one that hangs."""
MODEL = "tiny"


@dataclass(frozen=True)
class Known:
    """The program that is served, and the integer model that it was compiled from."""

    program: Program
    integers: QuantisedModel

    @property
    def ends(self) -> set[int]:
        """The tokens that end a text."""
        shape = self.program.model.shape
        return {shape.bos, *shape.eos}

    def greedy(self, tokens: list[int], steps: int, ends=(0,)) -> list[int]:
        """The tokens that the golden model makes of a prompt, up to the one that ends a text."""
        golden, made = GoldenReference(self.integers), []
        for _ in range(min(steps, self.program.model.context - len(tokens) + 1)):
            token, _ = golden.step([*tokens, *made])
            if token in ends:
                break
            made.append(token)
        return made


@cache
def known() -> Known:
    """The program of the tiny model, compiled once."""
    integers = quantise(tiny_model(SHAPE))
    return Known(compile_quantised(integers, preset("sim8x8"), byte_level(), MODEL), integers)


@cache
def stories() -> Known:
    """The model that ships, on sim8x8."""
    model = load_model(DEFAULT_MODEL)
    integers, words = quantise(model), load_tokenizer(None, DEFAULT_MODEL, model.config.vocab_size)
    return Known(compile_quantised(integers, preset("sim8x8"), words, MODEL), integers)


class Running:
    """A server that runs while the `with` block does. `url`: where; `service`: what it shares."""

    def __init__(self, folder: Path, opener: Opener, program: Program | None = None, **settings):
        path, program = folder / "program.marey", program or known().program
        program.save(path)
        self._socket = server.listen("127.0.0.1", 0)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        chosen = server.Settings(**{"clock": CLOCK, "template": TEMPLATE} | settings)
        self.service, self._server = server.prepare(program, path, opener, chosen)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready, self.error = threading.Event(), None

    def _run(self):
        try:
            asyncio.run(server.run(self.service, self._server, self._socket, self._ready.set))
        except BaseException as error:
            self.error = error
        finally:
            self._ready.set()

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(60) and self.error is None, self.error
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join(END_S)
        assert not self._thread.is_alive(), f"the server has not ended in {END_S} seconds:\n{self._stack()}"
        assert self.error is None, self.error

    def _stack(self):
        """Where the server's thread is."""
        return "".join(traceback.format_stack(sys._current_frames()[self._thread.ident]))
