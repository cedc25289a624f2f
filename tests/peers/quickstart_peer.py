"""A shell and curl, pasting what `sidegate quickstart` prints; and what its browser line leads to."""

import html.parser
import json
import re
import signal
import subprocess
import urllib.parse
from pathlib import Path

import harness
from harness import BINARY, WORK, Peer, Program, ask, eventually

# Each curl tells its status on the side, and is quiet about its progress, since nobody looks at it.
PREAMBLE = 'curl() { command curl -sS -w "%{stderr}STATUS %{http_code}\\n" "$@"; }\n'


class Form(html.parser.HTMLParser):
    """The first form of a page: where it goes, and what it carries."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields = None, {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form" and self.action is None:
            self.action = attributes.get("action") or ""
        if tag == "input" and attributes.get("type") == "hidden":
            self.fields[attributes["name"]] = attributes.get("value", "")


class Quickstart(Peer):
    @classmethod
    def prepare(cls):
        cls.quickstart = cls.start(Program("quickstart", BINARY, "quickstart"))
        eventually("everything is printed", lambda: "Ctrl-C" in cls.quickstart.log())
        cls.folder = Path(re.search(r"in (\S+/sidegate-quickstart-\d+)", cls.quickstart.log())[1])

    def test_a_what_is_printed_can_be_pasted_and_shows_what_is_said_before_it(self):
        log = self.quickstart.log()
        block = log[log.index("\nat=") : log.index("\nIn a browser")]
        promised = [
            status
            for line in block.splitlines()
            if line.startswith("#")
            for status in re.findall(r"(?<=: |, )\b[2-5]\d\d\b", line)
        ]
        # One comment may stand for several calls that go alike.
        script = WORK / "pasted.sh"
        script.write_text(PREAMBLE + block)
        ran = subprocess.run(["bash", script], capture_output=True, text=True, timeout=60, check=False)
        shown = re.findall(r"STATUS (\d+)", ran.stderr)
        self.assertEqual(shown[: len(promised)], promised, ran.stdout + ran.stderr)
        self.assertEqual(set(shown[len(promised) :]) | {"200"}, {"200"}, ran.stderr)
        self.assertEqual(len(shown), len(re.findall(r"\bcurl (?:-|\$)", block)))
        self.assertEqual({"200", "400", "401", "403", "404"}, set(shown))

        given = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith('{"')]
        refreshed = [answer["refresh_token"] for answer in given if "refresh_token" in answer]
        self.assertEqual(len(refreshed), 3)
        self.assertEqual(refreshed[1], refreshed[2], "a lost answer is given again")
        self.assertNotEqual(refreshed[0], refreshed[1])
        self.assertIn(True, [answer.get("active") for answer in given])
        self.assertIn("invalid_grant", [answer.get("error") for answer in given])
        self.assertRegex(ran.stdout, r"\tana\tshop\tpassword\talive\t")

    def test_b_the_browser_line_leads_to_a_code_that_can_be_redeemed(self):
        log = self.quickstart.log()
        address = urllib.parse.urlsplit(re.search(r"^http\S+/authorize\?\S+$", log, re.MULTILINE)[0])
        cookies = {}

        def browse(target, form=None):
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
            body = urllib.parse.urlencode(form) if form is not None else None
            if body:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
                headers["Origin"] = f"http://{address.netloc}"
            headers["Host"] = address.netloc
            answer = ask(address.port, target, method="POST" if body else "GET", headers=headers, body=body)
            for cookie in answer.headers.get_all("Set-Cookie") or []:
                name, _, rest = cookie.partition("=")
                cookies[name] = rest.split(";")[0]
            return answer

        target = f"{address.path}?{address.query}"
        answer = browse(target)
        for _ in range(4):
            if answer.status in (302, 303):
                target = answer.headers["Location"]
                if "code=" in target:
                    break
                target = urllib.parse.urljoin(address.geturl(), target)
                target = target.removeprefix(f"http://{address.netloc}")
                answer = browse(target)
                continue
            self.assertEqual(answer.status, 200, answer.text())
            form = Form(answer.text())
            fields = {**form.fields}
            if 'type="password"' in answer.text():
                fields |= {"username": "ana", "password": "quickstart"}
            else:
                fields |= {"decision": "allow"}
            answer = browse(urllib.parse.urljoin(target, form.action).removeprefix(f"http://{address.netloc}"), fields)
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(target).query)["code"][0]
        shown = ask(address.port, target.removeprefix(f"http://{address.netloc}"))
        self.assertEqual(shown.status, 200)
        self.assertIn(code, shown.text())
        command = re.search(r"^curl .*code=THE-CODE$", log, re.MULTILINE)[0].replace("THE-CODE", code)
        ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=True)
        self.assertIn("refresh_token", json.loads(ran.stdout))

    def test_c_ctrl_c_drains_and_ends_with_0_and_the_folder_is_gone(self):
        self.assertTrue(self.folder.is_dir())
        self.quickstart.signal(signal.SIGINT)
        self.assertEqual(self.quickstart.wait(), 0, self.quickstart.log()[-2000:])
        self.assertFalse(self.folder.exists())


if __name__ == "__main__":
    harness.main()
