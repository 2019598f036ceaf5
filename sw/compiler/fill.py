"""Filling: writes a resident model's weights and constants to the places that its layout gives
them."""

from dataclasses import replace

import numpy as np

from ...hdl.spec import integer
from ...hdl.spec.config import Config
from ...hdl.spec.wide import to_words
from ..model.config import ModelConfig
from ..model.graph import Kind
from ..model.integer_graph import WEIGHT_GROUP, keys_at_once
from ..model.rotary import frequencies
from ..quant.model import Linear, QuantisedModel
from .layout import Layout
from .matrix import Matrix

ONE = 1 << 14
"""1 as an int16 with 14 fractional bits. The VXM multiplies it by a scalar to write the scalar to
MEM."""


def place(config: Config, weight: np.ndarray, matrix: Matrix) -> np.ndarray:
    """A matrix, int8 [outputs, inputs], as W-RAM holds it: int8 [words, cols, rows], padded with
    zeros.

    Output o * cols + c is in column c; its inputs lie in words o * inner to o * inner + inner - 1.
    """
    padded = np.zeros((matrix.results * config.cols, matrix.inner * config.rows), np.int8)
    padded[:weight.shape[0], :weight.shape[1]] = weight
    words = (padded.reshape(matrix.results, config.cols, matrix.inner, config.rows)
             .transpose(0, 2, 1, 3).reshape(-1, config.cols, config.rows))
    return words if matrix.halves == 1 else to_words(config, words)


def fill(layout: Layout, model: QuantisedModel) -> tuple[np.ndarray, np.ndarray]:
    """The contents of W-RAM, int8 [words, cols, rows], and the constants in MEM, int16 [granules,
    lanes].

    The constants begin at granule `constants_start(layout)`.
    """
    config, shape = layout.config, model.config
    weights = np.zeros((layout.words, config.cols, config.rows), np.int8)
    values = np.zeros((layout.constants_end, config.lanes), np.int16)

    def put(at, vector):
        flat = values.reshape(-1)[at * config.lanes:]
        flat[:vector.size] = vector.ravel()

    for index in range(shape.n_layers):
        words, granules = index * layout.words_stride, layout.layer_constants + index * layout.constants_stride
        for name, linear in layer_linears(layout, model, index).items():
            matrix = layout.matrices[name]
            weights[words + matrix.word:][:matrix.words] = place(config, linear.weight, matrix)
            if name in layout.layer:
                put(granules + layout.layer[name], _by_group(layout, name, linear.factors, matrix.results * config.cols))
            if linear.bias is not None:
                put(granules + layout.layer[f"{name}_bias"], linear.bias)
        for name, vector in layer_constants(layout, model, index).items():
            if name not in layout.uniform:
                put(granules + layout.layer[name], vector)
    classifier, matrix = padded_classifier(model, layout.vocabulary), layout.classifier
    weights[matrix.word:][:matrix.words] = place(config, classifier.weight, matrix)
    embedding = model.embedding[_rows(model, layout.vocabulary)]
    weights[layout.embedding:][:matrix.words] = _table(config, embedding, matrix)
    put(layout.constants["classifier"], _by_group(layout, "classifier", classifier.factors, layout.vocabulary))
    put(layout.constants["embedding"], model.embedding_factor if model.balanced else
        _by_group(layout, "embedding", model.embedding_factors, layout.vocabulary))
    if classifier.bias is not None:
        put(layout.constants["classifier_bias"], classifier.bias)
    if "final_norm" not in layout.uniform:
        put(layout.constants["final_norm"], model.vector("final_norm"))
    put(layout.constants["one"], np.full(config.lanes, ONE))
    if model.balanced:
        put(layout.constants["epsilon"], model.vector("epsilon"))
        put(layout.constants["final_norm_units"], _units(layout, model, "final_norm"))
        put(layout.constants["ones"], np.full(config.lanes, ONE))
    for name, rows in tables(layout, model).items():
        put(layout.constants[name], rows)
    return weights, values[constants_start(layout):]


def _table(config, embedding, matrix):
    """The embedding as W-RAM holds it; in two tables, of high and of low halves, if a value does not fit a weight."""
    table = replace(matrix, halves=1)
    if matrix.halves == 1:
        return place(config, embedding, table)
    return np.concatenate([place(config, part, table) for part in integer.signed_halves(embedding)])


def constants_start(layout: Layout) -> int:
    """The granule of a resident model's first constant; buffers of the token lie before it."""
    return layout.constants["low"]


