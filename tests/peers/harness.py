"""What every peer needs: free ports, programs that end with the test, tokens, a running sidegate.

A peer is a file with `unittest` cases that `tests/run` starts as a program of its own. Everything that a peer starts
stays in the process group of that program, so that `tests/run` can end it whole, whatever happened.
"""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

BINARY = os.environ["SIDEGATE_BIN"]
WORK = Path(tempfile.mkdtemp(dir=os.environ.get("SIDEGATE_TEST_DIR")))
LONG = os.environ.get("SIDEGATE_TEST_LONG") == "1"
GIVEN = set()
PATIENCE = 20.0  # seconds until something that must happen counts as not happening


def free_port():
    """A loopback port that nobody listens on, and that was not given to anybody else here."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in GIVEN:
            GIVEN.add(port)
            return port


def eventually(what, probe, patience=PATIENCE, pause=0.05):
    """The first true value of `probe()`; an exception inside it counts as "not yet"."""
    end, last = time.monotonic() + patience, None
    while time.monotonic() < end:
        try:
            if value := probe():
                return value
            last = value
        except (OSError, http.client.HTTPException, AssertionError, ValueError) as error:
            last = error
        time.sleep(pause)
    raise AssertionError(f"not within {patience:g} s: {what} (last: {last!r})")


def is_open(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Program:
    """A program with its output in a file; ended by `stop()`."""

    def __init__(self, name, *command, cwd=None, env=None):
        self.name = name
        self.log_path = WORK / f"{name}-{free_port()}.log"
        self._log = open(self.log_path, "wb")
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd or WORK,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_open(self, *ports):
        for port in ports:
            eventually(f"{self.name} listens on {port}", lambda port=port: self._alive() and is_open(port))
        return self

    def _alive(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log()[-4000:]}")
        return True

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, patience=PATIENCE):
        """The exit code; negative for a signal."""
        return self.process.wait(patience)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()

    def memory(self, field):
        """Bytes of `VmRSS` (now) or `VmHWM` (the most ever)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024


