"""How attention is found among the operations of `torch.export`: as one operation of PyTorch, or as
products, a mask and a softmax.

Every function takes the trace, the node and `get`, which gives what an argument of the node is in the
network; it returns what the node is, a text that says why it cannot be mapped, or None.
"""

import math
from dataclasses import replace

import torch
from torch.fx import Node

from .elements import Heads, Parameter, Scores, Softmax, Vector
from .tracing import Trace

NOT_CAUSAL = (
    "attention without a causal mask cannot be mapped: a position would read those behind it, which "
    "the tile has not computed yet"
)
OTHER_MASK = (
    "attention with a mask that is not causal cannot be mapped: each position must see itself and all before"
)
NO_SEQUENCES = "attention needs sequences: an example [batch, n, channels], or tokens [batch, n]"
HIDDEN = -1e4
"""A mask that is added to scores hides what it is below this number."""
SOFTMAX = ("softmax", "_softmax", "_safe_softmax")
ATTENTION = (*SOFTMAX, "scaled_dot_product_attention")
"""Operations by which attention is known."""


def hides_later(mask: torch.Tensor, positions: int, hidden: bool = True) -> bool:
    """Whether a mask, [..., positions, positions], is causal. One of numbers is added to the scores; in
    one of booleans, `hidden` says what is not seen."""
    if mask.dim() < 2 or mask.shape[-2:] != (positions, positions):
        return False
    later = torch.ones(positions, positions, dtype=torch.bool).triu(1)
    if mask.dtype == torch.bool:
        return bool(((mask == hidden) == later).all())
    return bool((mask[..., ~later] == 0).all() and (mask[..., later] <= HIDDEN).all())


def products(trace: Trace, q: Vector, k: Vector) -> Scores | None:
    """The products of queries with keys, whose last two dimensions are exchanged."""
    if q.at.dim() < 2 or k.at.dim() < 2:
        return None
    keys = trace.heads(replace(k, at=k.at.transpose(-1, -2)))
    queries = trace.heads(q)
    return Scores(queries, keys) if queries and keys and queries.is_like(keys) else None


def averaged(trace: Trace, weights: Softmax, v: Vector, shape: torch.Size) -> Vector | None:
    """The values, averaged by a softmax."""
    scores, values = weights.of, trace.heads(v)
    return _attend(trace, scores, values, shape) if values and values.is_like(scores.q) else None


def _attend(trace, scores, values, shape):
    name = trace.attention(scores.q, scores.k, values, scores.scale)
    return values.tensor(name, trace.positions, shape)


def masked(trace: Trace, scores: Scores, mask: object, hidden: bool = True) -> Scores | str:
    """Scores with a mask."""
    known = isinstance(mask, Parameter) and hides_later(mask.values, trace.positions, hidden)
    return replace(scores, causal=True) if known else OTHER_MASK


def masked_fill(trace: Trace, node: Node, get) -> Scores | str | None:
    scores, mask, value = map(get, node.args)
    value = float(value.values) if isinstance(value, Parameter) else value
    if not isinstance(scores, Scores):
        return None
    return masked(trace, scores, mask) if value <= HIDDEN else OTHER_MASK


def where(trace: Trace, node: Node, get) -> Scores | str | None:
    mask, seen, other = map(get, node.args)
    later = isinstance(other, Scores)  # the mask says what is not seen
    scores, other = (other, seen) if later else (seen, other)
    if not isinstance(scores, Scores):
        return None
    value = other.values if isinstance(other, Parameter) else torch.tensor(other)
    return masked(trace, scores, mask, hidden=later) if bool((value <= HIDDEN).all()) else OTHER_MASK


def baddbmm(trace: Trace, node: Node, get) -> Scores | str | None:
    mask, q, k = map(get, node.args)
    if node.kwargs or not isinstance(q, Vector) or not isinstance(k, Vector):
        return None
    scores = products(trace, q, k)
    return scores and masked(trace, scores, mask)


def softmax(trace: Trace, node: Node, get) -> Softmax | str | None:
    scores = get(node.args[0])
    if not isinstance(scores, Scores):
        return None
    if node.args[1] not in (-1, node.meta["val"].dim() - 1):
        return "a softmax over another dimension than the last cannot be mapped"
    return Softmax(scores) if scores.causal or trace.positions == 1 else NOT_CAUSAL


def scaled_dot_product_attention(trace: Trace, node: Node, get) -> Vector | str | None:
    q, k, v, mask, _, causal = (*map(get, node.args), *(None, 0.0, False)[len(node.args) - 3 :])[:6]
    named = {name: get(value) for name, value in node.kwargs.items()}
    mask, causal = named.get("attn_mask", mask), named.get("is_causal", causal)
    if not all(isinstance(each, Vector) for each in (q, k, v)):
        return None
    if not trace.positions:
        return NO_SEQUENCES
    if named.get("enable_gqa"):
        k, v = (
            replace(each, at=each.at.repeat_interleave(q.at.shape[-3] // each.at.shape[-3], dim=-3))
            for each in (k, v)
        )
    scores = products(trace, q, replace(k, at=k.at.transpose(-1, -2)))
    values: Heads | None = trace.heads(v)
    if not scores or not values or not values.is_like(scores.q):
        return "queries, keys and values must be [batch, heads, n, channels], each made by a Linear"
    if mask is not None:
        scores = masked(trace, scores, mask, hidden=False)
        if isinstance(scores, str):
            return scores
    if not (causal or scores.causal or trace.positions == 1):
        return NOT_CAUSAL
    scale = named.get("scale") or 1 / math.sqrt(q.at.shape[-1])
    return _attend(trace, scores.scaled(scale), values, node.meta["val"].shape)