def padded_classifier(model: QuantisedModel, outputs: int) -> Linear:
    """The classifier with `outputs` rows.

    Padding rows copy the last token's row. Of equal logits the first is chosen, so never a copy.
    """
    classifier, rows = model.linears["classifier"], _rows(model, outputs)
    bias = None if classifier.bias is None else classifier.bias[rows]
    return replace(classifier, weight=classifier.weight[rows], multiplier=classifier.factors[:, rows], bias=bias)


def _rows(model, count):
    """The token whose row stands in each of `count` rows of a table: its own, then the last again and again."""
    return np.minimum(np.arange(count), model.config.vocab_size - 1)


def _by_group(layout, name, factors, outputs):
    """A matrix's factors, int16 [groups, N], as MEM holds them: padded with zeros to `outputs`,
    [groups, outputs].

    A matrix with one common factor takes one granule, [lanes].
    """
    if name in layout.uniform:
        return factors[0, :1].repeat(layout.config.lanes)
    return np.pad(factors, ((0, 0), (0, outputs - factors.shape[1])))


def head_order(shape: ModelConfig) -> np.ndarray:
    """Numbers of the query heads in the order of the tile, int [n_heads].

    First comes the first query head of every KV head, then the second of every KV head, and so on:
    with 6 heads and 2 KV heads, 0 3 1 4 2 5.
    """
    return np.arange(shape.n_heads).reshape(shape.n_kv_heads, -1).T.ravel()


def _every_head(shape):
    """Numbers of the KV heads, whose keys must be in the cache when the scores begin; behind them those of the
    query heads in the order of the tile."""
    return np.concatenate([shape.n_heads + np.arange(shape.n_kv_heads), head_order(shape)])


def layer_constants(layout: Layout, model: QuantisedModel, index: int) -> dict[str, np.ndarray]:
    """A layer's constants, int16 vectors, by their names in `Layout.layer`; without the factors and
    biases of matrices."""
    config, shape = layout.config, model.config
    gains = {name: np.broadcast_to(model.vector(name, index), shape.dim) for name in layout.norms}
    normed = {each.name: _pad_heads(model.vector(each.name, index)[_every_head(shape)].ravel(), shape, layout.head)
              for each in layout.graph.of_kind(Kind.HEAD_NORM)}
    balanced = {}
    if model.offsets:
        balanced |= {each.name: model.vector(each.name, index) for each in layout.graph.of_kind(Kind.ADD)}
    if model.balanced:
        balanced |= {f"{name}_units": _units(layout, model, name, index) for name in layout.norms}
        balanced["rescale"] = model.vector("rescale", index)
    if not keys_at_once(layout.graph):
        normed["key_offset"] = _pad_heads(model.vector("key_offset", index).ravel(), shape, layout.head)
    return gains | balanced | normed | {"score": np.repeat(model.vector("score", index)[head_order(shape)], config.lanes)}


def _units(layout, model, norm, index=0):
    """The units with which a balanced norm reads the residual and the channel behind it, as MEM holds them."""
    units = model.vector(f"{norm}_units", index)
    found = np.zeros(layout.dim + 1, np.int16)
    found[:model.config.dim], found[-1] = units[:-1], units[-1]
    return found


def layer_linears(layout: Layout, model: QuantisedModel, index: int) -> dict[str, Linear]:
    """A layer's LINEAR operations, by name, as they lie in W-RAM: heads padded with zeros, query
    heads in `head_order`."""
    shape, order, found = model.config, head_order(model.config), {}
    for operation in layout.linears:
        if operation not in layout.graph.layer:
            continue
        linear = model.linear(operation.name, index)
        if operation.output.heads:
            which = _every_head(shape) if operation.output.heads > shape.n_kv_heads else np.arange(shape.n_kv_heads)
            linear = _by_head(layout.head, shape, linear, which)
        if layout.offsets:
            found[operation.name] = _with_sums(layout, operation, linear)
            continue
        if layout.source(operation) is Kind.VALUES:
            columns = np.zeros((shape.dim, shape.n_heads, layout.head), np.int8)
            columns[:, :, :shape.head_dim] = linear.weight.reshape(shape.dim, shape.n_heads, shape.head_dim)[:, order]
            multiplier = linear.multiplier[order] if linear.groups > 1 else linear.multiplier
            linear = replace(linear, weight=columns.reshape(shape.dim, -1), multiplier=multiplier)
        found[operation.name] = linear
    return found


