"""An authority outside that gives each refresh token for one use and keeps books, an upstream that looks every token up
in them, and the settings and sessions of a sidegate between the two.

Where the authority forgives (users called `grace-…`) a refresh token may be used again for a minute; where it does not
(`strict-…`) a second use ends everything, as with real ones. The access tokens of users called `steady-…` last.
"""

import http.client
import json
import random
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode

from harness import Program, Sidegate, ask, background, bearer

STRICT, GRACE, STEADY = "strict", "grace", "steady"
REQUEST, REFRESH = "request", "refresh"
FORGIVEN_FOR = 60  # seconds
PASSWORD = "V4xr0kq2LmPz7TnB9sWd"
NOT_ANSWERED = (OSError, http.client.HTTPException, ValueError)


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_):
        """Connections are cut with each kill."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def read(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def say(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing: what counts is in the books."""


class Given:
    """What the authority's books say of one user."""

    def __init__(self, name):
        self.name, self.forgives = name, name.startswith(GRACE)
        self.newest, self.rotations, self.rotated_at = 0, 0, 0.0
        self.superseded, self.expiries = {}, {}
        self.revoked, self.revoked_for = False, ()

    def give(self, lifetime):
        if self.newest:
            self.superseded.setdefault(self.newest, time.monotonic())
        self.newest += 1
        if self.name.startswith(STEADY):
            lifetime = 3600
        self.expiries[self.newest] = time.time() + lifetime
        name = f"{self.name}:{self.newest}"
        tokens = {"access_token": f"at:{name}", "refresh_token": f"rt:{name}"}
        return {**tokens, "token_type": "Bearer", "expires_in": lifetime}

    def redeem(self, number, lifetime, asked_at):
        """What is given for refresh token `number`, or nothing."""
        if self.revoked:
            return None
        if number != self.newest:
            since = self.superseded.get(number)
            if since is None or not self.forgives or since + FORGIVEN_FOR < time.monotonic():
                self.revoked, self.revoked_for = True, (asked_at, time.monotonic())
                return None
        self.rotations, self.rotated_at = self.rotations + 1, time.monotonic()
        return self.give(lifetime)


class Authority:
    """One that speaks RFC 6749, and can be held at any point."""

    name = "authority"

    def __init__(self):
        self.books, self.lock = {}, threading.Lock()
        # Seconds that what a sign-in and a renewal give is good for.
        self.first, self.later = 1, 300
        # How long it takes, before it has done anything and after that.
        self.slow = 0.0
        self.holding, self.held, self.released = None, 0, threading.Event()
        # Whoever asks has no answer.
        self.away, self.unanswered = False, 0
        authority = self

        class Asked(Handler):
            def do_POST(self):
                form = {name: values[0] for name, values in parse_qs(self.read().decode()).items()}
                given = authority.answer(form)
                if given is None:
                    self.close_connection = True
                else:
                    self.say(*given)

        self.server = Server(("127.0.0.1", 0), Asked)
        self.port = self.server.server_port
        background(self.server.serve_forever)

    def answer(self, form):
        refused = 400, {"error": "invalid_grant"}
        if self.away:
            self.unanswered += 1
            return None
        if form["grant_type"] == "password":
            with self.lock:
                given = self.books.setdefault(form["username"], Given(form["username"])).give(self.first)
            return (200, given) if form["password"] == PASSWORD else refused
        asked_at = time.monotonic()
        if not self.goes_on("read"):
            return None
        time.sleep(random.uniform(0, self.slow))
        kind, name, number = form["refresh_token"].split(":")
        with self.lock:
            given = self.books[name].redeem(int(number), self.later, asked_at) if kind == "rt" else None
        if not self.goes_on("rotated"):
            return None
        time.sleep(random.uniform(0, self.slow))
        return (200, given) if given else refused

    def goes_on(self, place):
        """False after it was held in `place`, which it is not left from before the kill."""
        with self.lock:
            if self.holding != place:
                return True
            self.held += 1
            released = self.released
        released.wait()
        return False

    def hold(self, place):
        with self.lock:
            self.holding, self.held, self.released = place, 0, threading.Event()

    def let_go(self):
        with self.lock:
            self.holding = None
            self.released.set()

    def is_good(self, token):
        kind, name, number = token.split(":")
        return kind == "at" and time.time() < self.books[name].expiries[int(number)] + 1

    def log(self):
        with self.lock:
            newest = list(self.books.values())[-20:]
        return "\n".join(f"{given.name}: {given.rotations} rotations, revoked: {given.revoked}" for given in newest)

    def stop(self):
        self.let_go()
        self.server.shutdown()
        self.server.server_close()