class Issuer:
    """An issuer known by its key set in a file."""

    KINDS = {
        "ES256": lambda kid: ECKey.generate_key("P-256", parameters={"kid": kid, "alg": "ES256", "use": "sig"}),
        "RS256": lambda kid: RSAKey.generate_key(2048, parameters={"kid": kid, "alg": "RS256", "use": "sig"}),
        "EdDSA": lambda kid: OKPKey.generate_key("Ed25519", parameters={"kid": kid, "alg": "EdDSA", "use": "sig"}),
    }

    def __init__(self, algorithm="ES256", issuer="https://idp.test.example"):
        self.issuer, self.algorithm = issuer, algorithm
        self.key = self.KINDS[algorithm]("key-1")
        self.jwks_file = WORK / f"jwks-{free_port()}.json"
        self.jwks_file.write_text(json.dumps(KeySet([self.key]).as_dict(private=False)))

    def token(self, **changes):
        """A token of alice for the audience `api`; a claim changed to `None` is left out."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "alice",
            "aud": "api",
            "scope": "read write",
            "client_id": "app",
            "email": "alice@example.com",
            "iat": now,
            "exp": now + 600,
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": self.algorithm, "typ": "at+jwt", "kid": self.key.kid}
        return jwt.encode(header, claims, self.key, algorithms=[self.algorithm])

    def settings(self, **changes):
        return {
            "name": "test",
            "issuer": self.issuer,
            "jwks_file": str(self.jwks_file),
            "algorithms": [self.algorithm],
            **changes,
        }


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


class Answer:
    """A response, read whole."""

    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    def json(self):
        return json.loads(self.body)

    def text(self):
        return self.body.decode()


def ask(port, path, method="GET", headers=None, body=None, connection=None):
    """One request to a loopback port, on a connection of its own unless one is given."""
    own = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        own.request(method, path, body=body, headers=headers or {}, encode_chunked=hasattr(body, "__next__"))
        return Answer(own.getresponse())
    finally:
        if connection is None:
            own.close()


class Sidegate(Program):
    """A running sidegate with one listener and the health listener; `settings` is the rest of the configuration."""

    def __init__(self, settings, ready=True, listener=None, more_listeners=(), binary=BINARY, env=None):
        self.port, self.health_port = free_port(), free_port()
        self.base = {
            "listeners": [
                {"name": "public", "address": f"127.0.0.1:{self.port}", **(listener or {})},
                *more_listeners,
            ],
            "health": {"address": f"127.0.0.1:{self.health_port}"},
            "log": {"format": "json", "level": "info"},
            "drain": {"timeout": "5s"},
            "workers": 2,
        }
        self.config = WORK / f"sidegate-{self.port}.yaml"
        self.write(settings)
        super().__init__("sidegate", binary, "run", "-c", self.config, env=env)
        self.wait_open(self.port, self.health_port)
        if ready:
            eventually("sidegate is ready", lambda: ask(self.health_port, "/readyz").status == 200)

    def write(self, settings):
        # JSON is YAML: the configuration is written as the tests hold it.
        self.config.write_text(json.dumps({**self.base, **settings}, indent=1))

    def ask(self, path, **how):
        return ask(self.port, path, **how)

    def metric(self, name, **labels):
        """The sum of the samples of `name` that carry `labels`."""
        text, total = ask(self.health_port, "/metrics").text(), None
        for line in text.splitlines():
            if not line.startswith((name + "{", name + " ")):
                continue
            if all(f'{key}="{value}"' in line for key, value in labels.items()):
                total = (total or 0) + float(line.rsplit(" ", 1)[1])
        if total is None:
            raise AssertionError(f"no sample of {name} with {labels}")
        return total


class Server(ThreadingHTTPServer):
    """Of which many may ask at once."""

    request_queue_size = 1024


class Echo:
    """An upstream inside the test: answers with what it was asked, and keeps it in `requests`."""

    name = "echo"

    def __init__(self):
        self.requests = requests = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                if len(body) < length:  # the client went away
                    self.close_connection = True
                    return
                seen = {
                    "method": self.command,
                    "path": self.path,
                    "headers": {name.lower(): value for name, value in self.headers.items()},
                    "body": body.decode(),
                }
                requests.append(seen)
                body = json.dumps(seen).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_):
                """Says nothing: the tests read `requests`."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        background(self.server.serve_forever)

    def log(self):
        return "\n".join(map(str, self.requests))

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def upstream(port, **changes):
    return {"name": "api", "url": f"http://127.0.0.1:{port}", **changes}


def route(**changes):
    """Everything below `/` for holders of a token for `api`."""
    return {"name": "all", "paths": ["/*"], "upstream": "api", "policy": {"audiences": ["api"]}, **changes}


class Peer(unittest.TestCase):
    """A case whose class starts its programs once, with `cls.start(...)` in `prepare`."""

    longMessage = True

    @classmethod
    def prepare(cls):
        """Starts what all tests of the class share."""

    @classmethod
    def start(cls, program):
        cls.programs.callback(program.stop)
        cls.started.append(program)
        return program

    @classmethod
    def setUpClass(cls):
        cls.programs, cls.started = ExitStack(), []
        try:
            cls.prepare()
        except BaseException:
            cls.show_logs()
            cls.programs.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.programs.close()

    @classmethod
    def show_logs(cls):
        for program in cls.started:
            print(f"--- the end of the log of {program.name}", file=sys.stderr)
            print("\n".join(program.log().splitlines()[-30:]), file=sys.stderr)

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            self.show_logs()
        return result

    def __str__(self):
        return self._testMethodName.removeprefix("test_").replace("_", " ")


def background(work):
    """Runs `work` beside the test."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def main():
    """Runs the cases of the calling file; the counts go to the file that `tests/run` names."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    result = unittest.main(module="__main__", exit=False, verbosity=2).result
    problems = [case for case, _ in result.failures + result.errors] + result.unexpectedSuccesses
    # Parts of one test count once; a class that could not be prepared counts although none of its tests ran.
    failed = {getattr(case, "test_case", case).id() for case in problems}
    ran = sum(1 for name in failed if not name.startswith("setUpClass"))
    passed = result.testsRun - ran - len(result.skipped)
    if counts := os.environ.get("SIDEGATE_TEST_COUNTS"):
        Path(counts).write_text(f"{passed} {len(failed)} {len(result.skipped)}\n")
    sys.exit(1 if failed or not result.testsRun else 0)
