"""A sidegate in each trouble, and what it takes to keep it there.

A trouble is told by its name, which is the `job` of its sidegate, the alerts that may fire, and `act`, which is called
over and over. Nothing in here waits for long.
"""

import base64
import hashlib
import hmac
import http.client
import json
import random
import resource
import signal
import socket
import subprocess
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlencode

from harness import (
    BINARY,
    WORK,
    Echo,
    Issuer,
    Program,
    Server,
    Sidegate,
    ask,
    background,
    bearer,
    eventually,
    free_port,
    route,
    upstream,
)
from outside import PASSWORD, Authority, Session, Upstream
from outside import settings as between

SECRET = "V4xr0kq2LmPz7TnB9sWd"
HASH = "sha256:" + hashlib.sha256(SECRET.encode()).hexdigest()
AMPLE = {"requests": 1_000_000, "per": "1m"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Stub:
    """A server that answers by `answer(path)`: status and content, or nothing at all."""

    name = "stub"

    def __init__(self, answer):
        class Asked(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def asked(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, content = answer(self.path)
                body = (content if isinstance(content, str) else json.dumps(content)).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = asked

            def log_message(self, *_):
                """Says nothing."""

        self.server = Server(("127.0.0.1", 0), Asked)
        self.port = self.server.server_port
        background(self.server.serve_forever)

    def log(self):
        return ""

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def own(**changes):
    """An authority of sidegate's own, with a client that needs no secret."""
    return {
        "issuer": "http://127.0.0.1:8080",
        "audiences": ["api"],
        "clients": [{"id": "app", "public": True, "grants": ["password", "refresh_token"], "scopes": ["read"]}],
        "users": [{"username": "ana", "password_hash": HASH}],
        "throttle": {"per_pair": AMPLE, "per_address": AMPLE, "per_name": AMPLE},
        **changes,
    }


def secret_file(content=SECRET):
    path = WORK / f"secret-{free_port()}"
    path.write_text(content)
    path.chmod(0o600)
    return str(path)


def master_file():
    return secret_file(subprocess.run([BINARY, "keys", "master"], check=True, capture_output=True, text=True).stdout)


def self_signed(days):
    """Settings with a certificate that lasts so long."""
    folder = WORK / f"tls-{free_port()}"
    folder.mkdir()
    certificate, key = folder / "cert.pem", folder / "key.pem"
    making = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    naming = ["-subj", "/CN=localhost", "-days", str(days), "-keyout", key, "-out", certificate]
    subprocess.run([*making, *naming], check=True, capture_output=True)
    key.chmod(0o600)
    return {"certificate_file": str(certificate), "key_file": str(key)}


class Trouble:
    """One sidegate, with an upstream that answers, and an issuer whose keys are in a file."""

    name, alerts, listener = None, (), {}

    def __init__(self, start):
        self.issuer, self.echo, self.start = Issuer(), start(Echo()), start
        self.token = self.issuer.token()
        settings = {
            "issuers": [self.issuer.settings()],
            "upstreams": [upstream(self.echo.port, credential={"none": {}})],
            "routes": [route()],
            "log": {"access": "refused"},
        }
        settings.update(self.settings())
        self.sidegate = start(Sidegate(settings, listener=self.listener))
        self.begin()

    def settings(self):
        """What is configured in another way."""
        return {}

    def begin(self):
        """What is done once."""

    def act(self):
        self.get(self.token)

    def get(self, token, path="/things"):
        return self.sidegate.ask(path, headers=bearer(token))

    def grant(self, **form):
        return self.sidegate.ask("/oauth20/token", method="POST", headers=FORM, body=urlencode(form))

    def sign_in(self, password=SECRET, username="ana"):
        return self.grant(grant_type="password", client_id="app", username=username, password=password)

    def refresh(self, token):
        return self.grant(grant_type="refresh_token", client_id="app", refresh_token=token)


class Well(Trouble):
    """All is well."""

    name = "well"

    def settings(self):
        return {"authority": own(), "store": {"memory": {}}}

    def begin(self):
        self.refresh_token = self.sign_in().json()["refresh_token"]

    def act(self):
        super().act()
        self.refresh_token = self.refresh(self.refresh_token).json()["refresh_token"]


class Down(Trouble):
    name, alerts = "down", ("SidegateDown",)

    def act(self):
        """It is gone, once Prometheus has seen it."""
        self.sidegate.stop()


class Restarts(Trouble):
    name, alerts = "restarts", ("SidegateRestarts",)
    starts, last = 0, 0.0

    def act(self):
        if self.starts < 4 and time.monotonic() > self.last + 3:
            self.starts, self.last = self.starts + 1, time.monotonic()
            self.sidegate.stop()
            Program.__init__(self.sidegate, "sidegate", BINARY, "run", "-c", self.sidegate.config)
            self.sidegate.wait_open(self.sidegate.health_port)


class UpstreamAway(Trouble):
    name, alerts = "upstream-away", ("SidegateUpstreamAway",)

    def begin(self):
        self.act()
        self.echo.server.server_close()


class UpstreamErrors(Trouble):
    name, alerts = "upstream-errors", ("SidegateUpstreamErrors",)

    def settings(self):
        stub = self.start(Stub(lambda _: (500 if random.random() < 0.5 else 200, {})))
        return {"upstreams": [upstream(stub.port, credential={"none": {}})]}


class Saturated(Trouble):
    """One question at once to an issuer that takes its time: the rest is refused."""

    name, alerts = "saturated", ("SidegateErrors", "SidegateErrorsLinger")

    def settings(self):
        def slow(_):
            time.sleep(1)
            return 200, {"active": False}

        stub = self.start(Stub(slow))
        return {"issuers": [introspected(stub, max_concurrent=1, negative_ttl="0s")]}

    def act(self):
        background(lambda: self.get(f"opaque-{random.random()}"))


def introspected(stub, **changes):
    return {
        "name": "asked",
        "issuer": "https://asked.test.example",
        "algorithms": [],
        "introspection": {
            "endpoint": f"http://127.0.0.1:{stub.port}/introspect",
            "client_id": "sidegate",
            "client_secret_file": secret_file(),
            **changes,
        },
    }


class NoVerdicts(Trouble):
    name, alerts = "no-verdicts", ("SidegateVerdictsFail",)

    def settings(self):
        return {"issuers": [introspected(self.start(Stub(lambda _: (500, {}))))]}

    def act(self):
        self.get(f"opaque-{random.random()}")


class Vouched(Trouble):
    """Sessions whose tokens an authority outside gives, each good for a second."""

    sessions = 12

    def settings(self):
        self.authority = self.start(Authority())
        self.authority.first = self.authority.later = 1
        self.behind = self.start(Upstream(self.authority))
        folder = WORK / f"vouched-{free_port()}"
        folder.mkdir()
        settings = between(self.authority, self.behind, folder)
        return {**settings, "refresh": {"wait": "2s"}, "store": {"memory": {}}}

    def begin(self):
        self.all = [Session(self.sidegate, f"grace-{number}") for number in range(self.sessions)]

    def act(self):
        random.choice(self.all).get()


class AuthorityAway(Vouched):
    name, alerts = "authority-away", ("SidegateAuthorityAway",)

    def begin(self):
        super().begin()
        self.authority.away = True

    def act(self):
        super().act()
        self.sign_in()


class AuthorityRefuses(Vouched):
    name, alerts = "authority-refuses", ("SidegateAuthorityRefuses",)

    def begin(self):
        super().begin()
        self.authority.answer = lambda _: (401, {"error": "invalid_client"})

    def act(self):
        super().act()
        self.sign_in()


class RenewalsFail(Vouched):
    """Four answers of five say: not now. That is too few in a row to give the authority up."""

    name, alerts = "renewals-fail", ("SidegateRenewalsFail",)
    sessions, number = 40, 0

    def begin(self):
        super().begin()
        answer = self.authority.answer

        def now_and_then(form):
            self.number += 1
            return (503, {"error": "temporarily_unavailable"}) if self.number % 5 else answer(form)

        self.authority.answer = now_and_then

    def act(self):
        for _ in range(4):
            super().act()


class SessionsEnd(Vouched):
    name, alerts = "sessions-end", ("SidegateSessionsEnd",)
    sessions = 60

    def begin(self):
        super().begin()
        self.authority.answer = lambda _: (400, {"error": "invalid_grant"})

    def act(self):
        if self.all:
            self.all.pop().get()


class SessionsLost(Vouched):
    """The first renewals are done, their answers do not arrive, and no second use is forgiven."""

    name, alerts, sessions = "sessions-lost", ("SidegateSessionsLost",), 12
    lost = 3

    def begin(self):
        self.all = [Session(self.sidegate, f"strict-{number}") for number in range(self.sessions)]
        answer = self.authority.answer

        def not_arriving(form):
            given = answer(form)
            if form["grant_type"] == "refresh_token" and self.lost and given[0] == 200:
                self.lost -= 1
                return None
            return given

        self.authority.answer = not_arriving


class NoServiceToken(Trouble):
    name, alerts = "no-service-token", ("SidegateServiceTokenMissing",)

    def settings(self):
        stub = self.start(Stub(lambda _: (400, {"error": "invalid_scope"})))
        service = {
            "dialect": "oauth2",
            "url": f"http://127.0.0.1:{stub.port}/token",
            "client": {"id": "sidegate", "secret_file": secret_file()},
        }
        return {"upstreams": [upstream(self.echo.port, credential={"service": service})]}


class SignInsFail(Trouble):
    name, alerts = "sign-ins-fail", ("SidegateSignInsFail",)

    def settings(self):
        stub = self.start(Stub(lambda _: (500, {})))
        service = {"http": {"url": f"http://127.0.0.1:{stub.port}/verify", "token_file": secret_file()}}
        authority = own(user_service=service)
        del authority["users"]
        return {"authority": authority, "store": {"memory": {}}}

    def act(self):
        self.sign_in()


class NoKeys(Trouble):
    """An issuer that was never there."""

    name, alerts = "no-keys", ("SidegateIssuerUnusable",)

    def settings(self):
        return {"issuers": [fetched(self.issuer, free_port())]}


def fetched(issuer, port, **changes):
    settings = issuer.settings(**changes)
    del settings["jwks_file"]
    return {**settings, "jwks_uri": f"http://127.0.0.1:{port}/jwks", "refresh_interval": "10s"}


class OldKeys(Trouble):
    """An issuer that was there at the start."""

    name, alerts = "old-keys", ("SidegateKeysOld",)
    kept = {}

    def settings(self):
        keys = json.loads(self.issuer.jwks_file.read_text())
        self.stub = Stub(lambda _: (200, keys) if self.there else (500, {}))
        self.there = True
        self.start(self.stub)
        return {"issuers": [fetched(self.issuer, self.stub.port, **self.kept)]}

    def begin(self):
        eventually("the keys are there", lambda: self.get(self.token).status == 200)
        self.there, self.asked_at = False, time.monotonic()
        self.stranger = Issuer()
        self.stranger.key = Issuer.KINDS["ES256"]("key-2")

    def act(self):
        for _ in range(3):
            super().act()
        # A key that nobody knows makes sidegate ask at once; else its pauses grow to half a minute.
        if time.monotonic() > self.asked_at + 11:
            self.asked_at = time.monotonic()
            self.get(self.stranger.token())


class TooOldKeys(OldKeys):
    """Three quarters of the time that they are kept are over, and then all of it."""

    name, kept = "too-old-keys", {"max_stale": "60s"}
    alerts = ("SidegateKeysOld", "SidegateKeysTooOld", "SidegateIssuerUnusable")


class Reuse(Trouble):
    name, alerts = "reuse", ("SidegateReuseDetected",)

    def settings(self):
        return {"authority": own(), "store": {"memory": {}}}

    def begin(self):
        self.seen = [self.sign_in().json()["refresh_token"]]

    def act(self):
        """The first one comes back in the third generation."""
        if len(self.seen) < 3:
            self.seen.append(self.refresh(self.seen[-1]).json()["refresh_token"])
        elif len(self.seen) == 3:
            self.seen.append(self.refresh(self.seen[0]).json()["error"])
        super().act()


class Refused(Trouble):
    """A client that presents what no sidegate has given."""

    name, alerts = "refused", ("SidegateRefreshesRefused",)

    def settings(self):
        return {"authority": own(), "store": {"memory": {}}}

    def act(self):
        super().act()
        self.refresh("rt:nobody:1")


class InRedis(Trouble):
    """Sessions in Redis."""

    of_redis = ()

    def settings(self):
        self.redis, store = redis(self.start, *self.of_redis)
        return {
            "authority": own(),
            "store": {"redis": {**store, "timeout": "250ms"}},
            "keys": {"master_file": master_file()},
        }

    def begin(self):
        self.refresh_token = self.sign_in().json()["refresh_token"]


def redis(start, *settings):
    """A Redis server, and what is configured to use it."""
    port = free_port()
    command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--maxmemory-policy", "noeviction"]
    server = start(Program("redis", *command, *settings)).wait_open(port)
    return server, {"url": f"redis://127.0.0.1:{port}"}


class StoreDown(InRedis):
    name, alerts = "store-down", ("SidegateStoreDown",)

    def begin(self):
        super().begin()
        self.redis.stop()

    def act(self):
        super().act()
        self.refresh(self.refresh_token)


class Deaf(InRedis):
    """A user of Redis that may not hear anything."""

    name, alerts = "deaf", ("SidegateReplicasDeaf",)
    of_redis = ("--user", "default", "on", "nopass", "~*", "&*", "+@all", "-subscribe")


class LogLost(Trouble):
    """An audit stream on a disk that is full."""

    name, alerts = "log-lost", ("SidegateLogLost",)

    def settings(self):
        log = {"access": "refused", "audit": {"file": "/dev/full"}}
        return {"authority": own(), "store": {"memory": {}}, "log": log}

    def act(self):
        super().act()
        self.sign_in()


class FileDescriptors(Trouble):
    name, alerts = "descriptors", ("SidegateFileDescriptors",)

    def begin(self):
        """Hardly more than are open."""
        self.get(self.token)
        limit = len(list(Path(f"/proc/{self.sidegate.pid}/fd").iterdir())) + 5
        resource.prlimit(self.sidegate.pid, resource.RLIMIT_NOFILE, (limit, limit))


class Reload(Trouble):
    name, alerts = "reload", ("SidegateReloadFailed",)

    def begin(self):
        self.sidegate.write({"routes": "none"})
        self.sidegate.signal(signal.SIGHUP)


class Gone(Trouble):
    """A file that is named and watched, and is not there any more."""

    name, alerts = "gone", ("SidegateReloadFailed",)

    def settings(self):
        return {"reload": {"watch": True, "interval": "1s"}}

    def begin(self):
        self.issuer.jwks_file.unlink()


class ManyConnections(Trouble):
    name, alerts, listener = "connections", ("SidegateConnectionsNearLimit",), {"limits": {"connections": 20}}

    def begin(self):
        self.open = [socket.create_connection(("127.0.0.1", self.sidegate.port)) for _ in range(19)]

    def act(self):
        """They stay; sidegate closes those that say nothing."""
        index = random.randrange(len(self.open))
        self.open[index].close()
        self.open[index] = socket.create_connection(("127.0.0.1", self.sidegate.port))


class RateLimited(Trouble):
    name, alerts = "rate-limited", ("SidegateRateLimited",)

    def settings(self):
        return {"routes": [route(rate_limit={"per_principal": {"requests": 1, "per": "1s", "burst": 1}})]}


class PasswordChecks(Trouble):
    """More guesses at once than there is time for."""

    name, alerts = "passwords", ("SidegatePasswordChecksBusy", "SidegateRateLimited")

    def settings(self):
        hashed = "$argon2id$v=19$m=65536,t=2,p=1$c2lkZWdhdGUtc2FsdA$"
        hashed += base64.b64encode(hashlib.sha256(b"nobody knows").digest()).decode().rstrip("=")
        users = [{"username": "ana", "password_hash": hashed}]
        throttle = {"per_pair": AMPLE, "per_address": AMPLE, "per_name": AMPLE, "password_checks": 1}
        return {"authority": own(users=users, throttle=throttle), "store": {"memory": {}}}

    def act(self):
        for _ in range(3):
            background(lambda: self.sign_in(f"guess {random.random()}"))


class Thrashing(Trouble):
    """Many tokens with a large claim that is shown to the upstream, and room for few."""

    name, alerts = "thrashing", ("SidegateCacheThrashes",)

    def settings(self):
        issuer = {
            "name": "shared",
            "issuer": "https://shared.test.example",
            "hs_secret_file": secret_file(SECRET * 2),
            "algorithms": ["HS256"],
        }
        headers = {"X-Large": "large"}
        return {
            "issuers": [issuer],
            "upstreams": [upstream(self.echo.port, credential={"none": {}}, identity_headers=headers)],
            "cache": {"max_bytes": "1MiB"},
        }

    def act(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.sidegate.port, timeout=20)
        for _ in range(10):
            answer = ask(self.sidegate.port, "/", headers=bearer(self.another()), connection=connection)
            assert answer.status == 200, answer.text()
        connection.close()

    def another(self):
        now = int(time.time())
        claims = {"iss": "https://shared.test.example", "sub": "ana", "aud": "api", "iat": now, "exp": now + 600}
        claims["large"] = random.randbytes(2000).hex()
        parts = [{"alg": "HS256", "typ": "JWT"}, claims]
        head = b".".join(url64(json.dumps(part).encode()) for part in parts)
        return (head + b"." + url64(hmac.digest((SECRET * 2).encode(), head, "sha256"))).decode()


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Certificate(Trouble):
    days, name, alerts = 3, "certificate", ("SidegateCertificateExpires",)

    def __init__(self, start):
        self.listener = {"tls": self_signed(self.days)}
        super().__init__(start)

    def act(self):
        """It is enough that it is there."""


class OldCertificate(Certificate):
    days, name, alerts = 1, "old-certificate", ("SidegateCertificateExpiresSoon",)


ALL = [
    Well,
    Down,
    Restarts,
    UpstreamAway,
    UpstreamErrors,
    Saturated,
    NoVerdicts,
    AuthorityAway,
    AuthorityRefuses,
    RenewalsFail,
    SessionsEnd,
    SessionsLost,
    NoServiceToken,
    SignInsFail,
    NoKeys,
    OldKeys,
    TooOldKeys,
    Reuse,
    Refused,
    StoreDown,
    Deaf,
    LogLost,
    FileDescriptors,
    Reload,
    Gone,
    ManyConnections,
    RateLimited,
    PasswordChecks,
    Thrashing,
    Certificate,
    OldCertificate,
]
assert PASSWORD == SECRET