def _with_sums(layout, operation, linear):
    """A matrix of a model with offsets, in the order and with the padding of the tile: one that makes sums of groups, or
    one that reads an input with such sums behind it."""
    source = layout.source(operation)
    columns, groups = _places(layout, source)
    if not operation.weights:
        weight = np.zeros((layout.padded(layout.sums(source)), layout.vector(source)), np.int8)
        weight[groups[:, None], columns] = linear.weight
        same = np.broadcast_to(linear.multiplier[:, :1], (linear.groups, len(weight)))
        return replace(linear, weight=weight, multiplier=linear.multiplier if linear.multiplier.size == 1 else same)
    outputs, size, sums = len(linear.weight), WEIGHT_GROUP, layout.sums(source)
    main, vector = linear.groups - linear.offset_groups, layout.vector(source)
    weight = np.zeros((outputs, layout.joined(source)), np.int8)
    weight[:, columns] = linear.weight[:, :len(columns)]
    multiplier = np.zeros((weight.shape[1] // size, outputs), np.int16)
    multiplier[groups] = linear.factors[:main]
    several = linear.offset_groups // 2
    for part in range(2):
        begin = (main + part * several) * linear.group
        weight[:, vector + part * sums + groups] = linear.weight[:, begin:begin + len(groups)]
        first = (vector + part * sums) // size
        multiplier[first:first + sums // size] = linear.factors[main + part * several]
    return replace(linear, weight=weight, multiplier=multiplier, offset_groups=2 * sums // size)


def _places(layout, source):
    """(where each input of a matrix lies in the tile's vector, where the sum of each of its groups lies among the sums)."""
    shape = layout.model
    if source is not Kind.VALUES:
        channels = shape.dim if source is Kind.NORM else shape.hidden_dim
        return np.arange(channels), np.arange(-(-channels // WEIGHT_GROUP))
    heads = np.argsort(head_order(shape))
    columns = (heads[:, None] * layout.head + np.arange(shape.head_dim)).ravel()
    return columns, columns[::WEIGHT_GROUP] // WEIGHT_GROUP


def _by_head(head, shape, linear, which):
    """An operation whose outputs are heads: with the heads `which`, in this order, each padded with zeros to `head`
    values."""
    weight = linear.weight.reshape(-1, shape.head_dim, linear.weight.shape[1])[which]
    padded = np.zeros((len(which), head, weight.shape[2]), np.int8)
    padded[:, :shape.head_dim] = weight
    multiplier = linear.factors.reshape(linear.groups, -1, shape.head_dim)[:, which]
    bias = None
    if linear.bias is not None:
        bias = _pad_heads(linear.bias.reshape(-1, shape.head_dim)[which].ravel(), shape, head)
    return replace(linear, weight=padded.reshape(-1, weight.shape[2]), bias=bias,
                   multiplier=_pad_heads(multiplier.ravel(), shape, head).reshape(linear.groups, -1))


def _pad_heads(vector, shape, head):
    """A vector of whole heads, with each head padded with zeros to `head` values."""
    padded = np.zeros((vector.size // shape.head_dim, head), vector.dtype)
    padded[:, :shape.head_dim] = vector.reshape(-1, shape.head_dim)
    return padded.ravel()


def tables(layout: Layout, model: QuantisedModel | None = None) -> dict[str, np.ndarray]:
    """The tables by position that the model needs, int16 [rows, values].

    "positions" has a row for each position of the context; without a `model` its rows are zeros.

    "low" and "high" hold the angles of rotary embedding: "low" has a row for each of the positions
    0 to `ROTARY_LOW` - 1, "high" one for each multiple of `ROTARY_LOW`. A row holds the factors in
    the order in which the kernel's products read them; see `marey.hdl.spec.integer.rotation`.
    """
    shape, lanes, found = layout.model, layout.config.lanes, {}
    for operation in layout.graph.of_kind(Kind.POSITION):
        table = np.zeros((0, shape.dim), np.int16) if model is None else model.vector(operation.name)[:layout.context]
        found["positions"] = np.pad(table, ((0, layout.context - len(table)), (0, layout.dim - shape.dim)))
    if not layout.has(Kind.ANGLES):
        return found

    def padded(table):
        return np.stack([_pad_heads(row.ravel(), shape, layout.head) for row in table]).astype(np.int16)

    low, high = integer.rotary_tables(frequencies(shape), layout.context)
    cos, sin = high[..., 0], high[..., 1]
    # Factors of (even, odd) lanes, for two results: cosines of the sum of angles, then sines, which are
    # negative in even lanes. Each result is a product with the row of "low", plus one with that row after a
    # swap of neighbouring lanes.
    pairs = [(cos, -sin), (-sin, cos), (-sin, cos), (-cos, sin)]
    factors = np.stack([padded(np.stack(pair, axis=-1)) for pair in pairs], axis=1)
    high = factors.reshape(len(high), 4, -1, lanes).transpose(0, 2, 1, 3).reshape(len(high), -1)
    return found | {"low": padded(low), "high": high}
