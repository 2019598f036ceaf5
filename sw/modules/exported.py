"""Any module of known operations, by `torch.export`: from its operations to a network.

`torch.export` writes a module as a list of operations of the library ATen, each with the place in
the module that it comes from. Each is mapped to operations of a `Network`; what has no mapping is
an error that names its place. What depends on parameters alone is computed at once.
"""

import operator
from dataclasses import dataclass, replace

import torch
from torch.fx import Node
from torch.fx.node import map_arg

from ..model.graph import Number, Value
from ..model.network import Weights
from .attending import ATTENTION
from .elements import Joined, Parameter, Scaled, Scores, Softmax, Vector
from .errors import ModuleError
from .operations import KEPT, MOVING, OPERATIONS, SAME_MATRICES, Found
from .tracing import Trace

LAYERS = (
    "Linear, Embedding, LayerNorm, RMSNorm, ReLU, SiLU, GELU, Dropout and Flatten, sums and "
    "products of vectors, causal attention, and causal language models of transformers (Llama, Mistral, "
    "Qwen2, Qwen3, GPT-2)"
)
"""What can be mapped, for messages."""


@dataclass(frozen=True, eq=False)
class Mapped:
    """A module as a network. `weights`: the network. `result`: where the elements of the module's
    result for one input of the batch are in the network's, int64 [...]: position * channels + channel."""

    weights: Weights
    result: torch.Tensor


def network_of(module: torch.nn.Module, example: torch.Tensor) -> Mapped:
    """The network of a module that takes one tensor like `example`, [batch, ...], and returns one.

    With attention, `example` is [batch, n, ...], sequences of n vectors or tokens. Otherwise all
    dimensions but the first are one vector. ModuleError for what has no mapping.
    """
    try:
        exported = torch.export.export(module, (example,), strict=False)
    except Exception as error:  # which are of many kinds
        raise ModuleError(
            f"{type(module).__name__} cannot be exported by torch.export: "
            f"{' '.join(str(error).split())[:300]}"
        ) from None
    with torch.no_grad():
        return _Mapping(module, exported, example).run()


@dataclass(frozen=True)
class _Place:
    """Where in the module a node comes from: the path and the class of the innermost module."""

    path: str
    owner: str
    of_torch: bool

    @classmethod
    def of(cls, node: Node, root: str) -> "_Place":
        stack = list(node.meta.get("nn_module_stack", {}).values())
        path, kind = stack[-1] if stack else ("", root)
        kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
        return cls(
            ".".join(part for part in (root, path) if part),
            kind.rpartition(".")[2],
            kind.startswith("torch.nn.modules."),
        )


