"""The command line, as an init system and a container use it: exit codes, probes, signals."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import harness
from harness import (
    BINARY,
    PATIENCE,
    WORK,
    Echo,
    Issuer,
    Peer,
    Sidegate,
    ask,
    bearer,
    eventually,
    free_port,
    is_open,
    route,
    upstream,
)

ROOT = Path(__file__).parents[2]


def sidegate(*arguments, **environment):
    return subprocess.run(
        [BINARY, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def written(text):
    path = WORK / f"written-{free_port()}.yaml"
    path.write_text(text)
    return path


BAD = """\
listeners:
  - address: 127.0.0.1:99999
upstreams:
  - {name: api, url: "ftp://127.0.0.1:1"}
routes:
  - {paths: [/a], upstream: nowhere, public: true}
  - {paths: [/b], upstream: api, publik: true}
"""


class CommandLine(Peer):
    def test_check_accepts_the_reference(self):
        checked = sidegate("check", "-c", ROOT / "config/reference.yaml")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_check_names_all_problems_at_once_and_ends_with_64(self):
        checked = sidegate("check", "-c", written(BAD.replace("publik", "public")))
        said = checked.stdout + checked.stderr
        self.assertEqual(checked.returncode, 64, said)
        for word in ("99999", "ftp", "nowhere"):
            self.assertIn(word, said)

    def test_an_unknown_key_is_named_with_its_line(self):
        checked = sidegate("check", "-c", written(BAD))
        said = checked.stdout + checked.stderr
        self.assertEqual(checked.returncode, 64, said)
        self.assertRegex(said, r"publik")
        self.assertRegex(said, r"\b7\b")

    def test_a_file_that_is_not_there_ends_with_64(self):
        for command in ("check", "run"):
            ended = sidegate(command, "-c", WORK / "nothing.yaml")
            self.assertEqual(ended.returncode, 64, ended.stderr)
            self.assertIn("nothing.yaml", ended.stdout + ended.stderr)

    def test_run_does_not_start_with_a_bad_configuration_and_ends_with_64(self):
        self.assertEqual(sidegate("run", "-c", written(BAD)).returncode, 64)

    def test_run_that_cannot_listen_ends_with_1_and_says_where(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            configuration = {
                "listeners": [{"address": address}],
                "upstreams": [upstream(1)],
                "routes": [{"name": "x", "paths": ["/x"], "upstream": "api", "public": True}],
            }
            ended = sidegate("run", "-c", written(json.dumps(configuration)))
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        self.assertIn(address, ended.stdout + ended.stderr)

    def test_health_fails_where_nothing_listens(self):
        self.assertNotIn(sidegate("health", "--address", f"127.0.0.1:{free_port()}").returncode, (0, 64))

    def test_version_and_help_end_with_0(self):
        self.assertRegex(sidegate("--version").stdout, r"^sidegate \d+\.\d+\.\d+( \([0-9a-f]{12}(-dirty)?\))?$")
        for arguments in (["--help"], ["run", "--help"], ["check", "--help"], ["health", "--help"]):
            shown = sidegate(*arguments)
            self.assertEqual(shown.returncode, 0)
            self.assertIn("sidegate", shown.stdout)

    def test_an_unknown_argument_is_a_wrong_setting(self):
        ended = sidegate("run", "--nonsense")
        self.assertIn(ended.returncode, (2, 64))
        self.assertIn("--nonsense", ended.stderr)


class Manual(Peer):
    """What packages install beside the binary, read by those whom it is for."""

    def checked(self, *command, text):
        ran = subprocess.run(command, check=False, capture_output=True, text=True, input=text, timeout=PATIENCE)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""), command)
        return re.sub(".\b", "", ran.stdout)  # bold and underlined letters are struck over

    def test_every_command_has_a_page_that_a_strict_reader_accepts(self):
        folder = WORK / "man1"
        self.assertEqual(sidegate("man", "--folder", folder).returncode, 0)
        pages = {page.name: page.read_text() for page in folder.iterdir()}
        for name in ("sidegate.1", "sidegate-run.1", "sidegate-keys-rotate.1", "sidegate-completions.1"):
            self.assertIn(name, pages)
        for name, page in pages.items():
            with self.subTest(page=name):
                self.checked("mandoc", "-T", "lint", "-W", "error", text=page)
                self.assertIn("NAME", self.checked("mandoc", "-T", "utf8", text=page))

    def test_the_first_page_goes_to_standard_output_and_names_the_commands(self):
        shown = self.checked("mandoc", "-T", "ascii", text=sidegate("man").stdout)
        for command in ("sidegate-run", "sidegate-check", "sidegate-explain"):
            self.assertIn(command, shown)

    def test_a_folder_that_cannot_be_written_is_named(self):
        ended = sidegate("man", "--folder", "/dev/null/man1")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("/dev/null/man1", ended.stderr)

    def test_bash_completes_commands_options_and_values(self):
        script = WORK / "sidegate.bash"
        script.write_text(sidegate("completions", "bash").stdout)
        self.checked("bash", "-n", script, text="")
        asked = """
            source "$1"
            complete_it() {
                COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
                _sidegate sidegate "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
                echo "${COMPREPLY[*]}"
            }
            complete_it sidegate qui; complete_it sidegate check --conf; complete_it sidegate completions f
        """
        shown = self.checked("bash", "-c", asked, "bash", script, text="")
        self.assertEqual(shown.splitlines(), ["quickstart", "--config", "fish"])

    def test_zsh_and_fish_read_their_completions(self):
        for shell in ("zsh", "fish"):
            with self.subTest(shell=shell):
                script = WORK / f"sidegate.{shell}"
                script.write_text(sidegate("completions", shell).stdout)
                self.checked(shell, "-n", script, text="")

    def test_another_shell_is_refused_with_those_that_are_known(self):
        ended = sidegate("completions", "tcsh")
        self.assertEqual(ended.returncode, 64)
        self.assertIn("bash", ended.stderr)


class Running(Peer):
    """One process for each test: every test ends it."""

    def setUp(self):
        self.issuer, self.echo = Issuer(), self.start(Echo())

    def sidegate(self, **settings):
        return self.start(
            Sidegate(
                {
                    "issuers": [self.issuer.settings()],
                    "upstreams": [upstream(self.echo.port, credential={"none": {}})],
                    "routes": [route()],
                    **settings,
                }
            )
        )

    def half_a_request(self, port):
        wire = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.addCleanup(wire.close)
        wire.sendall(
            f"POST /echo HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {self.issuer.token()}\r\n"
            "Content-Length: 10\r\n\r\nfirst".encode()
        )
        eventually("the request is on its way", lambda: self.running.metric("sidegate_http_requests_in_flight") >= 1)
        return wire

    def test_health_succeeds_while_it_runs(self):
        running = self.sidegate()
        probed = sidegate("health", "--address", f"127.0.0.1:{running.health_port}")
        self.assertEqual(probed.returncode, 0, probed.stdout + probed.stderr)

    def test_sigterm_finishes_what_is_on_the_way_then_ends_with_0(self):
        self.running = running = self.sidegate(drain={"timeout": "20s"})
        wire = self.half_a_request(running.port)
        running.signal(signal.SIGTERM)
        eventually("new connections are not taken", lambda: not is_open(running.port))
        self.assertIsNone(running.process.poll(), "ended before the request did")
        wire.sendall(b"-last")
        answer = b"".join(iter(lambda: wire.recv(65536), b"")).decode()
        self.assertTrue(answer.startswith("HTTP/1.1 200"), answer)
        self.assertIn("connection: close", answer.lower())
        self.assertIn('"body": "first-last"', answer)
        self.assertEqual(running.wait(10), 0)

    def test_it_is_not_ready_but_serves_during_the_delay_of_the_drain(self):
        running = self.sidegate(drain={"delay": "3s", "timeout": "5s"})
        running.signal(signal.SIGTERM)
        eventually("it is not ready", lambda: ask(running.health_port, "/readyz").status == 503)
        self.assertEqual(ask(running.health_port, "/livez").status, 200)
        self.assertEqual(running.ask("/things", headers=bearer(self.issuer.token())).status, 200)
        self.assertEqual(running.wait(), 0)

    def test_a_second_signal_ends_at_once(self):
        self.running = running = self.sidegate(drain={"timeout": "60s"})
        self.half_a_request(running.port)
        running.signal(signal.SIGTERM)
        eventually("new connections are not taken", lambda: not is_open(running.port))
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        self.assertIsNotNone(running.wait(10))
        self.assertLess(time.monotonic() - began, 10)

    def test_what_is_left_at_the_end_of_the_drain_is_closed(self):
        self.running = running = self.sidegate(drain={"timeout": "1s"})
        self.half_a_request(running.port)
        running.signal(signal.SIGINT)
        self.assertEqual(running.wait(10), 0)

    def test_a_setting_of_the_environment_overrides_the_file(self):
        port = free_port()
        configuration = written(
            json.dumps(
                {
                    "listeners": [{"address": "127.0.0.1:1"}],
                    "upstreams": [upstream(self.echo.port)],
                    "routes": [{"name": "all", "paths": ["/*"], "upstream": "api", "public": True}],
                }
            )
        )
        environment = {"SIDEGATE__LISTENERS__0__ADDRESS": f"127.0.0.1:{port}"}
        running = self.start(harness.Program("sidegate", BINARY, "run", "-c", configuration, env=environment))
        running.wait_open(port)
        self.assertEqual(ask(port, "/things").status, 200)


if __name__ == "__main__":
    harness.main()
