"""The documents of the repository, taken apart: links, headings, blocks of code, tables, words in code.

What a block is, and where it runs, stands in an HTML comment directly before it, which no reader of the page sees:

    <!-- of: Helm values -->      YAML that is no configuration of sidegate: it is only parsed
    <!-- at: routes[] -->         a part of a configuration that stands there in the file
    <!-- with: config/tls.yaml -->  a part of a configuration that is laid over this one, not over the smallest
    <!-- refused -->              a configuration that `check` refuses, with what the next block (`text`) says
    <!-- run: config/x.yaml -->   this block of shell, and those after it, run beside a sidegate with this configuration
    <!-- run: above -->           … with the configuration of the last block before it
    <!-- run: no, WHY -->         it cannot run here; its command lines are only held against the parser
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
DIRECTIVE = re.compile(r"<!-- (of|at|with|run|refused)(?:: ([^>]*?))? -->")


@dataclass
class Block:
    """A fenced block of code."""

    language: str
    text: str
    line: int
    directives: dict
    page: "Page" = field(repr=False)

    @property
    def place(self):
        return f"{self.page.name}:{self.line}"


@dataclass
class Link:
    href: str
    line: int


class Page:
    def __init__(self, path):
        self.path, self.name = path, str(path.relative_to(ROOT))
        self.links, self.blocks, self.tables, self.codes, self.anchors = [], [], [], [], set()
        self._read(MarkdownIt("commonmark").enable("table").parse(path.read_text()))

    def _read(self, tokens):
        directives, row = {}, None
        for at, token in enumerate(tokens):
            if token.type == "html_block":
                directives = {**directives, **dict(DIRECTIVE.findall(token.content))}
                self.anchors.update(re.findall(r'<a (?:id|name)="([^"]+)"', token.content))
                continue
            if token.type == "fence":
                line = token.map[0] + 1
                self.blocks.append(Block(token.info.strip(), token.content, line, directives, self))
            elif token.type == "heading_open":
                self._anchor(tokens[at + 1])
            elif token.type == "table_open":
                self.tables.append([])
            elif token.type == "tr_open":
                row = []
                self.tables[-1].append((token.map[0] + 1 if token.map else 0, row))
            elif token.type == "inline":
                codes = self._inline(token)
                if row is not None:
                    row.append((token.content, codes))
            elif token.type == "tr_close":
                row = None
            directives = {}

    def _inline(self, token):
        line, codes = token.map[0] + 1, []
        for child in token.children:
            if child.type in ("softbreak", "hardbreak"):
                line += 1
            elif child.type == "code_inline":
                codes.append(child.content)
                self.codes.append((child.content, line))
            elif child.type == "link_open":
                self.links.append(Link(child.attrs["href"], line))
            elif child.type == "image":
                self.links.append(Link(child.attrs["src"], line))
        return codes

    def _anchor(self, inline):
        """As GitHub makes it: lower case, without punctuation, dashes for blanks, counted when it is there already."""
        text = "".join(child.content for child in inline.children if child.type in ("text", "code_inline"))
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        taken, number = slug, 0
        while taken in self.anchors:
            number += 1
            taken = f"{slug}-{number}"
        self.anchors.add(taken)


def pages():
    """Every page that belongs to the documentation."""
    found = [ROOT / name for name in ("README.md", "SECURITY.md", "DESIGN.md", "CHANGELOG.md")]
    for folder in ("docs", "config", "charts"):
        found += sorted((ROOT / folder).glob("**/*.md"))
    return [Page(path) for path in found if "node_modules" not in path.parts]


def shown(line):
    """A line of a page as a pattern: `…` is whatever it is here."""
    return re.compile(r"\s+".join(re.escape(word).replace("…", ".*") for word in line.split()))
