"""The command sweep: a model on many tiles, in processes or on a cluster."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import click
from tqdm import tqdm

from ...boards.estimate import PRICES_USD, estimate
from ...hdl.spec.errors import MareyError
from ...hdl.spec.named import check_field, configuration
from ...sim.files import write_file
from ..formats import load_shape
from ..views.scatter import scatter
from ..views.sweep import FAILED, as_csv, front, points, reckon, with_speed
from .base import MODEL_FILE, POSITIONS, main
from .compiling import check_context, small_weights

KEPT = "points.jsonl"
"""The file of points that are done: a line for each, with its key."""
TRIALS = 5
"""Times that a point is tried whose worker dies."""
QUIET = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "500ms",
         "distributed.admin.system-monitor.interval": "5s"}
"""Settings of Dask for local processes. Its profiler and monitors would take a quarter of the workers' time."""


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
@POSITIONS
@click.option("--clock-mhz", type=click.FloatRange(min=0, min_open=True), help="Clock of all tiles. Default: the estimate's.")
@click.option("--price", "prices", type=Price(), multiple=True, metavar="PART=DOLLARS",
              help="What one piece of an FPGA costs, such as LFE5U-25F=14.2. Default: round numbers, which are assumed.")
@click.option("--workers", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="the processors",
              help="Local processes; several need pip install 'marey[campaign]'.")
@click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler to use instead, such as tcp://host:8786.")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("build/sweep"),
              show_default=True,
              help="Folder for points.csv, points.json, front.svg and front.png; a sweep that was stopped goes on from what "
                   "is there.")
def sweep_command(model, overs, base, context, clock_mhz, prices, workers, scheduler, output):
    """Reckon MODEL on every combination of values of some fields of a tile: cycles, memories, and for an ECP5 the estimated
    cells, clock and tokens a second; and the Pareto front of speed over cells."""
    over = {name: values for fields in overs for name, values in fields.items()}
    configuration(base)
    shape = load_shape(model)
    check_context(shape, context)
    for name in over:
        check_field(base, name)
    names = points(base, over)
    output.mkdir(parents=True, exist_ok=True)
    found = _found(output / KEPT, {_key(name, shape, context): name for name in names})
    waiting = {key: name for name in names if (key := _key(name, shape, context)) not in found}
    with (output / KEPT).open("a", encoding="utf-8") as kept, ExitStack() as stack:
        results = _results(stack, str(model), context, waiting, workers, scheduler)
        for key, row in tqdm(results, desc="reckoning", unit="tile", total=len(waiting), disable=None, leave=False):
            found[key] = row
            if row["mode"] != FAILED:  # which is tried again next time
                kept.write(json.dumps({"key": key, "row": row}) + "\n")
                kept.flush()
    usd = PRICES_USD | dict(prices)
    rows = [with_speed(row, _cells(row), clock_mhz, usd) for name in names if (row := found.get(_key(name, shape, context)))]
    _write(output, model.name, rows)


def _key(name, shape, context) -> str:
    """What a point depends on, as a digest."""
    return sha256(f"{name} {asdict(shape)} {context}".encode()).hexdigest()[:20]


def _found(path: Path, wanted: dict[str, str]) -> dict[str, dict]:
    """The points that earlier calls have kept. A line that was not written to its end is as if it were not there."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(ValueError, KeyError):
            entry = json.loads(line)
            if entry["key"] in wanted:
                found[entry["key"]] = entry["row"]
    return found


@lru_cache(1)
def _model(path: str):
    """The shape of a model, and its weights if they are few: read once in each process."""
    shape = load_shape(Path(path))
    return shape, small_weights(Path(path), shape)


def one(path: str, key: str, name: str, context: int | None) -> tuple[str, dict]:
    """(key, row) of one point. What fails is a row, too, and does not end the sweep."""
    try:
        return key, reckon(name, *_model(path), context)
    except Exception as error:
        return key, {"config": name, "mode": FAILED, "why": f"{type(error).__name__}: {error}"}


def _results(stack, path, context, waiting, workers, scheduler) -> Iterator[tuple[str, dict]]:
    """The points that are still to be reckoned, in the order in which they are done."""
    if not waiting or (workers == 1 and scheduler is None):
        yield from (one(path, key, name, context) for key, name in waiting.items())
        return
    try:
        # Here, and not above, because Dask is in the optional extra `campaign`.
        from dask import config
        from distributed import Client, LocalCluster, as_completed
    except ModuleNotFoundError as error:
        raise MareyError(f"several --workers need {error.name}: pip install 'marey[campaign]', or --workers 1") from None
    if scheduler is None:
        stack.enter_context(config.set(QUIET))
        scheduler = stack.enter_context(LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0",
                                                     silence_logs=logging.CRITICAL))
    try:
        client = stack.enter_context(Client(scheduler))
    except OSError as error:
        raise MareyError(f"no Dask scheduler at {scheduler}: {error}") from None
    futures = {client.submit(one, path, key, name, context, pure=False, retries=TRIALS): (key, name)
               for key, name in waiting.items()}
    for future in as_completed(futures):
        key, name = futures[future]
        error = future.exception()
        yield future.result() if error is None else (
            key, {"config": name, "mode": FAILED, "why": f"{type(error).__name__}: {error}"})
        future.release()


def _cells(row: dict) -> dict | None:
    """The estimated cells of a point; None where there are none."""
    if "rows" not in row or (cells := estimate(configuration(row["config"]))) is None:
        return None
    return asdict(cells)


def _write(output: Path, title: str, rows: list[dict]) -> None:
    """Writes the results, and prints the front."""
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
    counts = {mode: sum(row["mode"] == mode for row in rows) for mode in dict.fromkeys(row["mode"] for row in rows)}
    click.echo(f"{len(rows)} tiles: {', '.join(f'{count} {mode}' for mode, count in counts.items())}; {output}/points.csv, "
               "points.json, front.svg", err=True)
    click.echo(f"{'on the front':<44}{'LUT':>8}{'BRAM':>6}{'DSP':>6}{'cycles':>10}{'utilisation':>12}{'tokens/s':>10}"
               f"{'/LUT':>8}{'/$':>8}  part")
    for row in best:
        by_usd = f"{row['tokens_per_second_per_usd']:,g}" if "usd" in row else "-"
        click.echo("{config:<44}{lut:>8,}{bram:>6}{dsp:>6}{cycles:>10,}{utilisation:>12.1%}{tokens_per_second:>10,g}"
                   "{tokens_per_second_per_lut:>8.3g}".format(**row) + f"{by_usd:>8}  {row['part'] or 'none'}")
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
