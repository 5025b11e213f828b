"""A picture of a training log: each column of numbers as a curve over the steps, as an SVG that needs nothing else."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from registry.errors import InputError
from registry.files.atomic import content_writer
from registry.pages.rendering import render
from registry.saving.folder import write_file

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 44, 34
"""Margins in pixels."""
MOST_POINTS = 600
"""Points of a curve; of more, each is the mean of several."""

Curve = Sequence[tuple[float, float]]
"""Points: step, value."""


def write_curves(log: Path, picture: Path, title: str) -> Path:
    """Draw the columns of a CSV file over its first one.

    Args:
        log: A CSV file with a header; the first column has the steps, an empty cell no value.
        picture: The SVG file.
        title: A line above the curves.

    Returns:
        ``picture``.

    Raises:
        InputError: The file has no column of numbers.
    """
    return write_file(picture, content_writer(curves_svg(read_curves(log), title)))


def read_curves(log: Path) -> dict[str, Curve]:
    """The columns of numbers of a CSV file, by their names; see ``write_curves``."""
    with log.open(newline="", encoding="utf-8") as file:
        steps, *names = next(csv.reader(file), [""])
        rows = list(csv.DictReader(file, [steps, *names]))
    found: dict[str, Curve] = {}
    for name in names:
        points = [(_number(row[steps]), _number(row[name])) for row in rows]
        curve = [(x, y) for x, y in points if x is not None and y is not None]
        if curve:
            found[name] = curve
    if not found:
        raise InputError(
            f"{log} has no column of numbers.", hint="The file needs a header, and steps in the first column."
        )
    return found


def curves_svg(curves: Mapping[str, Curve], title: str) -> str:
    """The picture of curves, as SVG; it follows the color scheme of the reader.

    Args:
        curves: Points by the name of their curve.
        title: A line above them.
    """
    points = [point for curve in curves.values() for point in curve]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    across, up = _ticks(min(xs), max(xs)), _ticks(min(*ys, 0.0) if min(ys) < 0.3 * max(ys) else min(ys), max(ys))
    left, right = min(xs), max(max(xs), min(xs) + 1e-9)
    low, high = min(up[0], min(ys)), max(up[-1], max(ys), up[0] + 1e-9)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - left) / (right - left) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM),
        )

    drawn = [
        {
            "name": name,
            "last": f"{curve[-1][1]:.4g}",
            "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in _thinned(curve))),
            "end": place(*curve[-1]),
        }
        for name, curve in curves.items()
    ]
    values = {
        "title": title,
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "bottom": HEIGHT - BOTTOM,
        "curves": drawn,
        "across": [(place(x, low)[0], f"{x:,g}") for x in across if left <= x <= right],
        "up": [(place(left, y)[1], f"{y:,g}") for y in up if low <= y <= high],
    }
    return render("curve/curve.svg", values)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _thinned(curve: Curve) -> Curve:
    """At most ``MOST_POINTS`` points, each the mean of its neighbors where there are more."""
    each = -(-len(curve) // MOST_POINTS)
    groups = [curve[start : start + each] for start in range(0, len(curve), each)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _ticks(low: float, high: float) -> list[float]:
    """Some five round numbers that reach around a range."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= span / 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 12) for number in range(first, last + 1)]
