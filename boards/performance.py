"""Measures how fast Marey is: cycles on the tile, tokens a second of the boards, and the CPU time of
its commands.

    python -m marey.boards.performance [MODEL] [--beside FOLDER] [--quick] [--json]

Each figure stands beside the one that `performance.json` holds of an earlier commit, with the ratio
of the two. CPU time depends on the machine and on what else it does, so a ratio of CPU times means
something only if both were measured at the same time: `--beside` measures the commands of another
checkout, too.

- *Derived* figures come from the compiler, whose cycles are compared with the RTL's on every run,
  and from the clocks of the boards. They are the same on every machine.
- *Measured* figures are CPU seconds, user and system, of a command as a process of its own, with its
  children.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from ..hdl.spec.config import preset
from ..hdl.spec.errors import MareyError
from ..sw.compiler.compile import schedule
from ..sw.compiler.integers import integers_for
from ..sw.compiler.plan import lay_out_model
from ..sw.formats import DEFAULT_MODEL, load_model
from ..sw.model.config import ModelConfig
from ..sw.model.families import graph_of
from ..sw.program.verified import verify
from ..sw.quant.outline import outline_of_shape
from ..sw.views.fit import Target, fit
from .all import BOARDS

BASELINE = Path(__file__).with_name("performance.json")
"""Figures of an earlier commit: {"commit", "machine", "figures": {name: value}}."""
STORIES = Path(__file__).resolve().parents[2] / "shared" / "models" / "stories260K.bin"
TILES = ("sim8x8", "sim4x4", "sim8x8_int4")
POSITIONS = 256
"""Positions, from 0 on, over which a utilisation is a mean."""
DEEP = ModelConfig(dim=576, hidden_dim=1536, n_layers=30, n_heads=9, n_kv_heads=3, vocab_size=49152,
                   seq_len=2048)
"""The shape of SmolLM2-135M."""
SHORT, LONG = 20, 420
"""Tokens of the two runs whose difference gives the simulated cycles in a CPU second."""
PROMPT = "Once upon a time"


@dataclass(frozen=True)
class Figure:
    """A figure. `kind`: "derived" or "measured"; `more`: whether more is better."""

    name: str
    value: float
    unit: str
    kind: str
    more: bool

    def ratio(self, before: float) -> float:
        """How many times better it is than it was."""
        return self.value / before if self.more else before / self.value


def derived(path: Path) -> Iterator[Figure]:
    """Utilisations of presets with a model file, and tokens a second of boards with it and with the
    model that ships."""
    model = load_model(path)
    for name in TILES:
        config = preset(name)
        outline = outline_of_shape(model.config, model=model, **integers_for(config, model.config, model))
        program = schedule(lay_out_model(config, outline), outline)
        floor = sum(-(-graph_of(model.config).macs(position) // config.macs) for position in range(POSITIONS))
        cycles = [program.cycles(position) for position in range(POSITIONS)]
        for what, part in ((f"positions 0 to {POSITIONS - 1}", floor / sum(cycles)),
                           ("position 0", -(-graph_of(model.config).macs(0) // config.macs) / cycles[0])):
            title = f"utilisation, {name}, {path.stem}, {what}"
            yield Figure(title, round(100 * part, 2), "%", "derived", True)
    targets = [Target(board.name, board.tile, board.clock_hz, board.baud) for board in BOARDS.values()]
    for file in (DEFAULT_MODEL, path):
        loaded = load_model(file)
        for row in fit(loaded.config, targets, loaded):
            if rate := row["tokens_per_second"]:
                yield Figure(f"tokens a second, {row['name']}, {file.stem}", rate, "1/s", "derived", True)


def rule_check() -> Figure:
    """The CPU seconds in which a program of 30 layers is held against the rules of the tile, for all
    numbers of blocks."""
    config, outline = preset("lpu16x16"), outline_of_shape(DEEP, 8, 16)
    program = schedule(lay_out_model(config, outline), outline)
    begun = time.process_time()
    verify(program)
    spent = round(time.process_time() - begun, 2)
    return Figure("rule checks, 30 layers of SmolLM2's shape", spent, "CPU s", "measured", False)


class Commands:
    """The command `marey` of a checkout, and what it takes.

    Parameters: `project`, the folder of the checkout, or None for the Marey that runs; `folder`, an
    empty one, in which the commands run and have their cache.
    """

    def __init__(self, project: Path | None, folder: Path):
        self._folder, self._newer = folder, project is None
        caches = {"MAREY_CACHE": folder / "cache", "XDG_CACHE_HOME": folder / "xdg"}
        self._environment = dict(os.environ) | {name: str(cache) for name, cache in caches.items()}
        # This process has set it for itself (`marey.sw`); a checkout of another commit would be measured with it, too.
        self._environment.pop("OPENBLAS_THREAD_TIMEOUT", None)
        if project:
            (folder / "path").mkdir()
            (folder / "path" / "marey").symlink_to(project.resolve())
            self._environment["PYTHONPATH"] = str(folder / "path")

    def run(self, *arguments: str) -> tuple[float, str]:
        """The CPU seconds of a command, its children included, and what it prints. MareyError if it
        fails."""
        before = os.times()
        command = [sys.executable, "-c", "from marey.sw.cli import main; main()", *arguments]
        done = subprocess.run(command, text=True, env=self._environment, cwd=self._folder, capture_output=True)
        after = os.times()
        if done.returncode:
            said = (done.stderr.splitlines() or ["no message"])[-1]
            raise MareyError(f"marey {' '.join(arguments)} failed: {said}")
        return after[2] + after[3] - before[2] - before[3], done.stdout

    def figures(self, path: Path) -> Iterator[Figure]:
        """The measured figures of a model file, in an order in which each command finds the cache that
        it needs."""
        def seconds(name, value):
            return Figure(name, round(value, 2), "CPU s", "measured", False)

        model = str(path.resolve())
        generate = ["generate", PROMPT, "--model", model, "--backend", "verilator"]
        compile_ = ["compile", model, "-o", "program.marey"]
        yield seconds("marey compile, empty cache", self.run(*compile_)[0])
        yield seconds("marey compile, again", self.run(*compile_)[0])
        yield seconds("marey eval", self.run("eval", model)[0])
        yield seconds("a first story, simulator built", self.run(*generate)[0])
        # At a high temperature no text ends soon; without a reference, the tile takes most of the time.
        drawn = [*generate, "--temperature", "1.5", "--seed", "1", "--json"]
        drawn += ["--no-verify"] if self._newer else []
        runs = [(spent, json.loads(printed)["measured_cycles"]) for spent, printed in
                (self.run(*drawn, "--steps", str(steps)) for steps in (SHORT, LONG))]
        (short_s, short_cycles), (long_s, long_cycles) = runs
        rate = (long_cycles - short_cycles) / max(long_s - short_s, 0.01)
        yield Figure("simulated cycles, sim8x8", round(rate), "1/CPU s", "measured", True)


def table(figures: list[Figure], before: dict[str, float]) -> list[str]:
    """The figures as lines for people, with those of before, by name, and the ratios."""
    lines = [f"{'figure':<58}{'before':>12}{'now':>12}  {'unit':<8}{'better':>8}  kind"]
    for figure in figures:
        earlier = before.get(figure.name)
        ratio = f"x{figure.ratio(earlier):.2f}" if earlier else "-"
        shown = f"{earlier:,.6g}" if earlier else "-"
        lines.append(f"{figure.name:<58}{shown:>12}{figure.value:>12,.6g}  {figure.unit:<8}{ratio:>8}  "
                     f"{figure.kind}")
    return lines


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=STORIES)
@click.option("--beside", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Checkout of another commit, whose commands are measured, too.")
@click.option("--quick", is_flag=True, help="Derived figures only: seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and nothing else.")
def main(model, beside, quick, as_json):
    """Measure how fast Marey is with MODEL (default: stories260K, beside the project), and compare it
    with an earlier commit."""
    try:
        figures, before = list(derived(model)), json.loads(BASELINE.read_text())["figures"]
        if not quick:
            figures.append(rule_check())
            with tempfile.TemporaryDirectory() as folder:
                folders = [Path(folder, name) for name in ("now", "before")]
                for each in folders:
                    each.mkdir()
                figures += Commands(None, folders[0]).figures(model)
                if beside:
                    earlier = Commands(beside, folders[1]).figures(model)
                    before |= {figure.name: figure.value for figure in earlier}
    except MareyError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps({"before": before, "figures": [asdict(figure) for figure in figures]}))
    else:
        click.echo("\n".join(table(figures, before)))


if __name__ == "__main__":
    main()
