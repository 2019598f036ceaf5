"""Draws the loss curve: `python -m marey.sw.train.plot docs/training.json > docs/training.svg`."""

import json
from pathlib import Path

import click
import numpy as np

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 280, 62, 46, 14, 24
"""Size of the picture and its margins, in pixels."""
LOSSES = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Labels of the logarithmic axis, in nats a token; the first and the last are the ends of the axis."""
AXIS, INK = "#dddddd", "#333333"
CURVES = (("loss", "training batches", "#4f7ea8"), ("held_out", "held-out stories", "#1f4e79"))
"""Key in the log, name and colour of each curve."""


def plot(log: dict) -> str:
    """An SVG picture of the log of a training (`marey.sw.train --log`): losses over steps, of the
    batch and of held-out text.
    """
    def x(step):
        return LEFT + (WIDTH - LEFT - RIGHT) * step / log["steps"]

    def y(loss):
        share = np.log(np.clip(loss, LOSSES[0], LOSSES[-1]) / LOSSES[0]) / np.log(LOSSES[-1] / LOSSES[0])
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share

    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
             f'font-family="sans-serif" font-size="12" fill="{INK}">', '<rect width="100%" height="100%" fill="white"/>']
    for loss in LOSSES:
        lines.append(f'<path d="M{LEFT} {y(loss):.1f}H{WIDTH - RIGHT}" stroke="{AXIS}"/>'
                     f'<text x="{LEFT - 8}" y="{y(loss) + 4:.1f}" text-anchor="end">{loss}</text>')
    for share in range(5):
        step = log["steps"] * share // 4
        lines.append(f'<text x="{x(step):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{step:,}</text>')
    across, up = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    lines += [f'<text x="{across}" y="{HEIGHT - 8}" text-anchor="middle">training step</text>',
              f'<text transform="translate(16 {up}) rotate(-90)" text-anchor="middle">loss, nats a token (logarithmic)</text>']
    for row, (key, name, colour) in enumerate(CURVES):
        points = " ".join(f"{x(point['step']):.1f},{y(point[key]):.1f}" for point in log["curve"])
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{1 + row}"/>'
                     f'<text x="{WIDTH - RIGHT - 6}" y="{TOP + 18 + 17 * row}" text-anchor="end" fill="{colour}">{name}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


@click.command()
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(log):
    """Prints the loss curve in LOG as SVG."""
    click.echo(plot(json.loads(log.read_text())), nl=False)


if __name__ == "__main__":
    main()
