"""PyTorch modules on the tile: `marey.compile(module, example)`."""

from typing import TYPE_CHECKING

from ...hdl.spec.config import Config
from ...hdl.spec.named import configuration

if TYPE_CHECKING:
    import torch

    from .decoder import CompiledDecoder
    from .network import CompiledNetwork


def compile(module: "torch.nn.Module", example: "torch.Tensor", *, config: str | Config | None = None,
            backend: str | None = None, context: int | None = None) -> "CompiledNetwork | CompiledDecoder":
    """Compiles a PyTorch module for a tile, and returns an object that is called like the module.

    `module`: a causal language model of transformers (Llama, Mistral, Qwen2, Qwen3, GPT-2), or any
    module that turns a vector into another one by linear layers, norms, ReLU, SiLU, GELU, sums and
    products, or sequences of vectors by these and causal softmax attention. `example`: its input,
    [batch, ...], sequences [batch, n, ...] or tokens [batch, n]. On it the graph's result is compared
    with the module's, and the ranges of a network's values are measured: give it some hundred rows
    that are like those to come. A language model is calibrated on text of its own.

    `config`: the tile, by name (`marey configs`) or as a `Config`; by default `sim8x8`, or
    `sim8x8_gelu` for a module with GELU. `backend`: "verilator", "emulator" or "pysim", see
    `marey.sw.open_device`. `context`: positions that a language model must have room for; by
    default as many as fit.

    ModuleError, which names the place in the module, for what cannot be mapped, and for a graph
    whose result is not the module's; CompileError for a tile that cannot run it; FormatError for a
    language model that Marey cannot do.
    """
    from .build import build

    chosen = config if isinstance(config, Config) or config is None else configuration(config)
    return build(module, example, chosen, backend, context)
