"""Just enough of SVG for charts that a page in a repository can show: one file, light and dark, no script, no font.

Written with the standard library: what plotting libraries make is ten times as long, differs from version to version,
and knows one background only.
"""

import xml.etree.ElementTree as ElementTree

WIDTH = 560  # small enough that the text can still be read where a page shrinks it to the width of a telephone
MARGIN = 16
STYLE = """
svg { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif }
text { fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.group { font-weight: 600 }
.quiet { fill: #59636e; font-size: 13px }
.card { fill: #ffffff }
.grid { stroke: #d1d9e0 }
.line { fill: none; stroke-width: 2.5 }
.own { fill: #1f6feb } .own.line, .own.dot { stroke: #1f6feb }
.second { fill: #8250df } .second.line, .second.dot { stroke: #8250df }
.third { fill: #bf5700 } .third.line, .third.dot { stroke: #bf5700 }
.peer { fill: #8c959f } .peer.line, .peer.dot { stroke: #8c959f }
.missed { fill: #cf222e }
.line.own, .line.second, .line.third, .line.peer { fill: none }
.band { opacity: .18; stroke: none }
.mark { stroke: #1f2328; stroke-width: 2 }
.bound { stroke: #1f2328; stroke-width: 1.5 }
.aim { stroke: #1f2328; stroke-dasharray: 3 2 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.quiet { fill: #9da7b3 }
.card { fill: #0d1117 }
.grid { stroke: #30363d }
.own { fill: #4493f8 } .own.line, .own.dot { stroke: #4493f8 }
.second { fill: #ab7df8 } .second.line, .second.dot { stroke: #ab7df8 }
.third { fill: #f0883e } .third.line, .third.dot { stroke: #f0883e }
.peer { fill: #6e7681 } .peer.line, .peer.dot { stroke: #6e7681 }
.missed { fill: #f85149 }
.mark, .bound, .aim { stroke: #f0f6fc }
}
"""


class Drawing:
    """Grows downwards; `at` is where the next thing goes."""

    def __init__(self, title, about):
        self.root = ElementTree.Element("svg", xmlns="http://www.w3.org/2000/svg", role="img")
        self.root.set("aria-labelledby", "title about")
        ElementTree.SubElement(self.root, "title", id="title").text = title
        ElementTree.SubElement(self.root, "desc", id="about").text = about
        ElementTree.SubElement(self.root, "style").text = STYLE
        self.card = self.add("rect", "card", x=0, y=0, rx=6)
        self.at = MARGIN + 14
        self.text(MARGIN, self.at, title, "title")
        for line in wrapped(about, 13):
            self.at += 18
            self.text(MARGIN, self.at, line, "quiet")

    def add(self, name, style, **attributes):
        return ElementTree.SubElement(
            self.root,
            name,
            {"class": style, **{key.replace("_", "-"): number(value) for key, value in attributes.items()}},
        )

    def text(self, x, y, words, style="", anchor="start"):
        element = self.add("text", style, x=x, y=y, text_anchor=anchor)
        if not style:
            del element.attrib["class"]
        if anchor == "start":
            del element.attrib["text-anchor"]
        element.text = words

    def line(self, x1, y1, x2, y2, style):
        self.add("line", style, x1=x1, y1=y1, x2=x2, y2=y2)

    def path(self, points, style, close=False):
        steps = " ".join(f"{'L' if index else 'M'}{number(x)} {number(y)}" for index, (x, y) in enumerate(points))
        self.add("path", style, d=steps + (" Z" if close else ""))

    def finish(self):
        height = self.at + MARGIN
        for element in (self.root, self.card):
            element.set("width", number(WIDTH))
            element.set("height", number(height))
        self.root.set("viewBox", f"0 0 {WIDTH} {number(height)}")
        ElementTree.indent(self.root, "")
        return ElementTree.tostring(self.root, encoding="unicode") + "\n"


def number(value):
    """The same text on every machine; a tenth of a pixel is enough."""
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def width(words, size=14):
    """About what it takes: fonts differ."""
    return len(words) * size * 0.54


def wrapped(words, size):
    lines, line = [], ""
    for word in words.split():
        if line and width(f"{line} {word}", size) > WIDTH - 2 * MARGIN:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return lines + [line] if line else lines


def short(value):
    """Three digits, as far as they say anything."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
