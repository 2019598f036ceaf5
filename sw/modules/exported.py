"""Any module of known operations, by `torch.export`: from its operations to a feed-forward network.

`torch.export` writes a module as a list of operations of the library ATen, each with the place in
the module that it comes from. Each is mapped to operations of a `Network`; what has no mapping is
an error that names its place.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.fx import Node

from ..model.graph import Number, Value
from ..model.network import Network, Weights, check_network
from .errors import ModuleError
from .tracing import Parameter, Scaled, Trace, Vector

LAYERS = ("Linear, Embedding, LayerNorm, RMSNorm, ReLU, SiLU, GELU, Dropout and Flatten, sums and "
          "products of vectors, and causal language models of transformers (Llama, Mistral, Qwen2, Qwen3, "
          "GPT-2)")
"""What can be mapped, for messages."""
Found = Vector | Parameter | Scaled | str
SAME = {"dropout", "flatten", "unflatten", "view", "reshape", "unsqueeze", "squeeze", "_unsafe_view", "alias",
        "clone", "contiguous", "detach", "to", "_to_copy", "identity", "feature_dropout", "alpha_dropout",
        "lift_fresh_copy"}
"""Names of operations of ATen that change neither the values of a vector nor their order."""


def network_of(module: torch.nn.Module, example: torch.Tensor) -> Weights:
    """The network of a module that takes one tensor like `example`, [batch, ...], and returns one.

    All dimensions but the first are one vector. ModuleError for what has no mapping.
    """
    try:
        exported = torch.export.export(module, (example,), strict=False)
    except Exception as error:  # which are of many kinds
        raise ModuleError(f"{type(module).__name__} cannot be exported by torch.export: "
                          f"{' '.join(str(error).split())[:300]}") from None
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
        return cls(".".join(part for part in (root, path) if part), kind.rpartition(".")[2],
                   kind.startswith("torch.nn.modules."))


class _Mapping:
    """The mapping of one exported module."""

    def __init__(self, module: torch.nn.Module, exported, example: torch.Tensor):
        self.root, self.exported, self.batch = type(module).__name__, exported, example.shape[0]
        signature = exported.graph_signature
        self._parameters = {**signature.inputs_to_parameters, **signature.inputs_to_buffers,
                            **signature.inputs_to_lifted_tensor_constants}
        self._found: dict[Node, Found] = {}
        self._trace = Trace()

    def run(self) -> Weights:
        result, sources = None, []
        for node in self.exported.graph.nodes:
            match node.op:
                case "placeholder" if node.name in self._parameters:
                    name = self._parameters[node.name]
                    held = self.exported.state_dict.get(name, self.exported.constants.get(name))
                    self._found[node] = Parameter(name, held.detach())
                case "placeholder":
                    sources.append(self._source(node))
                    self._found[node] = Vector(sources[0].name, sources[0].size)
                case "call_function":
                    self._found[node] = self._call(node)
                case "output":
                    result = self._result(node)
        if len(sources) != 1:
            raise ModuleError(f"{self.root} takes {len(sources)} tensors, expected one")
        operations = tuple(self._trace.needed_for(result.name))
        if not operations:
            raise ModuleError(f"{self.root} returns its input: there is nothing to compute")
        network = check_network(Network(sources[0], operations, self._trace.epsilon))
        names = {name for each in operations for name in (*each.weights, *each.bias)}
        return Weights(network, {name: self._trace.arrays[name] for name in names})

    def _source(self, node):
        value = node.meta["val"]
        if value.dim() == 0 or not value.shape[0]:
            raise ModuleError(f"{self.root}: the example must have a batch as its first dimension")
        if not value.is_floating_point():
            return Value(node.name, 1, Number.INDEX)
        if value.dim() < 2:
            raise ModuleError(f"{self.root}: the example is {list(value.shape)}, expected [batch, ...]")
        return Value(node.name, value[0].numel(), Number.WIDE)

    def _result(self, node):
        made = node.args[0]
        if len(made) != 1 or not isinstance(found := self._found.get(made[0]), Vector):
            raise ModuleError(f"{self.root} must return one tensor that is computed from its input")
        return found

    def _call(self, node):
        place, name = _Place.of(node, self.root), _name_of(node)
        inputs = [self._found.get(each) for each in node.all_input_nodes]
        if any(isinstance(each, Scaled) for each in inputs) and name not in ("mean", "add", "rsqrt", "mul"):
            inputs = [None]
        self._trace.at(place.path.removeprefix(self.root).strip(".") or name, node)
        made = None
        mutated = name.endswith("_") and isinstance(node.args[0], Node) and len(node.args[0].users) > 1
        if None not in inputs and not mutated:
            if name in SAME:
                made = self._same(node)
            elif name.removesuffix("_") in OPERATIONS:
                mapping = OPERATIONS[name.removesuffix("_")]
                made = mapping(self._trace, node, lambda each: self._found.get(each, each))
        if isinstance(made, str):
            raise ModuleError(f"{place.path}: {made}")
        if made is None:
            raise self._unmapped(node, place, name)
        size = node.meta["val"].numel() if hasattr(node.meta.get("val"), "numel") else 0
        if isinstance(made, Vector) and made.size * self.batch != size:
            raise ModuleError(f"{place.path}: {place.owner} works on {list(node.meta['val'].shape)}, and "
                              "Marey maps operations on whole vectors, [batch, channels]")
        return made

    def _same(self, node):
        """What an operation gives that only changes the shape."""
        found = self._found[node.args[0]]
        if isinstance(found, Parameter):
            return Parameter(found.name, found.values.reshape(node.meta["val"].shape))
        return found

    def _unmapped(self, node, place, name):
        what = place.owner if place.of_torch else f"{name} in {place.owner}"
        source = node.meta.get("stack_trace", "")
        line = source.strip().splitlines()[-1].strip() if source and not place.of_torch else ""
        what += line and f" ({line})"
        return ModuleError(f"{place.path}: {what} cannot be mapped: Marey maps {LAYERS}")


def _name_of(node) -> str:
    """The short name of an operation of ATen: "linear" for aten.linear.default."""
    return str(node.target).removeprefix("aten.").partition(".")[0]


Get = Callable[[object], object]


def _linear(trace: Trace, node: Node, get: Get) -> Found | None:
    x, weight, bias = (*map(get, node.args), None)[:3]
    if isinstance(x, Vector) and isinstance(weight, Parameter) and isinstance(bias, Parameter | None):
        return trace.linear(x, weight, bias)
    return None


def _matmul(trace: Trace, node: Node, get: Get) -> Found | None:
    x, weight = map(get, node.args)
    if isinstance(x, Vector) and isinstance(weight, Parameter) and weight.values.dim() == 2:
        return trace.linear(x, weight.transposed(), None)
    return None


def _addmm(trace: Trace, node: Node, get: Get) -> Found | None:
    bias, x, weight = map(get, node.args)
    mapped = isinstance(x, Vector) and isinstance(weight, Parameter) and isinstance(bias, Parameter)
    if mapped and not node.kwargs:
        return trace.linear(x, weight.transposed(), bias)
    return None


def _transpose(trace: Trace, node: Node, get: Get) -> Found | None:
    weight = get(node.args[0])
    return weight.transposed() if isinstance(weight, Parameter) and weight.values.dim() == 2 else None


def _embedding(trace: Trace, node: Node, get: Get) -> Found | None:
    table, rows = get(node.args[0]), get(node.args[1])
    if isinstance(table, Parameter) and isinstance(rows, Vector) and node.args[1].op == "placeholder":
        return trace.embedding(table, rows)
    return None


OF_WHOLE = "norms of a part of a vector cannot be mapped"


def _layer_norm(trace: Trace, node: Node, get: Get) -> Found | None:
    defaults = (None, None, 1e-5)
    x, shape, gain, bias, epsilon = map(get, (*node.args, *defaults[len(node.args) - 2:])[:5])
    if not isinstance(x, Vector):
        return None
    return trace.layer_norm(x, gain, bias, epsilon, node) if list(shape) == [x.size] else OF_WHOLE


def _rms_norm(trace: Trace, node: Node, get: Get) -> Found | None:
    x, shape, gain, epsilon = (*map(get, node.args), None, None)[:4]
    if not isinstance(x, Vector) or list(shape) != [x.size]:
        return OF_WHOLE if isinstance(x, Vector) else None
    return trace.norm(x, gain, None, torch.finfo(torch.float32).eps if epsilon is None else epsilon)


def _activation(function: str) -> Callable:
    def mapped(trace: Trace, node: Node, get: Get) -> Found | None:
        x = get(node.args[0])
        chosen = function
        if function == "gelu" and node.kwargs.get("approximate", "none") == "none":
            chosen = "gelu_erf"
        return trace.activate(x, chosen) if isinstance(x, Vector) else None

    return mapped


def _sigmoid(trace: Trace, node: Node, get: Get) -> Found | None:
    x = get(node.args[0])
    return Scaled("sigmoid", x) if isinstance(x, Vector) else None


def _square(trace: Trace, node: Node, get: Get) -> Found | None:
    x, power = get(node.args[0]), node.args[1]
    return Scaled("square", x) if isinstance(x, Vector) and power == 2 else None


def _mean(trace: Trace, node: Node, get: Get) -> Found | None:
    x = get(node.args[0])
    last = list(node.args[1]) in ([-1], [node.meta["val"].dim() - 1]) and len(node.args) > 2 and node.args[2]
    return Scaled("mean", x.of) if isinstance(x, Scaled) and x.what == "square" and last else None


def _rsqrt(trace: Trace, node: Node, get: Get) -> Found | None:
    x = get(node.args[0])
    return Scaled("root", x.of, x.epsilon) if isinstance(x, Scaled) and x.what == "mean" else None


def _add(trace: Trace, node: Node, get: Get) -> Found | None:
    one, other = map(get, node.args)
    if node.kwargs:
        return None
    if isinstance(one, Vector) and isinstance(other, Vector):
        return trace.add(one, other)
    if isinstance(one, Scaled) and one.what == "mean" and isinstance(other, float):
        return Scaled("mean", one.of, one.epsilon + other)
    if isinstance(one, Parameter):
        one, other = other, one
    return trace.biased(one, other) if isinstance(one, Vector) and isinstance(other, Parameter) else None


def _multiply(trace: Trace, node: Node, get: Get) -> Found | None:
    one, other = map(get, node.args)
    if isinstance(one, (Scaled, Parameter)):
        one, other = other, one
    if not isinstance(one, Vector):
        return None
    match other:
        case Vector():
            return trace.multiply(one, other)
        case Scaled(what="sigmoid", of=x) if x == one:
            return trace.activate(x, "silu")
        case Scaled(what="root", of=x) if x == one:
            return trace.norm(x, None, None, other.epsilon)
        case Parameter():
            return trace.gained(one, other)
    return None


OPERATIONS = {
    "linear": _linear, "matmul": _matmul, "mm": _matmul, "addmm": _addmm, "t": _transpose,
    "numpy_T": _transpose, "embedding": _embedding, "layer_norm": _layer_norm, "rms_norm": _rms_norm,
    "relu": _activation("relu"), "silu": _activation("silu"), "gelu": _activation("gelu"),
    "sigmoid": _sigmoid, "pow": _square, "square": _square, "mean": _mean, "rsqrt": _rsqrt, "add": _add, "mul": _multiply}
"""How an operation of ATen is mapped, by its name: to a `Vector`, or something that the next
operation needs; a text says why it cannot be; so does None, without a reason."""