class Upstream:
    """Looks every token up in the authority's books, and tells the client what it was shown."""

    name = "upstream"

    def __init__(self, authority):
        self.seen, self.wrong = set(), []
        upstream = self

        class Shown(Handler):
            def do_GET(self):
                self.read()
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                upstream.seen.add(token)
                try:
                    good = authority.is_good(token)
                except (KeyError, ValueError):
                    good = False
                if not good:
                    upstream.wrong.append((time.time(), token))
                self.say(200, {"shown": token})

        self.server = Server(("127.0.0.1", 0), Shown)
        self.port = self.server.server_port
        background(self.server.serve_forever)

    def log(self):
        return f"wrong: {self.wrong}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Killable(Sidegate):
    """A sidegate that can be killed at a point of a renewal, and started again on what it has left."""

    def __init__(self, settings, binary, folder, env=None):
        self.binary, self.env, self.arrivals = binary, env or {}, folder / "arrivals"
        super().__init__(settings, binary=binary, env=env)

    def start(self, point=None):
        self.arrivals.unlink(missing_ok=True)
        place = {"SIDEGATE_CRASH_POINT": point, "SIDEGATE_CRASH_FILE": str(self.arrivals)} if point else {}
        Program.__init__(self, "sidegate", self.binary, "run", "-c", self.config, env={**self.env, **place})
        self.wait_open(self.port, self.health_port)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait()
        self.stop()

    def arrived(self):
        return self.arrivals.read_bytes().count(b"\n") if self.arrivals.exists() else 0

    def renewed(self, **labels):
        return int(self.metric("sidegate_renewals_total", kind="authority", **labels))


def settings(authority, upstream, folder, **remote):
    """A sidegate between the two, without a store; its secrets are in `folder`."""
    secret = folder / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    rate = {"requests": 1_000_000, "per": "1m"}
    return {
        "authority": {
            "issuer": "http://127.0.0.1:8080",
            "audiences": ["api"],
            "remote": {
                "dialect": "oauth2",
                "url": f"http://127.0.0.1:{authority.port}/token",
                "client": {"id": "sidegate", "secret_file": str(secret)},
                "timeout": "10s",
                **remote,
            },
            "clients": [{"id": "app", "public": True, "grants": ["password", "refresh_token"], "scopes": ["read"]}],
            "throttle": {"per_pair": rate, "per_address": rate, "per_name": rate},
        },
        "upstreams": [
            {
                "name": "api",
                "url": f"http://127.0.0.1:{upstream.port}",
                "credential": {"authority_token": {}},
            }
        ],
        "routes": [
            {
                "name": "all",
                "paths": ["/*"],
                "upstream": "api",
                "policy": {"issuers": ["local"], "audiences": ["api"]},
            }
        ],
        # Nobody is to give up on a slow machine before it is killed.
        "refresh": {"wait": "20s"},
        "log": {"access": "refused"},
    }


def token(sidegate, **form):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return ask(sidegate.port, "/oauth20/token", "POST", headers, urlencode({"client_id": "app", **form}))


class Session:
    """One that a client has, with the last tokens that an answer brought."""

    def __init__(self, house, name, way=REQUEST):
        self.house, self.name, self.way = house, name, way
        given = token(house, grant_type="password", username=name, password=PASSWORD)
        assert given.status == 200, (given.status, given.text())
        self.take(given)

    def take(self, given):
        self.access, self.refresh = (given.json()[name] for name in ("access_token", "refresh_token"))

    def forgiven(self):
        return self.name.startswith(GRACE)

    def get(self, house=None):
        """At the sidegate where it began, or at another."""
        return (house or self.house).ask("/", headers=bearer(self.access))

    def refreshed(self, house=None):
        given = token(house or self.house, grant_type="refresh_token", refresh_token=self.refresh)
        if given.status == 200:
            self.take(given)
        return given

    def crosses(self):
        """What comes of needing a renewal; nothing if whoever was asked dies."""
        try:
            return self.get() if self.way == REQUEST else self.refreshed()
        except NOT_ANSWERED:
            return None
