"""The documents of the repository: links lead somewhere, configurations pass `check`, command lines work as they say,
settings exist. How a page tells what a block is stands in pages.py; how the rest of it is filled in, in example.py."""

import json
import os
import re
import shlex
import subprocess
import tomllib
import urllib.parse
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ruamel.yaml import YAMLError

import harness
from example import Example, Running, read_all, whole
from harness import BINARY, PATIENCE, WORK, Peer
from pages import ROOT, pages, shown

PAGES = pages()
BLOCKS = [block for page in PAGES for block in page.blocks]
PASTED = "config/dialects/"  # by the part `dialects`
LANGUAGES = {"sh", "yaml", "json", "xml", "toml", "text", "promql", "python", "nginx", "caddyfile"}
SCHEMA = json.loads(subprocess.check_output([BINARY, "schema"], text=True))
FILE = re.compile(r"\.(md|rs|py|sh|toml|yaml|json|tpl|txt|xml|cs|html|css|lock)$")
MARKS = ("<<<<<<< ", ">>>>>>> ")
# Each curl tells its status on the side; between blocks stands a line that no answer holds.
PREAMBLE = 'curl() { command curl -sS -w "%{stderr}STATUS %{http_code}\\n" "$@"; }\n'
CUT = "=== the next block"


# --- Settings --------------------------------------------------------------------------------------------------------


def settings(schema=SCHEMA, inside=(), seen=()):
    """Every setting as the names on the way to it."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        if name not in seen:
            yield from settings(SCHEMA["$defs"][name], inside, (*seen, name))
        return
    for name, inner in schema.get("properties", {}).items():
        yield (*inside, name)
        yield from settings(inner, (*inside, name), seen)
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from settings(inner, inside, seen)
    for inner in schema.get("anyOf", []) + schema.get("oneOf", []):
        yield from settings(inner, inside, seen)


TOP = set(SCHEMA["properties"])
WAYS = set(settings())
# A page about `authority` says `clients[].pkce`.
ENDS = {way[at:] for way in WAYS for at in range(len(way))}


def names(code):
    """`routes[].token.basic` as the names in it."""
    return tuple(code.replace("[]", "").split("."))


def configurations(document):
    """What values for Helm hold under `config`, directly or for a chart that is included."""
    if not isinstance(document, dict) or "apiVersion" in document:
        return
    for name, value in document.items():
        if name == "config" and isinstance(value, dict):
            yield value
        elif name.startswith("sidegate"):
            yield from configurations(value)


def is_dotted(code):
    return bool(re.fullmatch(r"[a-z][a-z0-9_]*(\[\])?(\.[a-z][a-z0-9_]*(\[\])?)+", code)) and not FILE.search(code)


# --- Command lines ---------------------------------------------------------------------------------------------------


def logical_lines(text):
    """Lines of shell with what belongs to each, and without what stands in here-documents."""
    began, held, until = 0, "", None
    for number, line in enumerate(text.splitlines()):
        if until:
            until = None if line.strip() == until else until
            continue
        began = began if held else number
        held += line
        if held.endswith("\\"):
            held = held[:-1]
            continue
        try:
            words = list(lexer(held))
        except ValueError:  # a quotation goes on
            held += "\n"
            continue
        if here := re.search(r"<<-?\s*['\"]?(\w+)", held):
            until = here[1]
        yield began, words
        held = ""


def lexer(text):
    words = shlex.shlex(text, posix=True, punctuation_chars="();<>|&`")
    words.whitespace_split = True
    return words


def invocations(text):
    """The arguments of each `sidegate` in a text of shell, with the line on which it stands."""
    for number, words in logical_lines(text):
        for word in words:
            if "$(" in word and len(words) > 1:
                yield from ((number, inner) for _, inner in invocations(word.partition("$(")[2].rpartition(")")[0]))
        command = []
        for word in [*words, ";"]:
            if not re.fullmatch(r"[();<>|&`]+", word):
                command.append(word)
                continue
            if command and word[0] in "<>" and command[-1].isdigit():
                command.pop()
            if arguments := of_sidegate(command):
                yield number, arguments
            command = []


def of_sidegate(command):
    """Its arguments, if it is sidegate that is called, directly or by cargo, with or without variables set for it."""
    while command and (re.match(r"\w+=", command[0]) or command[0] in ("exec", "!", "if", "then", "do", "time", "$")):
        command = command[1:]
    if command[:2] == ["cargo", "run"] and "--" in command:
        return command[command.index("--") + 1 :]
    return command[1:] if command and command[0].rsplit("/", 1)[-1] == "sidegate" else []


def is_accepted(arguments):
    """Whether the parser takes them: asked for help after them, it complains of them first."""
    if "…" in arguments:  # … to which something may be wanting
        arguments = arguments[: arguments.index("…")]
        if arguments and arguments[-1].startswith("-"):
            arguments = [*arguments, "redex"]
    return run([BINARY, *arguments, "--help"]).returncode == 0


def run(command, **how):
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=PATIENCE * 3, stdin=subprocess.DEVNULL, **how
    )


# --- Answers ---------------------------------------------------------------------------------------------------------


def shape(value):
    """Names and types: what a page shows of tokens and times is an example."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


