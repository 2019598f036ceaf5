"""The contents of the KV cache: where in W-RAM keys and values that a host has computed lie.

The tile writes its keys and values itself, a position at a time. A host that has computed a prompt
writes those of all its positions, so that the tile goes on behind them.

- Keys: the word of `cols` positions has in column c the key of position n * cols + c; a head takes
  head / rows such words, one after another.
- Values: the word of `rows` positions has in row r the values of position n * rows + r; a column has
  one channel, so a head takes head / cols such words, `value_hop` apart.
- Where weights have 4 bits, a word of the cache is two words of W-RAM: see `marey.hdl.spec.wide`.

If the cache lies in external memory, it has rows there, with the numbers of 16 bits from which the tile makes those of 8.
"""

from collections.abc import Iterator

import numpy as np

from ...hdl.spec.integer import saturate
from ...hdl.spec.wide import to_words
from ..program.program import Program
from ..quant.model import FRACTION, QuantisedModel
from ..quant.outline import Outline
from .external import ExternalLayout
from .layout import Layout
from .streamed import StreamedLayout


def layout_of(program: Program, model: QuantisedModel) -> Layout:
    """The layout with which a model was compiled to a program."""
    outline = Outline.of(model)
    if program.stream is None:
        return Layout(program.config, outline, program.model.context)
    context, whole = program.stream.cells * program.stream.cell, not program.stream.chunk_logits
    if program.stream.external:
        return ExternalLayout(program.config, outline, context, whole, program.stream.room,
                              far_cache=program.stream.cache_bursts > 0)
    return StreamedLayout(program.config, outline, context, whole)


def contents(layout: Layout, keys: np.ndarray, values: np.ndarray, first: int) -> Iterator[tuple[int, np.ndarray]]:
    """(W-RAM word, weights int8 [words, cols, rows]) of all words that the positions from `first` on
    take.

    `keys`, `values`: int8 [layers, positions, KV heads, head_dim], of all positions from 0 on: the
    first words may have positions before `first`, too. What the last words have behind the last
    position is 0.
    """
    config, groups = layout.config, layout.value_head // layout.config.cols
    streamed = isinstance(layout, StreamedLayout) and not isinstance(layout, ExternalLayout)
    strides = (layout.key_words, layout.value_words) if streamed else (layout.cache_stride, layout.cache_stride)
    parts = (_by_position(layout, keys, first, config.cols, layout.head),
             _by_position(layout, values, first, config.rows, layout.value_head))
    # [layers, KV heads, words, cols, rows], and for values [layers, KV heads, groups, words, cols, rows].
    keys = parts[0].reshape(*parts[0].shape[:2], -1, config.cols, layout.head // config.rows, config.rows)
    keys = keys.transpose(0, 1, 2, 4, 3, 5).reshape(*keys.shape[:2], -1, config.cols, config.rows)
    values = parts[1].reshape(*parts[1].shape[:2], -1, config.rows, groups, config.cols)
    values = values.transpose(0, 1, 4, 2, 5, 3)
    key_word = (0 if streamed else layout.keys) + first // config.cols * (layout.head // config.rows)
    value_word = layout.values + first // config.rows
    for layer in range(len(keys)):
        for head in range(layout.model.n_kv_heads):
            yield _words(layout, key_word + layer * strides[0] + head * layout.key_hop, keys[layer, head])
            for group in range(groups):
                yield _words(layout, value_word + layer * strides[1] + (head * groups + group) * layout.value_hop,
                                 values[layer, head, group])


def far_contents(program: Program, model: QuantisedModel, keys: np.ndarray, values: np.ndarray,
                 first: int) -> Iterator[tuple[int, np.ndarray]]:
    """(burst, octets uint8 [bytes]) of the rows of external memory that the positions from `first` on take. Parameters are
    those of `contents`.

    Any number of 16 bits serves of which the tile makes the cached one of 8.
    """
    layout, stream = layout_of(program, model), program.stream
    size, starts = layout.row_bursts, np.array([0, stream.cache_bursts // 2]) + stream.image_bursts(program.config)
    offsets = np.stack([model.vector("key_offset", layer) for layer in range(len(keys))])[:, None]
    wide = ((keys.astype(np.int64) - offsets) << FRACTION, values.astype(np.int64) << model.shifts["cached values"])
    for start, cached in zip(starts.tolist(), wide, strict=True):
        rows = np.zeros((*cached.shape[:3], layout.head), "<i2")
        rows[..., :cached.shape[3]] = saturate(cached, 16)
        rows = rows.reshape(*cached.shape[:2], -1)[:, first:]
        rows = np.pad(rows, ((0, 0), (0, 0), (0, layout.row_granules * program.config.lanes - rows.shape[2])))
        for layer, octets in enumerate(rows):
            yield start + (layer * layout.context + first) * size, np.ascontiguousarray(octets).view(np.uint8).ravel()


def _by_position(layout, cached, first, unit, head):
    """Cached heads, padded to `head` values: int8 [layers, KV heads, positions, head].

    The positions are those from `first` on, in whole units of `unit` positions.
    """
    start, layers = first // unit * unit, len(cached)
    count, head_dim = cached.shape[1] - start, layout.model.head_dim
    found = np.zeros((layers, layout.model.n_kv_heads, -(-count // unit) * unit, head), np.int8)
    found[:, :, :count, :head_dim] = cached[:, start:].swapaxes(1, 2)
    return found


def _words(layout, word, cached):
    """(W-RAM word, weights) from a word of the cache on."""
    return word * layout.halves, to_words(layout.config, cached)
