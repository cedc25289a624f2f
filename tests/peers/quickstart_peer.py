"""curl, pasting what `sidegate quickstart` prints."""

import re
import shlex
import signal
import subprocess

import harness
from harness import BINARY, Peer, Program, eventually


class Quickstart(Peer):
    @classmethod
    def prepare(cls):
        cls.quickstart = cls.start(Program("quickstart", BINARY, "quickstart"))
        eventually("the curl lines are printed", lambda: "Ctrl-C" in cls.quickstart.log())

    @classmethod
    def curls(cls):
        """Each curl command with the status that the comment above it promises; several are promised in order."""
        found, promised = [], []
        for line in cls.quickstart.log().splitlines():
            if line.startswith("#"):
                promised = re.findall(r"\b[2-5]\d\d\b", line)
            elif line.startswith("curl "):
                found.append((line, promised.pop(0) if len(promised) > 1 else promised[0]))
        return found

    def test_a_each_curl_line_shows_what_is_said_before_it(self):
        shown = set()
        for command, promised in self.curls():
            with self.subTest(command[:60]):
                options = ["-sS", "-o", "/dev/null", "-w", "%{http_code}"]
                ran = subprocess.run(
                    [*shlex.split(command), *options], check=True, capture_output=True, text=True, timeout=30
                )
                status = ran.stdout[-3:]
                self.assertEqual(status, promised, ran.stdout)
                shown.add(status)
        self.assertEqual({"200", "401", "403", "404"}, shown)

    def test_b_ctrl_c_drains_and_ends_with_0(self):
        self.quickstart.signal(signal.SIGINT)
        self.assertEqual(self.quickstart.wait(), 0, self.quickstart.log()[-2000:])


if __name__ == "__main__":
    harness.main()