class Documents(Peer):
    def test_a_link_leads_to_a_file_and_a_heading(self):
        anchors = {page.path: page.anchors for page in PAGES}
        problems, links = [], 0
        for page in PAGES:
            for link in page.links:
                if re.match(r"[a-z][a-z+.-]*:", link.href):
                    continue
                links += 1
                target, _, anchor = urllib.parse.unquote(link.href).partition("#")
                path = (page.path.parent / target).resolve() if target else page.path
                if not path.exists():
                    problems.append(f"{page.name}:{link.line}: {link.href}: there is no such file")
                elif anchor and path in anchors and anchor not in anchors[path]:
                    problems.append(f"{page.name}:{link.line}: {link.href}: there is no such heading")
        self.assertGreater(links, 50)
        self.none(problems)

    def test_a_file_that_is_named_is_there(self):
        problems, named = [], 0
        for page in PAGES:
            for code, line in page.codes:
                if re.fullmatch(r"(src|tests|config|docs|charts|benches|fuzz|\.ci)/[\w./-]+", code):
                    named += 1
                    if not (ROOT / code).exists():
                        problems.append(f"{page.name}:{line}: {code}: there is no such file")
        self.assertGreater(named, 5)
        self.none(problems)

    def test_no_page_was_left_in_the_middle_of_a_merge(self):
        marks = [
            (page, n)
            for page in PAGES
            for n, line in enumerate(page.path.read_text().splitlines(), 1)
            if line[:8] in MARKS
        ]
        self.none([f"{page.name}:{line}: a mark of a merge" for page, line in marks])

    def test_a_block_says_what_it_is(self):
        problems = []
        for block in BLOCKS:
            if block.language not in LANGUAGES:
                problems.append(f"{block.place}: `{block.language}` is none of {', '.join(sorted(LANGUAGES))}")
            if block.language == "text" and re.search(r"^(\$ )?(curl|sidegate) ", block.text, re.MULTILINE):
                problems.append(f"{block.place}: command lines stand in a block `sh`, where they are tried")
        self.none(problems)

    def test_yaml_passes_check_or_is_said_to_be_of_something_else(self):
        problems, checked = [], 0
        for number, block in enumerate(BLOCKS):
            if block.language != "yaml":
                continue
            try:
                documents = read_all(block.text)
            except YAMLError as error:
                problems.append(f"{block.place}: {error}")
                continue
            if "of" in block.directives or all("apiVersion" in (document or {}) for document in documents):
                parts = [part for document in documents for part in configurations(document)]
            else:
                parts = [None]
            for part in parts:
                checked += 1
                problems += self.judge(block, part, BLOCKS[number + 1 : number + 2])
        self.assertGreater(checked, 5)
        self.none(problems)

    def judge(self, block, part, following):
        folder = WORK / "yaml" / block.place.replace("/", "-").replace(":", "-")
        try:
            settings = part or whole(block.text, block.directives)
            if unknown := set(settings) - TOP:
                return [f"{block.place}: {', '.join(map(str, unknown))}: no section of a configuration; say what it is"]
            file = Example(settings, folder).write()
            if "refused" in block.directives:
                file.write_text(block.text)  # as it stands there: nothing is mended
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            return [f"{block.place}: cannot be made whole: {error!r}"]
        ran = run([BINARY, "check", "-c", file])
        said = (ran.stdout + ran.stderr).replace(f"{file}", "sidegate.yaml")
        if "refused" not in block.directives:
            return [] if ran.returncode == 0 else [f"{block.place}: {said}"]
        if ran.returncode == 0:
            return [f"{block.place}: it is accepted"]
        lines = [line for text in following for line in text.text.splitlines() if line.strip()]
        return [f"{block.place}: {line}: not said: {said}" for line in lines if not shown(line).search(said)]

    def test_json_toml_and_xml_can_be_read(self):
        problems = []
        readers = {"json": json.loads, "toml": tomllib.loads, "xml": ElementTree.fromstring}
        for block in BLOCKS:
            if reader := readers.get(block.language):
                try:
                    reader(block.text)
                except (ValueError, ElementTree.ParseError) as error:
                    problems.append(f"{block.place}: {error}")
        self.none(problems)

    def test_a_command_line_of_sidegate_is_one_that_it_takes(self):
        lines = [
            (block.place, arguments)
            for block in BLOCKS
            if block.language == "sh"
            for _, arguments in invocations(block.text)
        ]
        for page in PAGES:
            for code, line in page.codes:
                if code.startswith("sidegate ") and "\n" not in code:
                    lines += [(f"{page.name}:{line}", arguments) for _, arguments in invocations(code)]
        self.assertGreater(len(lines), 20)
        self.none([f"{place}: sidegate {shlex.join(words)}" for place, words in lines if not is_accepted(words)])

    def test_a_setting_that_is_named_is_one(self):
        problems, named = [], 0
        for page in PAGES:
            for rows in page.tables:
                columns = [at for at, (title, _) in enumerate(rows[0][1]) if title in ("setting", "sidegate")]
                for line, cells in rows[1:]:
                    for column in columns:
                        for code in cells[column][1]:
                            name = re.split(r"[:\s]", code)[0]
                            if re.fullmatch(r"[a-z][a-z0-9_.\[\]]*", name):
                                named += 1
                                if names(name) not in ENDS:
                                    problems.append(f"{page.name}:{line}: {name}: there is no such setting")
            members = {
                code
                for rows in page.tables
                if rows[0][1][0][0] == "member"
                for _, cells in rows
                for code in cells[0][1]
            }
            for code, line in page.codes:
                code = code.split(":")[0]
                # Of an answer, and not of a configuration, where a table says so.
                if is_dotted(code) and names(code)[0] in TOP and code not in members:
                    named += 1
                    if names(code) not in WAYS:
                        problems.append(f"{page.name}:{line}: {code}: there is no such setting")
        self.assertGreater(named, 300)
        self.none(problems)

    def test_what_you_see_is_what_the_program_says(self):
        program, quoted, problems = Path(BINARY).read_bytes(), 0, []
        # Compiled whole, a short word may be numbers in the code that writes it.
        words = "".join(file.read_text() for file in (ROOT / "src").glob("**/*.rs"))
        for page in PAGES:
            for rows in page.tables:
                titles = [title for title, _ in rows[0][1]]
                for line, cells in rows[1:]:
                    for title, (_, codes) in zip(titles, cells, strict=True):
                        if title not in ("what you see", "code", "decision"):
                            continue
                        for piece in [piece.strip() for code in codes for piece in code.split("…") if piece.strip()]:
                            quoted += 1
                            if piece.encode() not in program and f'"{piece}"' not in words:
                                problems.append(f"{page.name}:{line}: {piece}: the program does not say that")
        self.assertGreater(quoted, 50)
        self.none(problems)

    def test_a_test_that_is_named_is_one(self):
        there, named, problems = set(), 0, []
        for folder in ("src", "tests/it"):
            for file in (ROOT / folder).glob("**/*.rs"):
                there.update(re.findall(r"\bfn (\w+)\(", file.read_text()))
        for page in PAGES:
            for rows in page.tables:
                for at in [at for at, (title, _) in enumerate(rows[0][1]) if title == "test"]:
                    for line, cells in rows[1:]:
                        for code in cells[at][1]:
                            named += 1
                            if code not in there and not (ROOT / code).exists():
                                problems.append(f"{page.name}:{line}: {code}: there is no such test")
        self.assertGreater(named, 50)
        self.none(problems)

    def test_a_metric_that_is_named_is_documented(self):
        metrics = next(page for page in PAGES if page.name == "docs/metrics.md")
        # What stands there is held against the program by a test of its own.
        families = {re.sub(r"\{.*", "", code) for code, _ in metrics.codes}
        self.assertGreater(len(families), 50)
        problems = []
        for page in PAGES:
            texts = [*page.codes, *[(block.text, block.line) for block in page.blocks]]
            for text, line in texts:
                for name in re.findall(r"(?<![$\w])sidegate_[a-z0-9_]*[a-z0-9]\b(?![*…])", text):
                    if re.sub(r"_(bucket|sum|count)$", "", name) not in families:
                        problems.append(f"{page.name}:{line}: {name}: there is no such metric")
        self.none(problems)

    def test_shell_with_calls_says_where_it_runs(self):
        problems = []
        for page in PAGES:
            frame = None
            for block in page.blocks:
                frame = block.directives.get("run", frame)
                calls = block.language == "sh" and re.search(r"\bcurl\b", block.text)
                if calls and not frame and not page.name.startswith(PASTED):
                    problems.append(f"{block.place}: curl, and no comment says beside which sidegate")
        self.none(problems)

    def test_shell_does_what_is_said(self):
        ran = 0
        for page in PAGES:
            for frame, blocks in self.scripts(page):
                with self.subTest(blocks[0].place):
                    self.paste(frame, blocks)
                    ran += 1
        self.assertGreater(ran, 1)

    def scripts(self, page):
        """Blocks of shell that run one after the other: the configuration, and each with the answer that follows it."""
        scripts, frame, above = [], None, None
        for number, block in enumerate(page.blocks):
            if block.language == "yaml" and "of" not in block.directives and "refused" not in block.directives:
                above = block
            if block.language != "sh":
                continue
            if "run" in block.directives:
                frame = block.directives["run"]
                if frame.startswith("no"):
                    frame = None
                else:
                    settings = whole(above.text, above.directives) if frame == "above" else whole("", {"with": frame})
                    scripts.append((settings, []))
            if frame:
                scripts[-1][1].append(block)
                block.answer = next((after for after in page.blocks[number + 1 : number + 2]), None)
        return scripts

    def paste(self, settings, blocks):
        folder = WORK / "run" / blocks[0].place.replace("/", "-").replace(":", "-")
        running = Running(settings, folder, self.start)
        (folder / "bin").mkdir()
        (folder / "bin" / "sidegate").symlink_to(BINARY)
        script = folder / "pasted.sh"
        pasted = f'\necho; echo "{CUT}"; echo "{CUT}" >&2\n'.join(block.text for block in blocks)
        script.write_text(PREAMBLE + running.moved(pasted))
        path = f"{folder / 'bin'}:{os.environ['PATH']}"
        ran = run(["bash", script], cwd=folder, env={**os.environ, "PATH": path})
        outs, errs = ran.stdout.split(CUT), ran.stderr.split(CUT)
        self.assertEqual((len(outs), len(errs)), (len(blocks), len(blocks)), ran.stdout + ran.stderr)
        for block, out, err in zip(blocks, outs, errs, strict=True):
            with self.subTest(block.place):
                self.compare(block, out, err, running)

    def compare(self, block, out, err, running):
        promised = [
            status
            for comment in re.findall(r"#.*", block.text)
            for status in re.findall(r"[#:] ([2-5]\d\d)\b", comment)
        ]
        statuses = re.findall(r"STATUS (\d+)", err)
        if promised:
            self.assertEqual(statuses, promised, out + err)
        else:
            self.assertEqual([], [status for status in statuses if not status.startswith("2")], out + err)
        answer = block.answer
        if answer and answer.language == "json":
            self.assertEqual(shape(json.loads(out.strip())), shape(json.loads(answer.text)), f"{answer.place}: {out}")
        elif answer and answer.language == "text":
            said = out + err + running.program.log()
            for line in answer.text.splitlines():
                if line.strip():
                    self.assertRegex(said, shown(line), answer.place)

    def none(self, problems):
        self.assertEqual(0, len(problems), "\n" + "\n".join(problems))


if __name__ == "__main__":
    harness.main()
