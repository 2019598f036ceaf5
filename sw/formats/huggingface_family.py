"""What says how the folders of a family of models map to Marey's: `Family`, and its `Tensor`s."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..model.config import ModelConfig

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """A tensor of a checkpoint, and the weights that it holds.

    `name`: in the checkpoint. `weights`: names of the weights, whose rows (outputs) follow one
    another in it. `transposed`: the checkpoint has it as [inputs, outputs]. `heads`: if not 0, its
    rows are this many heads, and in each head the channels that rotary embedding turns together lie
    half a head apart; Marey has them side by side.
    """

    name: str
    weights: tuple[str, ...]
    transposed: bool = False
    heads: int = 0

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """The tensor's shape in the checkpoint; `shapes`: those of the weights, by name."""
        parts = [shapes[weight] for weight in self.weights]
        whole = (sum(part[0] for part in parts), *parts[0][1:])
        return whole[::-1] if self.transposed else whole

    def split(self, values: np.ndarray, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
        """The weights that a tensor holds, by name: a matrix as [outputs, inputs].

        `values`: the tensor as the checkpoint has it. `shapes`: those of the weights, by name.
        """
        if self.transposed:
            values = np.ascontiguousarray(values.T)
        if self.heads:
            values = join_halves(values, self.heads)
        ends = np.cumsum([shapes[weight][0] for weight in self.weights])[:-1]
        return dict(zip(self.weights, np.split(values, ends), strict=True))

    def join(self, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        """The tensor as the checkpoint has it, from the weights by name: the reverse of `split`."""
        parts = [weights[weight] for weight in self.weights]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.heads:
            values = split_halves(values, self.heads)
        return values.T if self.transposed else values


@dataclass(frozen=True)
class Family:
    """How the folders of a family map to Marey's models.

    `architecture`: the class of transformers that runs it. `fields`: the name in `config.json` of
    each dimension of ModelConfig. `settings`: the values that Marey supports for other settings; the
    first one is the default. `config(where, settings)`: the ModelConfig that `config.json`
    describes, or FormatError, whose message begins with `where`. `about(config)`: the reverse, the
    family's own entries of `config.json`. `tensors(config)`: all tensors of a checkpoint. `prefix`:
    the tensors' names may begin with this. `ignored`: pattern for the names of tensors that can be
    computed from `config.json`.
    """

    architecture: str
    fields: Mapping[str, str]
    settings: Mapping[str, tuple]
    config: Callable[[str, dict], ModelConfig]
    about: Callable[[ModelConfig], dict]
    tensors: Callable[[ModelConfig], list[Tensor]]
    ignored: str
    prefix: str = ""


def split_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of Q or K, [heads * head_dim, dim] or [heads * head_dim], from neighbouring pairs to Hugging
    Face's order of two halves; a copy.
    """
    return weight.reshape(heads, -1, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def join_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """The reverse of `split_halves`."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def ends(found: dict, bos: int, eos: int) -> dict:
    """Tokens that begin and end a text, as ModelConfig has them; `bos`, `eos`: the family's
    defaults.
    """
    begin, end = found.get("bos_token_id", bos), found.get("eos_token_id", eos)
    eos = tuple(end) if isinstance(end, list) else () if end is None else (end,)
    return {"bos": eos[0] if begin is None and eos else begin, "eos": eos}
