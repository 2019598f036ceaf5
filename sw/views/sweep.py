"""A sweep: a model on every combination of values of some fields of a tile's configuration."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import product

from ...hdl.spec.config import ConfigError
from ...hdl.spec.named import configuration
from ..model.config import ModelConfig
from ..model.families import graph_of
from ..model.model import Model
from ..program.program import RESIDENT
from .fit import NO, Target, fit

ILLEGAL, FAILED = "illegal", "failed"
"""Modes of a point beside those that `fit` has: its configuration is not legal; it could not be reckoned."""


def points(base: str, over: Mapping[str, Sequence[int]]) -> list[str]:
    """The names of all combinations of the fields' values, as `--config` takes them."""
    return [",".join([base, *(f"{name}={value}" for name, value in zip(over, values, strict=True))])
            for values in product(*over.values())]


def reckon(name: str, shape: ModelConfig, model: Model | None, context: int | None = None) -> dict:
    """One point: {"config", the fields of the configuration, "mode", "why", "positions", "cycles" (of the token in the middle
    of the context), "utilisation", "wram_words", "mem_words", "link_words"}. `model`, `context`: as for `fit`.

    Fields and figures are left out where the configuration is not legal, figures where the model cannot run.
    """
    try:
        config = configuration(name)
    except ConfigError as error:
        return {"config": name, "mode": ILLEGAL, "why": str(error)}
    (row,) = fit(shape, [Target(name, config)], model, context)
    found = {"config": name, **{field: value for field, value in asdict(config).items() if field != "name"},
             "mode": row["mode"], "why": row["why"]}
    if row["mode"] == NO:
        return found
    cycles, middle = row["cycles"]["mid"], row["positions"] // 2
    return found | {
        "positions": row["positions"], "cycles": cycles, "utilisation": graph_of(shape).macs(middle) / config.macs / cycles,
        **{kind: used["used"] for kind, used in row["memory"].items()}, "link_words": row["link_words"]}


def with_speed(row: dict, cells: Mapping[str, object] | None, clock_mhz: float | None = None,
               prices_usd: Mapping[str, float] | None = None) -> dict:
    """A point with its cells (`marey.boards.estimate.Estimate`, as a dict), and {"tokens_per_second",
    "tokens_per_second_per_lut"} at their clock, or at `clock_mhz`. A streamed model waits for its link, which a sweep does
    not know: it has no speed.

    `prices_usd`: of devices, by name. A point that has room on one of them gets {"usd", "tokens_per_second_per_usd"}.
    """
    clock_mhz = clock_mhz or (cells and cells["clock_mhz"])
    row = row | {**(cells or {}), "clock_mhz": clock_mhz}
    if row["mode"] != RESIDENT or not clock_mhz:
        return row
    speed = clock_mhz * 1e6 / row["cycles"]
    found = {"tokens_per_second": speed}
    if cells:
        found["tokens_per_second_per_lut"] = speed / cells["lut"]
        if usd := (prices_usd or {}).get(cells.get("part")):
            found |= {"usd": usd, "tokens_per_second_per_usd": speed / usd}
    return row | {name: float(f"{value:.4g}") for name, value in found.items()}


def with_build(row: dict, built: Mapping[str, object] | None) -> dict:
    """A point with what place and route made of its tile: {"built_lut", "built_bram", "built_dsp",
    "built_clock_mhz", "built_tokens_per_second"}; or, if they failed, {"build_why"}.

    `built`: {"lut", "bram", "dsp", "clock_mhz"}, or a row of a failure with "why", or None.
    """
    if not built:
        return row
    if built.get("mode") == FAILED:
        return row | {"build_why": built["why"]}
    found = {f"built_{name}": built[name] for name in ("lut", "bram", "dsp", "clock_mhz")}
    if row["mode"] == RESIDENT:
        found["built_tokens_per_second"] = float(f"{built['clock_mhz'] * 1e6 / row['cycles']:.4g}")
    return row | found


def front(rows: Iterable[dict], cost: str, gain: str) -> list[dict]:
    """The Pareto front: the rows of which no other one has as much of `gain` for less of `cost`, cheapest first."""
    found: list[dict] = []
    for row in sorted((row for row in rows if row.get(cost) is not None and row.get(gain) is not None),
                      key=lambda row: (row[cost], -row[gain])):
        if not found or row[gain] > found[-1][gain]:
            found.append(row)
    return found


def as_csv(rows: Sequence[dict]) -> str:
    """The rows as comma-separated values; a column for every key."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