class _Mapping:
    """The mapping of one exported module."""

    def __init__(self, module: torch.nn.Module, exported, example: torch.Tensor):
        self.root, self.exported = type(module).__name__, exported
        signature = exported.graph_signature
        self._parameters = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self._found: dict[Node, Found] = {}
        attends = any(_name_of(node) in ATTENTION for node in exported.graph.nodes)
        sequences = attends and example.dim() >= (3 if example.is_floating_point() else 2)
        self._trace = Trace(example.shape[1] if sequences else 0, len(example) if example.dim() else 0)

    def run(self) -> Mapped:
        result, sources = None, []
        for node in self.exported.graph.nodes:
            match node.op:
                case "placeholder" if node.name in self._parameters:
                    name = self._parameters[node.name]
                    held = self.exported.state_dict.get(name, self.exported.constants.get(name))
                    self._found[node] = Parameter(name, held.detach())
                case "placeholder":
                    sources.append(self._source(node))
                    at = torch.arange(node.meta["val"].numel()).reshape(node.meta["val"].shape)
                    self._found[node] = Vector(sources[0].name, sources[0].size, at)
                case "call_function" if node.users:
                    self._found[node] = self._call(node)
                case "output":
                    result = self._result(node)
        if len(sources) != 1:
            raise ModuleError(f"{self.root} takes {len(sources)} tensors, expected one")
        if result.name == sources[0].name:
            raise ModuleError(f"{self.root} returns its input: there is nothing to compute")
        at = result.at.reshape(len(result.at), -1) if result.at.dim() else result.at.reshape(1, 1)
        rows = max(1, self._trace.positions) * result.size
        if len(at) != self._trace.batch or not torch.equal(
            at, at[:1] + torch.arange(len(at))[:, None] * rows
        ):
            raise ModuleError(
                f"{self.root} must return a tensor [batch, ...], the same for each input of the batch"
            )
        return Mapped(self._trace.weights(sources[0], result.name), result.at[0])

    def _source(self, node):
        value = node.meta["val"]
        if value.dim() == 0 or not value.shape[0]:
            raise ModuleError(f"{self.root}: the example must have a batch as its first dimension")
        size = value[0].numel() // max(1, self._trace.positions)
        if not value.is_floating_point():
            return Value(node.name, size, Number.INDEX)
        if value.dim() < 2:
            raise ModuleError(f"{self.root}: the example is {list(value.shape)}, expected [batch, ...]")
        return Value(node.name, size, Number.WIDE)

    def _result(self, node):
        made = node.args[0]
        if len(made) != 1 or not isinstance(found := self._found.get(made[0]), Vector):
            raise ModuleError(f"{self.root} must return one tensor that is computed from its input")
        return found

    def _call(self, node):
        place, name = _Place.of(node, self.root), _name_of(node)
        inputs = [self._found.get(each) for each in node.all_input_nodes]
        self._trace.at(place.path.removeprefix(self.root).strip(".") or name)
        made = None
        changes = name.endswith("_") and isinstance(node.args[0], Node)
        if None not in inputs and not (changes and len(node.args[0].users) > 1):
            made = self._mapped(node, name, inputs)
        if isinstance(made, str):
            raise ModuleError(f"{place.path}: {made}")
        if made is None:
            raise self._unmapped(node, place, name)
        return made

    def _mapped(self, node, name, inputs):
        """What a node is in the network; a text or None if it cannot be mapped."""
        if node.target is operator.getitem:
            return self._found[node.args[0]][node.args[1]]
        if all(isinstance(each, Parameter) for each in inputs):
            return self._computed(
                node, lambda each: each.values.clone() if name.endswith("_") else each.values
            )
        x = self._found.get(node.args[0]) if isinstance(node.args[0], Node) else None
        if name in KEPT and not isinstance(x, Parameter):
            return x
        if name in MOVING and len(inputs) == 1:
            if isinstance(x, Vector):
                return self._moved(node, x)
            if isinstance(x, Scores | Softmax):
                same = name in SAME_MATRICES and node.meta["val"].shape[-2:] == (self._trace.positions,) * 2
                return x if same else None
        if any(isinstance(each, Scaled) for each in inputs) and name not in ("mean", "add", "rsqrt", "mul"):
            return None
        if any(isinstance(each, Joined) for each in inputs) and name != "linear":
            return "vectors that are joined can be mapped only if a Linear reads them"
        mapping = OPERATIONS.get(name.removesuffix("_"))
        return mapping and mapping(
            self._trace, node, lambda each: self._found.get(each, each) if isinstance(each, Node) else each
        )

    def _computed(self, node, values):
        """What a node makes of parameters alone."""
        args, kwargs = (
            map_arg(each, lambda arg: values(self._found[arg])) for each in (node.args, node.kwargs)
        )
        made = node.target(*args, **kwargs)
        if isinstance(made, torch.Tensor):
            return Parameter(node.name, made)
        if isinstance(made, list | tuple):
            return [Parameter(f"{node.name}.{number}", each) for number, each in enumerate(made)]
        return None

    def _moved(self, node, x):
        """What a node that only moves elements makes of a vector."""
        if "view" in _name_of(node):  # the numbers may lie in another order in memory
            return replace(x, at=x.at.reshape(node.meta["val"].shape))
        args, kwargs = (map_arg(each, lambda arg: x.at) for each in (node.args, node.kwargs))
        made = node.target(*args, **kwargs)
        if isinstance(made, list | tuple):
            return [replace(x, at=each) for each in made]
        return replace(x, at=made)

    def _unmapped(self, node, place, name):
        what = place.owner if place.of_torch else f"{name} in {place.owner}"
        source = node.meta.get("stack_trace", "")
        line = source.strip().splitlines()[-1].strip() if source and not place.of_torch else ""
        what += line and f" ({line})"
        return ModuleError(f"{place.path}: {what} cannot be mapped: Marey maps {LAYERS}")


def _name_of(node) -> str:
    """The short name of an operation of ATen: "linear" for aten.linear.default."""
    return str(node.target).removeprefix("aten.").partition(".")[0]
