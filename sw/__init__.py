"""The Python API: compiles a model file to a program, and runs a program on a tile to make text."""

import os

# The threads that OpenBLAS starts when numpy is imported wait for work in a loop, a tenth of a second of CPU time. So they
# sleep at once (2**4 cycles later, the least that it takes); most matrices here are too small for several threads anyway.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

from ..hdl.spec.config import Config, preset
from ..hdl.spec.named import configuration
from ..sim.backends import default_backend, open_transport
from .compiler.compile import compile_model
from .formats import load_model, load_template, load_tokenizer
from .program.program import Program
from .runtime.conversation import Conversation
from .runtime.decoder import Decoder
from .runtime.driver import Device
from .runtime.generate import Generation, generate
from .text.sampling import Sampler

__all__ = ["Config", "Conversation", "Decoder", "Device", "Generation", "Program", "Sampler", "compile_model", "configuration",
           "generate", "load_model", "load_template", "load_tokenizer", "open_device", "preset"]


def open_device(program: Program, backend: str | None = None) -> Device:
    """Opens a tile for a program and loads the program. `backend`: "verilator", "emulator" or "pysim"; by default verilator if
    its simulator can be built here, else the emulator. BackendError if the backend cannot be had."""
    device = Device(open_transport(program.config, backend or default_backend()), program.config)
    device.load(program)
    return device
