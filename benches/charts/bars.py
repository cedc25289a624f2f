"""Charts of bars: each a label, a bar to the median, a mark at the best, and both in figures."""

from typing import NamedTuple

from svg import MARGIN, WIDTH, Drawing, short, width

LABEL, BAR, GAP = 17, 13, 11


class Bar(NamedTuple):
    label: str
    median: float
    best: float | None
    own: bool


def grouped(title, about, unit, groups):
    """Groups of bars over one scale; None where there is nothing to show."""
    groups = [(heading, bars) for heading, bars in groups if bars]
    if not groups:
        return None
    most = max(bar.median for _, bars in groups for bar in bars)
    texts = max(width(value(bar, unit)) for _, bars in groups for bar in bars)
    scale = (WIDTH - 2 * MARGIN - texts - 8) / most
    drawing = Drawing(title, about)
    for heading, bars in groups:
        drawing.at += 30
        if heading:
            drawing.text(MARGIN, drawing.at, heading, "group")
        else:
            drawing.at -= 18
        for bar in bars:
            draw(drawing, bar, unit, scale)
    return drawing.finish()


def draw(drawing, bar, unit, scale):
    drawing.at += LABEL + 2
    drawing.text(MARGIN, drawing.at, bar.label, "" if bar.own else "quiet")
    top = drawing.at + 5
    long = max(bar.median * scale, 1)
    drawing.add("rect", "own" if bar.own else "peer", x=MARGIN, y=top, width=long, height=BAR, rx=2)
    if bar.best is not None:
        at = MARGIN + bar.best * scale
        drawing.line(at, top - 2, at, top + BAR + 2, "mark")
    drawing.text(MARGIN + max(long, (bar.best or 0) * scale) + 8, top + BAR - 2, value(bar, unit))
    drawing.at = top + BAR + GAP - 5


def value(bar, unit):
    best = f" (best {short(bar.best)})" if bar.best is not None else ""
    return f"{short(bar.median)} {unit}{best}"


class Bound(NamedTuple):
    """A figure and what is demanded of it; `unit` is empty for a ratio."""

    name: str
    median: float
    best: float
    must: float
    aim: float | None
    unit: str

    @property
    def holds(self):
        return max(self.median, self.best) <= self.must


def bounds(title, about, rows):
    """Each as a share of what it must not exceed: left of the upright line is good."""
    if not rows:
        return None
    most = max(1.0, max(max(row.median, row.best) / row.must for row in rows))
    scale = (WIDTH - 2 * MARGIN) / max(most * 1.02, 1.12)
    drawing = Drawing(title, about)
    drawing.at += 12
    for row in rows:
        bound(drawing, row, scale)
    drawing.at += 16
    drawing.text(MARGIN + scale, drawing.at, "must", "quiet", "middle")
    return drawing.finish()


def bound(drawing, row, scale):
    drawing.at += LABEL + 4
    unit = f" {row.unit}" if row.unit else ""
    said = f"{short(row.median)}{unit}, must {short(row.must)}" + (f", aim {short(row.aim)}" if row.aim else "")
    said += "" if row.holds else ": missed"
    drawing.text(MARGIN, drawing.at, row.name)
    if width(row.name) + width(said, 13) > WIDTH - 2 * MARGIN - 10:
        drawing.at += LABEL
        drawing.text(MARGIN, drawing.at, said, "quiet")
    else:
        drawing.text(WIDTH - MARGIN, drawing.at, said, "quiet", "end")
    top = drawing.at + 5
    drawing.add(
        "rect", "own" if row.holds else "missed", x=MARGIN, y=top, width=row.median / row.must * scale, height=BAR, rx=2
    )
    drawing.line(*upright(row.best / row.must, scale, top), "mark")
    if row.aim:
        drawing.line(*upright(row.aim / row.must, scale, top), "aim")
    drawing.line(MARGIN + scale, top - 2, MARGIN + scale, top + BAR + GAP, "bound")
    drawing.at = top + BAR + GAP - 5


def upright(share, scale, top):
    at = MARGIN + share * scale
    return at, top - 2, at, top + BAR + 2
