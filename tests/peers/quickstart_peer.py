"""A shell and curl, pasting what `sidegate quickstart` prints; and what its browser line leads to."""

import json
import re
import signal
import subprocess
import urllib.parse
from pathlib import Path

import harness
from browser import Browser
from harness import BINARY, WORK, Peer, Program, eventually

# Each curl tells its status on the side, and is quiet about its progress, since nobody looks at it.
PREAMBLE = 'curl() { command curl -sS -w "%{stderr}STATUS %{http_code}\\n" "$@"; }\n'


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
        script = WORK / "pasted.sh"
        script.write_text(PREAMBLE + block)
        ran = subprocess.run(["bash", script], capture_output=True, text=True, timeout=60, check=False)
        shown = re.findall(r"STATUS (\d+)", ran.stderr)
        self.assertEqual(shown[: len(promised)], promised, ran.stdout + ran.stderr)
        # The last comment stands for several calls that go alike.
        self.assertEqual(set(shown[len(promised) :]), {"200"}, ran.stderr)
        self.assertEqual(len(shown), len(re.findall(r"\bcurl (?:-|\$)", block)))
        self.assertEqual({"200", "400", "401", "403", "404"}, set(shown))

        refreshed = re.findall(r'"refresh_token":"([^"]+)"', ran.stdout)
        self.assertEqual(len(refreshed), 3)
        self.assertEqual(refreshed[1], refreshed[2], "a lost answer is given again")
        self.assertNotEqual(refreshed[0], refreshed[1])
        self.assertIn('"active":true', ran.stdout)
        self.assertIn('"error":"invalid_grant"', ran.stdout)
        self.assertRegex(ran.stdout, r"\tana\tshop\tpassword\talive\t")

    def test_b_the_browser_line_leads_to_a_code_that_can_be_redeemed(self):
        log = self.quickstart.log()
        browser = Browser("ana", "quickstart")
        callback = browser.authorize(re.search(r"^http\S+/authorize\?\S+$", log, re.MULTILINE)[0])
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(callback).query)["code"][0]
        shown = browser.visit(callback)
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
