"""A plot of a sweep as SVG: every point, the Pareto front as a line, both axes logarithmic."""

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 460, 70, 20, 34, 48
"""Pixels: the picture, and its margins."""
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1d2733 } .title { font-weight: 600 } svg { background: #fbfcfd }
.grid { stroke: #e3e8ed } .point { fill: #1f5fa8; fill-opacity: .45 } .front { fill: none; stroke: #b93a22; stroke-width: 2 }
.best { fill: #b93a22 } @media (prefers-color-scheme: dark) { svg { background: #12171c } text { fill: #e4e9ee }
.grid { stroke: #28313a } .point { fill: #6db3ff } .front { stroke: #ff8266 } .best { fill: #ff8266 } }"""


Axis = tuple[str, str]
"""The key of the rows whose values an axis has, all of them above 0; and the axis' name."""


def scatter(title: str, rows: Sequence[dict], front: Sequence[dict], across: Axis, up: Axis) -> str:
    """The plot, of at least one row. Pointing at a point shows its configuration."""
    (x, across_name), (y, up_name) = across, up
    horizontal, vertical = (_axis([row[key] for row in rows]) for key in (x, y))

    def px(row):
        return LEFT + (WIDTH - LEFT - RIGHT) * horizontal(row[x])

    def py(row):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * vertical(row[y])

    def about(row):
        return escape(f"{row['config']}: {row[x]:,} {across_name}, {row[y]:,g} {up_name}")

    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">', f"<style>{STYLE}</style>",
             f'<text class="title" x="{LEFT}" y="20">{escape(title)}</text>']
    for value in _ticks([row[x] for row in rows]):
        lines.append(f'<path class="grid" d="M{px({x: value}):.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
                     f'<text x="{px({x: value}):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:,g}</text>')
    for value in _ticks([row[y] for row in rows]):
        lines.append(f'<path class="grid" d="M{LEFT} {py({y: value}):.1f}H{WIDTH - RIGHT}"/>'
                     f'<text x="{LEFT - 6}" y="{py({y: value}) + 4:.1f}" text-anchor="end">{value:,g}</text>')
    lines.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 10}" text-anchor="end">{escape(across_name)}</text>'
                 f'<text x="6" y="{TOP - 2}">{escape(up_name)}</text>')
    lines += [f'<circle class="point" cx="{px(row):.1f}" cy="{py(row):.1f}" r="4"><title>{about(row)}</title></circle>'
              for row in rows]
    if front:
        path = " ".join(f"{px(row):.1f},{py(row):.1f}" for row in front)
        lines.append(f'<polyline class="front" points="{path}"/>')
    lines += [f'<circle class="best" cx="{px(row):.1f}" cy="{py(row):.1f}" r="4.5"><title>{about(row)}</title></circle>'
              for row in front]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _axis(values):
    """A function from a value to its place between 0 and 1."""
    low, high = log10(min(values)), log10(max(values))
    low, high = low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1)
    return lambda value: (log10(value) - low) / (high - low)


def _ticks(values):
    """1, 2 and 5 times powers of ten between the least and the largest value."""
    low, high = min(values), max(values)
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    found = [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]
    return found or [low]
