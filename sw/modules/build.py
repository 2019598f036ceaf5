"""The choice of the way to compile a module, and of the tile."""

from contextlib import contextmanager

from ...hdl.spec.config import Config, preset
from ..model.graph import Kind
from .errors import ModuleError

try:
    import torch
except ModuleNotFoundError:
    raise ModuleError("PyTorch is not installed: pip install 'marey[torch]'") from None

from . import decoder
from .decoder import CompiledDecoder
from .exported import network_of
from .network import CompiledNetwork
from .tile import Tile

PLAIN, GATED = "sim8x8", "sim8x8_gelu"
"""The tiles that are taken if none is asked for: without GELU and with it."""


def build(module: torch.nn.Module, example: torch.Tensor, config: Config | None, backend: str | None,
          context: int | None) -> CompiledNetwork | CompiledDecoder:
    """See `marey.sw.modules.compile`."""
    if isinstance(example, (tuple, list)) and len(example) == 1:
        (example,) = example
    if not isinstance(module, torch.nn.Module) or not isinstance(example, torch.Tensor):
        raise ModuleError(
            f"expected a module of PyTorch and one tensor as an example, not {type(module).__name__} and "
            f"{type(example).__name__}"
        )
    name = type(module).__name__
    with _as_it_is_used(module):
        if decoder.reads(module):
            model = decoder.model_of(module)
            config = config or _default(model.graph)
            return CompiledDecoder(model, module, example, config, Tile(config, backend), name, context)
        mapped = network_of(module, example)
        config = config or _default(mapped.weights.network)
        return CompiledNetwork(mapped, module, example, config, Tile(config, backend), name)


def _default(graph):
    gelu = any(operation.function.startswith("gelu") for operation in graph.of_kind(Kind.ACTIVATE))
    return preset(GATED if gelu else PLAIN)


@contextmanager
def _as_it_is_used(module):
    """Without dropout and gradients, as long as the module is looked at."""
    training = [each for each in module.modules() if each.training]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for each in training:
            each.training = True
