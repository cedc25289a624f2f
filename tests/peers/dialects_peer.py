"""A shell and curl, pasting the pages of config/dialects: each block of calls answers as the page says."""

import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import harness
from harness import BINARY, WORK, Echo, Peer, Program, free_port

CONFIG = Path(__file__).parents[2] / "config"
BLOCK = re.compile(r"^```(sh|json|xml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Each curl tells its status on the side; between blocks stands a line that no answer holds.
PREAMBLE = 'curl() { command curl -sS -w "%{stderr}STATUS %{http_code}\\n" "$@"; }\n'
CUT = "=== the next block"


def shape(value):
    """Names in their order and types: what a page shows of tokens and times is an example."""
    if isinstance(value, dict):
        return [(name, shape(member)) for name, member in value.items()]
    if isinstance(value, list):
        return [shape(member) for member in value]
    return type(value).__name__


def outline(document):
    return [element.tag for element in ElementTree.fromstring(document).iter()]


class Pages(Peer):
    @classmethod
    def prepare(cls):
        cls.echo = cls.start(Echo())

    def serve(self, config, **environment):
        port = free_port()
        at = f"127.0.0.1:{port}"
        upstream = f"http://127.0.0.1:{self.echo.port}"
        known = {"LISTEN": at, "UPSTREAM": upstream, "QUICKSTART_ADDRESS": at, "QUICKSTART_UPSTREAM": upstream}
        program = Program("sidegate", BINARY, "run", "-c", CONFIG / config, env={**known, **environment})
        self.start(program).wait_open(port)
        return port

    def check(self, page, port):
        text = (CONFIG / "dialects" / page).read_text()
        calls, answers = [], []  # the answer that follows a block of calls, if one does
        for kind, content in BLOCK.findall(text):
            if content.startswith("sidegate run "):
                continue  # the one that runs here
            if kind == "sh":
                calls.append(content)
                answers.append(None)
            else:
                answers[-1] = (kind, content)
        self.assertGreater(len(calls), 3, page)
        script = WORK / f"{page}.sh"
        pasted = f'\necho; echo "{CUT}"; echo "{CUT}" >&2\n'.join(calls)
        script.write_text(PREAMBLE + pasted.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
        ran = subprocess.run(["bash", script], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        told = zip(calls, answers, ran.stdout.split(CUT), ran.stderr.split(CUT), strict=True)
        for block, answer, out, err in told:
            with self.subTest(block.strip().splitlines()[-1]):
                comments = " ".join(line for line in block.splitlines() if line.startswith("#"))
                promised = re.findall(r"(?<=: )[2-5]\d\d\b", comments)
                self.assertEqual(re.findall(r"STATUS (\d+)", err), promised, out + err)
                if answer:
                    self.check_answer(*answer, out.strip())

    def check_answer(self, kind, expected, out):
        if kind == "xml":
            self.assertEqual(outline(out), outline(expected))
        else:
            self.assertEqual(shape(json.loads(out.splitlines()[-1])), shape(json.loads(expected)), out)

    def test_oauth2(self):
        folder = WORK / "quickstart"
        folder.mkdir()
        ports = {f"QUICKSTART_{name}": f"127.0.0.1:{free_port()}" for name in ("HEALTH", "ADMIN")}
        self.check("oauth2.md", self.serve("quickstart.yaml", QUICKSTART_FOLDER=str(folder), **ports))

    def test_redex(self):
        self.check("redex.md", self.serve("redex.yaml"))

    def test_consinco(self):
        self.check("consinco.md", self.serve("consinco.yaml"))

    def test_one_that_is_declared(self):
        self.check("own.md", self.serve("declared-dialect.yaml"))

    def test_a_body_is_explained_for_each_example(self):
        for config, arguments, body in [
            ("redex.yaml", ["redex", "--endpoint", "refresh"], '{"RefreshToken":"never shown"}'),
            ("consinco.yaml", ["consinco", "--endpoint", "refresh"], '{"refresh_token":"never shown"}'),
            ("quickstart.yaml", ["oauth2"], "grant_type=refresh_token&refresh_token=never+shown&client_id=shop"),
        ]:
            file = WORK / "body"
            file.write_text(body)
            command = [BINARY, "explain", "-c", CONFIG / config, "--dialect", *arguments, "--body", f"@{file}"]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
            self.assertIn(ran.returncode, (0, 2), ran.stderr)
            self.assertIn("The client would be answered:", ran.stdout)
            self.assertNotIn("never", ran.stdout + ran.stderr)


if __name__ == "__main__":
    harness.main()
