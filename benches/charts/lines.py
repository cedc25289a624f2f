"""Charts of lines over an axis of x that counts in powers of ten."""

import math
from typing import NamedTuple

from svg import MARGIN, WIDTH, Drawing, width

HEIGHT, LEFT = 220, 64
STYLES = {"sidegate": "own", "nginx": "peer"}
OTHERS = ["own", "second", "third"]


class Series(NamedTuple):
    name: str
    points: list  # (x, median, best); best may be None


def curve(title, about, unit, series, ticks, log_y=False):
    """`ticks`: {x: its name}. The area between median and best is shaded."""
    series = [one for one in series if one.points]
    if not series:
        return None
    drawing = Drawing(title, about)
    drawing.at += 26
    drawing.text(MARGIN, drawing.at, unit, "quiet")
    named = [(one.name, STYLES.get(one.name, OTHERS[index % len(OTHERS)])) for index, one in enumerate(series)]
    legend(drawing, named)
    top = drawing.at + 14
    bottom, right = top + HEIGHT, WIDTH - MARGIN - 10
    across = axis(list(ticks), LEFT, right)
    values = [value for one in series for _, *rest in one.points for value in rest if value is not None]
    marks, up = upwards(values, top, bottom, log_y)
    for mark in marks:
        drawing.line(LEFT, up(mark), right, up(mark), "grid")
        drawing.text(LEFT - 8, up(mark) + 4, tick(mark), "quiet", "end")
    for x, name in ticks.items():
        drawing.text(across(x), bottom + 20, name, "quiet", "middle")
    for one, (_, style) in zip(series, named, strict=True):
        draw(drawing, one, style, across, up)
    drawing.at = bottom + 24
    return drawing.finish()


def axis(values, left, right):
    low, high = math.log10(min(values)), math.log10(max(values))
    inset = 14
    return lambda x: left + inset + (math.log10(x) - low) / ((high - low) or 1) * (right - left - 2 * inset)


def upwards(values, top, bottom, log):
    if log:
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        up = lambda value: bottom - (math.log10(value) - low) / (high - low) * (bottom - top)  # noqa: E731
        return [10.0**power for power in range(low, high + 1)], up
    step = round_step(max(values) / 4)
    count = math.ceil(max(values) / step)
    return [
        step * number for number in range(count + 1)
    ], lambda value: bottom - value / (step * count) * (bottom - top)


def round_step(least):
    power = 10 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= least * 0.999)


def tick(value):
    return f"{value:,.0f}" if value >= 1 or value == 0 else f"{value:g}"


def draw(drawing, one, style, across, up):
    middle = [(across(x), up(median)) for x, median, _ in one.points]
    best = [(across(x), up(best)) for x, _, best in one.points if best is not None]
    if len(best) == len(middle) > 1:
        drawing.path(middle + best[::-1], f"{style} band", close=True)
    if len(middle) > 1:
        drawing.path(middle, f"{style} line")
    for x, y in middle:
        drawing.add("circle", f"{style} dot", cx=x, cy=y, r=3.5)


def legend(drawing, named):
    """On the line of the unit, from the right."""
    at = WIDTH - MARGIN - 10
    for name, style in reversed(named):
        drawing.text(at, drawing.at, name, "", "end")
        at -= width(name) + 10
        drawing.add("circle", f"{style} dot", cx=at, cy=drawing.at - 5, r=4.5)
        at -= 18


def counted(x):
    for size, name in ((1_000_000, "M"), (1_000, "k")):
        if x >= size and x % size == 0:
            return f"{x // size}{name}"
    return f"{x:,}"


def bytes_of(x):
    return f"{x >> 20} MiB" if x >= 1 << 20 else f"{x >> 10} KiB"
