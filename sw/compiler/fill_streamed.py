"""Filling: makes a streamed model's segments, and the `Stream` from which a driver sends them."""

from dataclasses import replace

import numpy as np

from ..program.stream import Block, Section, Stream, put
from ..quant.model import QuantisedModel
from .external import ExternalLayout
from .fill import ONE, layer_constants, layer_linears, padded_classifier, place, tables
from .streamed import StreamedLayout


def fill_stream(layout: StreamedLayout, model: QuantisedModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The segments' weights, int8 [words, cols, rows], and constants, int16 [granules, lanes] (see
    `Stream`), and the constants that stay in MEM for all runs, int16 [granules, lanes]."""
    config = layout.config
    weights, constants = [], []

    def segments(sections, linears, vectors):
        for section in sections:
            for chunk in range(section.chunks):
                values = np.zeros((section.granules_of(chunk), config.lanes), np.int16)
                for name in section.steps_of(chunk):
                    if name in linears:
                        matrix, linear = layout.matrices[name], linears[name]
                        count = matrix.results * config.cols
                        outputs = slice(chunk * count, (chunk + 1) * count)
                        weights.append(place(config, linear.weight[outputs], matrix))
                        factors = linear.factors[:, outputs]
                        put(values, layout.layer[name], np.pad(factors, ((0, 0), (0, count - factors.shape[1]))))
                        if linear.bias is not None:
                            put(values, layout.layer[f"{name}_bias"], linear.bias[outputs])
                    for constant in layout.constants_of(name):
                        if constant in vectors:
                            put(values, layout.layer[constant], vectors[constant])
                constants.append(values)

    for index in range(model.config.n_layers):
        segments(layout.layer_sections, layer_linears(layout, model, index), layer_constants(layout, model, index))
    segments(layout.end_sections, {"classifier": padded_classifier(model, layout.padded_results("classifier"))},
             {"final_norm": np.broadcast_to(model.vector("final_norm"), model.config.dim)})
    return np.concatenate(weights), np.concatenate(constants), np.full((layout.segment, config.lanes), ONE, np.int16)


def stream(layout: StreamedLayout, entries: dict[tuple[str, ...], int], weights: np.ndarray,
           constants: np.ndarray, block: Block | None = None, no_block: str = "") -> Stream:
    """The stream of a layout, with an empty embedding and tables of a model without integers.

    `entries`: the number of each section's first instruction, by the section's steps; in external memory all are
    parts of one run. `block`, `no_block`: see `Stream`.
    """
    def entered(part: Section) -> Section:
        return replace(part, entry=entries.get(part.steps, 0))

    matrix = layout.matrices["classifier"]
    external = {}
    if isinstance(layout, ExternalLayout):
        external = {"external": True, "logits_far": layout.logits_far, "cache_bursts": layout.cache_bursts}
    first = [name for operation in layout.graph.begin for name in layout.constants_of(operation.name)]
    return Stream(
        entered(layout.begin), tuple(map(entered, layout.layer_sections)), tuple(map(entered, layout.end_sections)),
        layout.model.n_layers, layout.buffer, layout.room, layout.segment, {name: layout.layer[name] for name in first},
        layout.cell, layout.cells, 0 if layout.whole else matrix.results * layout.config.cols, weights, constants,
        np.zeros(0, np.int8), np.zeros((0, 1), np.int16), block=block, no_block=no_block, **tables_of(layout), **external)


def tables_of(layout: StreamedLayout, model: QuantisedModel | None = None) -> dict[str, np.ndarray]:
    """The tables "low", "high" and "positions" (see `fill.tables`); one that the model does not
    need is empty, [0, 0]."""
    nothing = np.zeros((0, 0), np.int16)
    return dict.fromkeys(("low", "high", "positions"), nothing) | tables(layout, model)
