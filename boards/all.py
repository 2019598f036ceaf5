"""All boards that Marey knows, by name."""

from . import colorlight, hx8k, icebreaker, orangecrab, ulx3s, upduino
from .board import Board, BoardError

BOARDS = {board.name: board
          for module in (icebreaker, upduino, hx8k, ulx3s, orangecrab, colorlight) for board in module.BOARDS}


def board_named(name: str) -> Board:
    """The board with a name. BoardError, which lists the names that exist, if there is none."""
    if name not in BOARDS:
        raise BoardError(f"no board {name!r}: there are {', '.join(BOARDS)}")
    return BOARDS[name]
