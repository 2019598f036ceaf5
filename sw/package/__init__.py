"""Marey from Python: `marey.compile(module, example)`, and what `marey.sw` offers.

Everything is imported when it is first asked for, so that `import marey` takes no time and needs no PyTorch.
"""

from importlib import import_module, metadata

OFFERED = (
    "Config",
    "Conversation",
    "Decoder",
    "Device",
    "Generation",
    "Program",
    "Sampler",
    "compile_model",
    "configuration",
    "generate",
    "load_model",
    "load_template",
    "load_tokenizer",
    "open_device",
    "preset",
)
"""What `marey.sw` offers."""


def __getattr__(name: str):
    if name == "compile":
        return import_module("marey.sw.modules").compile
    if name == "__version__":
        return metadata.version("marey")
    if name in OFFERED:
        return getattr(import_module("marey.sw"), name)
    raise AttributeError(f"module 'marey' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *OFFERED, "compile", "__version__"])
