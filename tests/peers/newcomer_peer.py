"""A newcomer: docs/first-ten-minutes.sh from a fresh clone, and what the page of that name promises of each step."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import harness
from harness import BINARY, WORK, Peer, free_port
from pages import ROOT, Page, shown

PAGE = Page(ROOT / "docs/first-ten-minutes.md")
SCRIPT = ROOT / "docs/first-ten-minutes.sh"
STEP = re.compile(r"^step \"(.*)\"\n", re.MULTILINE)
PORTS = (3000, 8080, 9901, 9902)


def steps():
    """Title of each step, with its commands and what they show."""
    for part in re.split(r"^## (?=\d)", PAGE.path.read_text(), flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        text = text.partition("\n## ")[0]
        yield title, blocks(text, "sh"), blocks(text, "text")


def blocks(text, language):
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def clone(to):
    if (ROOT / ".git").exists():
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", to], check=True)
    else:  # an archive of the repository
        shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns("target", ".cache", "node_modules"))


class Newcomer(Peer):
    def test_a_script_and_page_are_one_text(self):
        parts = STEP.split(SCRIPT.read_text())[1:]
        written = dict(zip(parts[::2], parts[1::2], strict=True))
        told = {title: commands for title, commands, _ in steps()}
        self.assertEqual(list(written), list(told))
        for title, commands in list(told.items())[1:]:  # the first one is of whoever has no clone yet
            self.assertEqual(written[title].strip(), commands.strip(), title)
        build = list(told.values())[0].splitlines()
        for line in [line for line in build if not line.startswith("git clone")]:
            self.assertIn(line, written[list(told)[0]])

    def test_b_each_step_shows_what_the_page_says(self):
        folder = WORK / "clone"
        clone(folder)
        script = folder / "docs/first-ten-minutes.sh"
        text = script.read_text()
        for port in PORTS:  # others may use those
            text = re.sub(rf"\b{port}\b", str(free_port()), text)
        script.write_text(text)
        python = Path(sys.executable).parent  # with requests-oauthlib in it
        environment = {**os.environ, "SIDEGATE_BIN": BINARY, "PATH": f"{python}:{os.environ['PATH']}"}
        ran = subprocess.run(
            ["bash", script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
        )
        self.assertEqual(ran.returncode, 0, ran.stdout)
        parts = re.split(r"^== (.*)\n", ran.stdout, flags=re.MULTILINE)[1:]
        outputs = dict(zip(parts[::2], parts[1::2], strict=True))
        for title, _, promised in steps():
            with self.subTest(title):
                lines = outputs[title].splitlines()
                for line in promised.splitlines():
                    at = next((at for at, out in enumerate(lines) if shown(line).fullmatch(out.strip())), None)
                    self.assertIsNotNone(at, f"`{line}` is not shown, or not there:\n{outputs[title]}")
                    lines = lines[at + 1 :]


if __name__ == "__main__":
    harness.main()
