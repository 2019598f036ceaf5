"""The command sweep: a model on many tiles, in processes or on a cluster."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path

import click

from ...boards.cost import cost
from ...boards.estimate import PARTS, PRICES_USD, Estimate, estimate, on_device
from ...hdl.spec.errors import MareyError
from ...hdl.spec.named import check_field, configuration
from ...sim.files import write_file
from ..formats import load_shape
from ..views.fit import NO
from ..views.scatter import scatter
from ..views.sweep import as_csv, front, points, reckon, with_build, with_speed
from .base import MODEL_FILE, POSITIONS, main
from .compiling import check_context, small_weights
from .spread import Kept, Spread

POINTS, BUILDS = "points.jsonl", "builds.jsonl"
"""The files of points, and of builds, that are done."""
FRONT, ALL = "front", "all"
"""What --build builds: the tiles of the front, or all for which cells are estimated."""


@dataclass(frozen=True)
class Base:
    """What has the fields that are not swept: a configuration by name, perhaps of a board, with its clock and
    its device."""

    config: str
    board: str | None = None
    clock_mhz: float | None = None
    device: str | None = None

    @classmethod
    def of_board(cls, name: str) -> "Base":
        """A board. MareyError if there is none of this name."""
        try:
            # Here, and not above, because amaranth-boards is in the optional extra `boards`.
            from ...boards.all import board_named
        except ModuleNotFoundError as error:
            raise MareyError(f"--board needs {error.name}: pip install 'marey[boards]'") from None
        board = board_named(name)
        return cls(board.tile.name, name, board.clock_hz / 1e6, board.platform().device)

    def row(self, row: dict, clock_mhz: float | None, usd: dict[str, float]) -> dict:
        """A point with its cells, and with a speed at a clock, or else the board's or the estimate's. A tile
        that has no room on the board's device has no speed."""
        cells = _estimate(row)
        if not self.board:
            return with_speed(row, cells and asdict(cells), clock_mhz, usd)
        row = row | {"board": self.board}
        if cells and self.device in PARTS:
            cells = on_device(cells, self.device)
            if cells.part is None:
                why = f"no room on the board's {self.device}"
                return row | asdict(cells) | {"clock_mhz": self.clock_mhz, "mode": NO, "why": why}
        return with_speed(row, cells and asdict(cells), clock_mhz or self.clock_mhz, usd)


class Over(click.ParamType):
    """FIELD=N,N,... or several of them with spaces between."""

    name = "fields"

    def convert(self, value, param, ctx):
        found = {}
        for part in value.split():
            name, _, numbers = part.partition("=")
            try:
                found[name] = [int(number) for number in numbers.split(",")]
            except ValueError:
                self.fail(f"{part!r} is not FIELD=N,N,...", param, ctx)
        return found


class Price(click.ParamType):
    """PART=DOLLARS."""

    name = "price"

    def convert(self, value, param, ctx):
        part, _, usd = value.partition("=")
        try:
            if part not in PRICES_USD:
                self.fail(f"{part!r} is none of {', '.join(PRICES_USD)}", param, ctx)
            if (price := float(usd)) > 0:
                return part, price
        except ValueError:
            pass
        self.fail(f"{value!r} is not PART=DOLLARS", param, ctx)


@main.command("sweep")
@MODEL_FILE
@click.option("--over", "overs", type=Over(), multiple=True, required=True, metavar="FIELD=N,N,...",
              help="Values of a field of the configuration; given more than once, or with several fields in quotes, all "
                   "combinations are reckoned.")
@click.option("--config", "base", default="sim8x8", show_default=True, metavar="PRESET|FILE.toml",
              help="Configuration that has the other fields.")
@click.option("--board", "boards", multiple=True, metavar="NAME",
              help="Board that has the other fields, its clock and its device, instead of a --config; several "
                   "are tried one after another.")
@POSITIONS
@click.option("--clock-mhz", type=click.FloatRange(min=0, min_open=True), help="Clock of all tiles. Default: the estimate's.")
@click.option("--price", "prices", type=Price(), multiple=True, metavar="PART=DOLLARS",
              help="What one piece of an FPGA costs, such as LFE5U-25F=14.2. Default: round numbers, which are assumed.")
@click.option("--workers", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="the processors",
              help="Local processes; several need pip install 'marey[campaign]'.")
@click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler to use instead, such as tcp://host:8786.")
@click.option("--build", is_flag=False, flag_value=FRONT, type=click.Choice([FRONT, ALL]),
              help="Also synthesise, place and route the tiles of the front, or all: minutes for each. Needs "
                   "pip install 'marey[boards]'.")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("build/sweep"),
              show_default=True,
              help="Folder for points.csv, points.json, front.svg and front.png; a sweep that was stopped goes on from what "
                   "is there.")
