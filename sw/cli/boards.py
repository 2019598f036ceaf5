"""Commands about boards: boards, build, flash, virtual."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import click

from ...boards import flow
from ...boards.build import build, synthesise
from ...boards.records import builds
from ...hdl.spec.errors import MareyError
from .base import JSON, TOKENIZER, main
from .compiling import load_or_compile

BOARD = click.option("--board", "board_name", required=True, help="Board, as `marey boards` calls it.")
FOLDER = click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False),
                      help="Folder for the files that are built. Default: build/BOARD.")


def _all_boards():
    """The module `marey.boards.all`. MareyError without the extra `boards`."""
    try:
        # Here, and not above, because amaranth-boards is in the optional extra `boards`.
        from ...boards import all as all_boards
    except ModuleNotFoundError as error:
        raise MareyError(f"boards need {error.name}: pip install 'marey[boards]'") from None
    return all_boards


def _board(name):
    """The board with a name. MareyError without the extra `boards`, or for a name that no board has."""
    return _all_boards().board_named(name)


def _burnable(model, tokenizer, board):
    """The program of a model or program file. MareyError, before calibration, if it cannot be burned into the board's tile."""
    return load_or_compile(model, tokenizer, board.tile, lambda program: program.check_burnable(board.tile))


def _say(line):
    click.echo(line, err=True)


@main.command("boards")
@JSON
def boards_command(as_json):
    """List the boards, and the tile that each gets."""
    known = builds()
    rows = [{"board": board.name, "title": board.title, "device": board.device, "config": board.tile.name,
             "clock_mhz_target": board.clock_hz / 1e6, "baud": board.baud, "note": board.note,
             "clock_mhz_met": known.get(board.name, {}).get("clock_mhz_met"),
             "resources": known.get(board.name, {}).get("resources")} for board in _all_boards().BOARDS.values()]
    if as_json:
        click.echo(json.dumps(rows))
        return
    click.echo(f"{'board':<22}{'device':<18}{'tile':<22}{'MHz':>5}{'met':>7}{'baud':>10}")
    for row in rows:
        met = row["clock_mhz_met"] or "-"
        line = "{board:<22}{device:<18}{config:<22}{clock_mhz_target:>5g}{met:>7}{baud:>10}  {note}"
        click.echo(line.format(**row, met=met).rstrip())


@main.command("build")
@BOARD
@click.option("--model", type=click.Path(path_type=Path),
              help="Model to burn into the bitstream or flash, if the board has room; its speed is printed too.")
@TOKENIZER
@FOLDER
@click.option("--seed", type=int, default=1, show_default=True,
              help="First seed that place and route tries; each seed gives another clock.")
@click.option("--slices", "by_slice", is_flag=True,
              help="Also print the resources of each component, which takes one synthesis more.")
@JSON
def build_command(board_name, model, tokenizer, output, seed, by_slice, as_json):
    """Build a board's bitstream by synthesis, place and route; print the resources that it takes and the clock that it
    meets."""
    board = _board(board_name)
    program = _burnable(model, tokenizer, board) if model else None
    result = build(board, output or Path("build", board.name), program, seed=seed, by_slice=by_slice, say=_say)
    click.echo(json.dumps(result) if as_json else "\n".join(_lines(result)))
    if result["clock_mhz_met"] < result["clock_mhz_target"]:
        raise TimingError("the clock is {clock_mhz_met} MHz and not {clock_mhz_target:g}: try another --seed".format(**result))


def _lines(result):
    """The result of a build, for people."""
    for key, value in result.items():
        if key == "slices":
            yield from (f"{name:<40}" + "".join(f"{number:>7} {resource}" for resource, number in taken.items() if number)
                        for name, taken in value.items())
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{number} {name}" for name, number in value.items())
        elif isinstance(value, list):
            value = " > ".join(value)
        yield f"{key.replace('_', ' '):<20}{value}"


class TimingError(MareyError):
    """The bitstream does not meet the board's clock."""

    exit_code = 1


@main.command("flash")
@BOARD
@FOLDER
@click.option("--dry-run", is_flag=True, help="Only print the command.")
def flash_command(board_name, output, dry_run):
    """Write a board's bitstream, and the program to burn in if there is one, to the board with its programmer."""
    board = _board(board_name)
    folder = output or Path("build", board.name)
    file = flow.bitstream(board, folder)
    if not file.exists():
        raise MareyError(f"{file}: no such file: build it first, with marey build --board {board.name}")
    commands = [[part.format(file=file) for part in board.programmer]]
    if flow.image(folder).exists():
        commands.append([part.format(file=flow.image(folder)) for part in board.programmer] + ["-o", str(board.flash_at)])
    program = board.programmer[0]
    missing = shutil.which(program) is None
    for command in commands:
        if dry_run or missing:
            click.echo(shlex.join(command))
        elif status := subprocess.run(command).returncode:
            raise MareyError(f"{program} failed with status {status}: is the board plugged in?")
    if missing and not dry_run:
        raise MareyError(f"{program} is not on PATH: install it, and run that")


@main.command("virtual")
@BOARD
@click.option("--model", type=click.Path(path_type=Path), help="Model to burn into the block RAM of an ECP5.")
@TOKENIZER
@FOLDER
def virtual_command(board_name, model, tokenizer, output):
    """Simulate a board's netlist at its pins, behind a pseudo-terminal, until interrupted."""
    board = _board(board_name)
    # Here, and not above, because pseudo-terminals (the module termios) exist on Unix only.
    from ...boards.virtual import patience, serve, simulated_hz, virtual_board
    from ...sim.terminal import Terminal

    if model and not board.is_ecp5:
        raise MareyError(f"{board.title} has no model in its bitstream: load it over the terminal")
    program = _burnable(model, tokenizer, board) if model else None
    folder = output or Path("build", board.name)
    synthesise(board, folder, _say)
    pins, terminal = virtual_board(board, folder, program), Terminal()
    click.echo(terminal.name)
    click.echo(f"now, elsewhere: marey generate --config {board.tile.name} --port {terminal.name} --baud {board.baud} "
               f"--patience {patience(pins, board):.0f}", err=True)
    serve(pins, simulated_hz(board), terminal)
