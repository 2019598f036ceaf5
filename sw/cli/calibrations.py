"""Quantised models in the cache folder: calibration takes up to a minute, and gives the same for every tile.

A file's name is a digest of all that the quantised model is made from: the model's weights, the bits and groups, and the
source code of the quantiser. A file that is damaged, or cannot be read or written, is as if it were not there.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ... import hdl, sw
from ...hdl.spec.errors import MareyError
from ...sim.cache import cache_folder, remove_oldest
from ...sim.files import new_content
from ...sim.progress import progress
from ..model.config import ModelConfig
from ..model.families import graph_of
from ..model.integer_graph import integer_graph
from ..model.model import Model
from ..program.program import DAMAGE
from ..quant.calibrate import expected_s
from ..quant.fold import folded, untied_graph
from ..quant.model import Linear, QuantisedModel
from ..quant.quality import quality
from ..quant.quantise import quantise

MOST_BYTES = 1 << 30
"""Bytes that all these files together may take; the one that was not used for longest goes first."""

NUMBERS = ("bits", "embedding_group", "epsilon", "shifts", "logit_unit", "quality", "cache_bits")
ARRAYS = ("embedding", "embedding_factor", "residual_units")
"""The fields of a QuantisedModel that are kept, beside its vectors and linears."""

SOURCES = [*Path(sw.__file__).parent.glob("quant/*.py"), *Path(sw.__file__).parent.glob("model/**/*.py"),
           Path(sw.__file__).parent / "text" / "sampling.py", Path(hdl.__file__).parent / "spec" / "integer.py", Path(__file__)]
"""Files whose change may change what `quantise` gives."""


def quantised(model: Model, **how: int) -> QuantisedModel:
    """What `quantise` gives for a model and the arguments `how`, with its quality, from the cache if it was made before."""
    name = name_of(model, **how)
    if found := load(name, model.config):
        return found
    made = _judged(model, how)
    with suppress(OSError, MareyError):
        _save(_file(name), made)
        remove_oldest("quantised-*.npz", MOST_BYTES)
    return made


def load(name: str, shape: ModelConfig) -> QuantisedModel | None:
    """The quantised model that is kept under a name (see `name_of`), or None. `shape`: the configuration of the model that it
    was made from."""
    with suppress(*DAMAGE, MareyError):
        file = _file(name)
        found = _load(file, graph_of(shape))
        os.utime(file)
        return found
    return None


def name_of(model: Model, **how: int) -> str:
    """The name under which a quantised model is kept: 32 hexadecimal digits. `how`: arguments of `quantise`."""
    digest = hashlib.sha256(f"{model.config} {sorted(how.items())} {np.__version__}".encode())
    for source in sorted(SOURCES):
        digest.update(source.read_bytes())
    for name in sorted(model.weights):
        weights = np.ascontiguousarray(model.weights[name])
        digest.update(f"{name} {weights.dtype} {weights.shape}".encode())
        digest.update(weights.data)
    return digest.hexdigest()[:32]


def _file(name):
    return cache_folder() / f"quantised-{name}.npz"


def _judged(model, how):
    """The quantised model, with its quality."""
    made = quantise(model, **how)
    with progress("judging the integers", expected_s(model) / 6):
        return replace(made, quality=quality(model, made))


def _save(file, model):
    """Writes a quantised model: numbers as JSON, and arrays."""
    arrays = {name: getattr(model, name) for name in ARRAYS}
    arrays |= {f"vectors.{name}": vector for name, vector in model.vectors.items()}
    linears = {}
    for name, linear in model.linears.items():
        linears[name] = {"shift": linear.shift, "group": linear.group, "rescale": linear.rescale,
                         "offset_groups": linear.offset_groups, "offset_shift": linear.offset_shift,
                         "first_shift": linear.first_shift}
        parts = {"weight": linear.weight, "multiplier": linear.multiplier, "bias": linear.bias}
        arrays |= {f"linears.{name}.{part}": array for part, array in parts.items() if array is not None}
    facts = {name: getattr(model, name) for name in NUMBERS} | {
        "pipelined": model.pipelined, "static": model.static, "gated": model.gated, "config": asdict(model.config),
        "linears": linears}
    arrays["facts"] = np.frombuffer(json.dumps(facts, default=float).encode(), np.uint8)
    with new_content(file) as temporary, temporary.open("wb") as opened:
        np.savez(opened, **arrays)


def _load(file, graph):
    """Reads a quantised model; its archive has a checksum for each array. Raises one of DAMAGE if there is no sound one."""
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
        arrays = dict(archive)
    facts = json.loads(bytes(arrays["facts"]))
    linears = {name: Linear(weight=arrays[f"linears.{name}.weight"], multiplier=arrays[f"linears.{name}.multiplier"],
                            bias=arrays.get(f"linears.{name}.bias"), **numbers)
               for name, numbers in facts["linears"].items()}
    vectors = {name.removeprefix("vectors."): array for name, array in arrays.items() if name.startswith("vectors.")}
    graph = folded(graph)
    balanced, pipelined = "epsilon" in vectors, facts["pipelined"]
    graph = untied_graph(graph) if balanced or (pipelined and not facts["config"]["tied"]) else graph
    graph = integer_graph(graph, balanced, balanced and facts["bits"] == 4, pipelined, facts["static"], facts["gated"])
    return QuantisedModel(config=graph.config, graph=graph, linears=linears, vectors=vectors,
                          **{name: facts[name] for name in NUMBERS}, **{name: arrays[name] for name in ARRAYS})