def sweep_command(model, overs, base, boards, context, clock_mhz, prices, workers, scheduler, build, output):
    """Reckon MODEL on every combination of values of some fields of a tile: cycles, memories, and for an ECP5 the estimated
    cells, clock and tokens a second; and the Pareto front of speed over cells."""
    over = {name: values for fields in overs for name, values in fields.items()}
    bases = [Base.of_board(name) for name in boards] or [Base(base)]
    configuration(base)
    shape = load_shape(model)
    check_context(shape, context)
    for name in over:
        check_field(base, name)
    names = [(each, name) for each in bases for name in points(each.config, over)]
    output.mkdir(parents=True, exist_ok=True)
    spread, usd = Spread(workers, scheduler), PRICES_USD | dict(prices)
    keys = {_key(name, shape, context): name for _, name in names}
    found = _done(spread, partial(one, str(model), context), keys, Kept(output / POINTS), "reckoning")
    rows = [each.row(row, clock_mhz, usd) for each, name in names
            if (row := found.get(_key(name, shape, context)))]
    best = _write(output, model.name, rows)
    if build:
        keys = {f"{configuration(row['config']).hash:08x}": row["config"]
                for row in (best if build == FRONT else rows) if row.get("lut")}
        built = _done(spread, built_cells, keys, Kept(output / BUILDS), "building")
        by_config = {keys[key]: row for key, row in built.items()}
        rows = [with_build(row, by_config.get(row["config"])) for row in rows]
        best = _write(output, model.name, rows)
    _tell(output, rows, best)


def _done(spread: Spread, work: Callable, keys: dict[str, str], kept: Kept, what: str) -> dict[str, dict]:
    """The rows of all points, by key: those that are kept, and the others, which are worked out."""
    found = kept.found(keys)
    waiting = {key: name for key, name in keys.items() if key not in found}
    return found | spread.rows(work, waiting, kept, what)


def _key(name, shape, context) -> str:
    """What a point depends on, as a digest."""
    return sha256(f"{name} {asdict(shape)} {context}".encode()).hexdigest()[:20]


@lru_cache(1)
def _model(path: str):
    """The shape of a model, and its weights if they are few: read once in each process."""
    shape = load_shape(Path(path))
    return shape, small_weights(Path(path), shape)


def one(path: str, context: int | None, key: str, name: str) -> dict:
    """The row of one point."""
    return reckon(name, *_model(path), context)


def built_cells(key: str, name: str) -> dict:
    """What place and route make of a tile, which takes minutes: {"lut", "bram", "dsp", "clock_mhz"}."""
    found = cost(name)
    cells = {kind: found["resources"][kind] for kind in ("lut", "bram", "dsp")}
    return cells | {"clock_mhz": found["clock_mhz_met"]}


def _estimate(row: dict) -> Estimate | None:
    """The estimated cells of a point; None where there are none."""
    return estimate(configuration(row["config"])) if "rows" in row else None


def _write(output: Path, title: str, rows: list[dict]) -> list[dict]:
    """Writes the results, and returns the front."""
    best = front(rows, "lut", "tokens_per_second")
    write_file(output / "points.json", json.dumps({"model": title, "points": rows, "front": [row["config"] for row in best]}))
    write_file(output / "points.csv", as_csv(rows))
    drawn = [row for row in rows if row.get("lut") and row.get("tokens_per_second")]
    if drawn:
        plot = scatter(f"{title}: tokens a second over LUTs of an ECP5, estimated", drawn, best, ("lut", "LUT"),
                       ("tokens_per_second", "tokens a second"))
        write_file(output / "front.svg", plot)
        if png := _png(plot):
            write_file(output / "front.png", png)
    return best


def _tell(output: Path, rows: list[dict], best: list[dict]) -> None:
    """Prints the front."""
    counts = {mode: sum(row["mode"] == mode for row in rows) for mode in dict.fromkeys(row["mode"] for row in rows)}
    click.echo(f"{len(rows)} tiles: {', '.join(f'{count} {mode}' for mode, count in counts.items())}; {output}/points.csv, "
               "points.json, front.svg", err=True)
    click.echo(f"{'on the front':<44}{'LUT':>8}{'BRAM':>6}{'DSP':>6}{'cycles':>10}{'utilisation':>12}{'tokens/s':>10}"
               f"{'/LUT':>8}{'/$':>8}  part")
    for row in best:
        by_usd = f"{row['tokens_per_second_per_usd']:,g}" if "usd" in row else "-"
        label = " ".join(filter(None, (row.get("board"), row["config"])))
        click.echo(f"{label:<44}"
                   "{lut:>8,}{bram:>6}{dsp:>6}{cycles:>10,}{utilisation:>12.1%}{tokens_per_second:>10,g}"
                   "{tokens_per_second_per_lut:>8.3g}".format(**row) + f"{by_usd:>8}  {row['part'] or 'none'}")
        if "built_lut" in row:
            click.echo("  built{built_lut:>45,}{built_bram:>6}{built_dsp:>6}{built_tokens_per_second:>32,g}"
                       "  at {built_clock_mhz:g} MHz".format(**row))
        elif "build_why" in row:
            click.echo(f"  not built: {row['build_why']}")
    if best:
        click.echo(f"LUTs are estimated: a line through the boards' builds, which are off it by up to "
                   f"{best[0]['lut_error']:.0%}; arrays other than 4x4 and 8x8 are an extrapolation; prices of "
                   "parts are assumed, unless --price gives them", err=True)


def _png(svg: str) -> bytes | None:
    """A plot as PNG, of twice as many pixels; None where the renderer is not installed."""
    try:
        # Here, and not above, because it is in the optional extra `campaign`.
        from resvg_py import svg_to_bytes
    except ModuleNotFoundError:
        return None
    return bytes(svg_to_bytes(svg_string=svg, zoom=2, background="white"))
