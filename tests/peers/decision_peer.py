"""nginx, Caddy and Envoy, which ask sidegate about each request, with the configurations of docs/decision.md."""

import hashlib
import json
import os
import re
import socket
import sys
import threading
from pathlib import Path

import envoy
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve

import harness
from harness import PATIENCE, WORK, Issuer, Peer, Program, Sidegate, ask, background, bearer, free_port
from pages import ROOT, Page

PAGE = Page(ROOT / "docs/decision.md")
SECRET = "V4xr0kq2LmPz7TnB9sWd"
HASH = "sha256:" + hashlib.sha256(SECRET.encode()).hexdigest()
CHALLENGE = 'Bearer realm="sidegate"'


class Recorder:
    """An upstream that keeps each head as it came, and answers 200 with it."""

    name = "recorder"

    def __init__(self):
        self.heads = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        background(self.accept)

    def accept(self):
        while True:
            try:
                wire, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(wire,), daemon=True).start()

    def serve(self, wire):
        wire.settimeout(PATIENCE)
        with wire, wire.makefile("rb") as read:
            try:
                while self.answer(wire, read):
                    pass
            except OSError:
                """The proxy went away, or keeps an idle connection."""

    def answer(self, wire, read):
        lines = []
        while (line := read.readline()) not in (b"\r\n", b""):
            lines.append(line.decode("latin-1").rstrip("\r\n"))
        if not lines:
            return False
        method, target, _ = lines[0].split(" ", 2)
        headers = [tuple(line.split(":", 1)) for line in lines[1:]]
        headers = [(name.lower(), value.strip()) for name, value in headers]
        found = dict(headers)
        if "content-length" in found:
            body = read.read(int(found["content-length"])).decode()
        elif found.get("transfer-encoding") == "chunked":
            body = ""
            while size := int(read.readline(), 16):
                body += read.read(size).decode()
                read.readline()
            read.readline()
        else:
            body = ""
        seen = {"method": method, "target": target, "headers": headers, "body": body}
        self.heads.append(seen)
        text = json.dumps(seen).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        wire.sendall(head.encode() + text)
        return True

    def log(self):
        return "\n".join(map(str, self.heads[-30:]))

    def stop(self):
        self.listener.close()


class Sockets:
    """A WebSocket server that echoes, and keeps the request of each handshake."""

    name = "websockets"

    def __init__(self):
        self.handshakes = []
        self.server = serve(self.echo, "127.0.0.1", 0, compression=None)
        self.port = self.server.socket.getsockname()[1]
        background(self.server.serve_forever)

    def echo(self, connection):
        self.handshakes.append(connection.request)
        for message in connection:
            connection.send(message)

    def log(self):
        return f"{len(self.handshakes)} handshakes"

    def stop(self):
        self.server.shutdown()


def documented(language, of=None):
    """The block of the page that is the configuration of a proxy."""
    blocks = [block for block in PAGE.blocks if block.language == language and block.directives.get("of") == of]
    assert len(blocks) == 1, f"docs/decision.md has {len(blocks)} blocks of {language}"
    return blocks[0].text


def filled_in(text, port, upstream, decide):
    """The documented configuration at other ports, and in no other way."""
    for documented_port, own in ((8080, port), (3000, upstream), (9903, decide)):
        assert str(documented_port) in text
        text = re.sub(rf"\b{documented_port}\b", str(own), text)
    return text


def nginx(upstream, decide):
    port, file = free_port(), WORK / f"nginx-{free_port()}.conf"
    temporary = "".join(f"  {kind}_temp_path {WORK}/{kind};\n" for kind in NGINX_FOLDERS)
    file.write_text(
        # Started by root, nginx would hand its work to a user who cannot reach the directory.
        ("user root;\n" if os.geteuid() == 0 else "")
        + f"daemon off;\nworker_processes 1;\npid {file}.pid;\nerror_log stderr crit;\nevents {{}}\nhttp {{\n"
        + f"  access_log off;\n{temporary}"
        + filled_in(documented("nginx"), port, upstream, decide)
        + "}\n"
    )
    return port, Program("nginx", "nginx", "-e", "stderr", "-p", WORK, "-c", file)


NGINX_FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def caddy(upstream, decide):
    port, file = free_port(), WORK / f"Caddyfile-{free_port()}"
    file.write_text(filled_in(documented("caddyfile"), port, upstream, decide))
    own = {"XDG_DATA_HOME": str(WORK), "XDG_CONFIG_HOME": str(WORK), "HOME": str(WORK)}
    binary = Path(sys.executable).with_name("caddy")
    return port, Program("caddy", binary, "run", "--config", file, "--adapter", "caddyfile", env=own)


def envoy_proxy(upstream, decide):
    port, file = free_port(), WORK / f"envoy-{free_port()}.yaml"
    file.write_text(filled_in(documented("yaml", "Envoy"), port, upstream, decide))
    binary = next(Path(envoy.__file__).parent.glob("_bin/envoy"))
    binary.chmod(0o755)
    quiet = ("--log-level", "error", "--concurrency", "1", "--disable-hot-restart")
    return port, Program("envoy", binary, "-c", file, *quiet)


PROXIES = {"nginx": nginx, "caddy": caddy, "envoy": envoy_proxy}
ASKED = {"nginx": {"from": "nginx"}, "caddy": {"from": "forwarded"}, "envoy": {"from": "envoy", "path_prefix": "/ask"}}


class Decision(Peer):
    @classmethod
    def prepare(cls):
        cls.issuer, cls.away = Issuer(), Issuer(issuer="https://away.test.example")
        cls.recorder, cls.sockets = cls.start(Recorder()), cls.start(Sockets())
        cls.decide = {name: free_port() for name in PROXIES}
        cls.sidegate = cls.start(Sidegate(cls.settings(), more_listeners=cls.listeners()))
        cls.ports, cls.socket_ports = {}, {}
        for name, proxy in PROXIES.items():
            for upstream, ports in ((cls.recorder, cls.ports), (cls.sockets, cls.socket_ports)):
                port, program = proxy(upstream.port, cls.decide[name])
                cls.start(program).wait_open(port)
                ports[name] = port
        cls.token = cls.issuer.token()

    @classmethod
    def listeners(cls):
        return [
            {"name": name, "address": f"127.0.0.1:{port}", "decision": ASKED[name]} for name, port in cls.decide.items()
        ]

    @classmethod
    def settings(cls):
        gone = f"http://127.0.0.1:{free_port()}/keys"  # where nobody listens
        away = {"name": "away", "issuer": cls.away.issuer, "jwks_uri": gone, "algorithms": ["ES256"]}
        policy = {"audiences": ["api"]}
        return {
            "authority": {
                "issuer": "http://127.0.0.1:8080",
                "audiences": ["api"],
                "clients": [{"id": "job", "secret_hashes": [HASH], "grants": ["client_credentials"]}],
            },
            "store": {"memory": {}},
            "issuers": [cls.issuer.settings(), away],
            "internal_jwt": {"issuer": "https://sidegate.internal", "algorithm": "ES256"},
            "upstreams": [
                {
                    "name": "api",
                    "url": f"http://127.0.0.1:{cls.recorder.port}",
                    "credential": {"internal_jwt": {"audience": "app"}},
                    "identity_headers": {"X-Forwarded-User": "sub"},
                }
            ],
            "routes": [
                {"name": "open", "paths": ["/open/*"], "upstream": "api", "public": True},
                {"name": "watched", "paths": ["/watched/*"], "upstream": "api", "mode": "observe", "policy": policy},
                {"name": "write", "paths": ["/api/*"], "methods": ["PUT"], "upstream": "api",
                 "policy": {**policy, "scopes_all": ["admin"]}},
                {"name": "limited", "paths": ["/limited"], "upstream": "api", "policy": policy,
                 "rate_limit": {"per_principal": {"requests": 1, "per": "1h"}}},
                {"name": "api", "paths": ["/api/*"], "methods": ["GET", "POST"], "upstream": "api", "policy": policy},
            ],
        }  # fmt: skip

    def seen(self, answer):
        """What the upstream saw of the request that it answered."""
        self.assertEqual(answer.status, 200, answer.text())
        head = answer.json()
        names = [name for name, _ in head["headers"]]
        return {**head, "headers": dict(head["headers"]), "names": names}

    def own_token(self):
        form = f"grant_type=client_credentials&client_id=job&client_secret={SECRET}"
        form_type = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.sidegate.ask("/oauth20/token", method="POST", body=form, headers=form_type)
        self.assertEqual(answer.status, 200, answer.text())
        return answer.json()["access_token"]

    def test_the_upstream_sees_the_identity_and_never_the_token_of_the_client(self):
        for name, port in self.ports.items():
            with self.subTest(name):
                head = self.seen(ask(port, "/api/x?y=%2f", headers=bearer(self.token)))
                self.assertEqual((head["method"], head["target"]), ("GET", "/api/x?y=%2f"))
                self.assertEqual(head["headers"]["x-forwarded-user"], "alice")
                internal = head["headers"]["authorization"].removeprefix("Bearer ")
                self.assertNotIn(self.token, str(head))
                self.assertEqual(internal.count("."), 2)
                before = self.sidegate.metric("sidegate_http_overhead_seconds_count", listener=name)
                self.seen(ask(port, "/api/x", headers=bearer(self.token)))
                after = self.sidegate.metric("sidegate_http_overhead_seconds_count", listener=name)
                self.assertEqual(after, before + 1)

    def test_a_body_goes_to_the_upstream_whole_and_not_to_sidegate(self):
        for name, port in self.ports.items():
            with self.subTest(name):
                for body, more in (("x" * 70_000, {}), (iter([b"abc", b"def"]), {"Transfer-Encoding": "chunked"})):
                    head = self.seen(
                        ask(port, "/api/x", method="POST", body=body, headers={**bearer(self.token), **more})
                    )
                    self.assertEqual((head["method"], head["body"]), ("POST", "abcdef" if more else body))

    def test_a_refusal_says_what_sidegate_said(self):
        expired, write = self.issuer.token(exp=1), {**bearer(self.token)}
        for name, port in self.ports.items():
            with self.subTest(name):
                before = len(self.recorder.heads)
                for method, path, headers, status, code, challenge in (
                    ("GET", "/api/x", {}, 401, "token_missing", CHALLENGE),
                    ("GET", "/api/x", bearer(expired), 401, "invalid_token", CHALLENGE + ', error="invalid_token"'),
                    ("GET", "/api/x", bearer("a b"), 400, "invalid_request", CHALLENGE + ', error="invalid_request"'),
                    ("PUT", "/api/x", write, 403, "insufficient_scope",
                     CHALLENGE + ', error="insufficient_scope", scope="admin"'),
                    ("GET", "/nowhere", write, 404, "no_route", None),
                    ("DELETE", "/api/x", write, 405, "method_not_allowed", None),
                ):  # fmt: skip
                    answer = ask(port, path, method=method, headers=headers)
                    self.assertEqual((answer.status, answer.json()["code"]), (status, code))
                    self.assertEqual(answer.headers.get_all("WWW-Authenticate"), [challenge] if challenge else None)
                    self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
                    self.assertEqual(answer.json()["request_id"], answer.headers["X-Request-Id"])
                self.assertEqual(len(self.recorder.heads), before, "the upstream saw a refused request")

    def test_too_many_requests_are_told_when_to_come_again(self):
        for name, port in self.ports.items():
            with self.subTest(name):
                token = self.issuer.token(sub=name)
                self.assertEqual(ask(port, "/limited", headers=bearer(token)).status, 200)
                answer = ask(port, "/limited", headers=bearer(token))
                self.assertEqual(answer.status, 429)
                self.assertGreater(int(answer.headers["Retry-After"]), 60)

    def test_while_the_issuer_is_away_the_answer_is_503(self):
        token = self.away.token()
        for name, port in self.ports.items():
            with self.subTest(name):
                before = len(self.recorder.heads)
                self.assertEqual(ask(port, "/api/x", headers=bearer(token)).status, 503)
                self.assertEqual(len(self.recorder.heads), before)
                self.assertEqual(ask(port, "/api/x", headers=bearer(self.token)).status, 200)

    def test_a_revoked_token_opens_nothing_from_that_moment_on(self):
        for name, port in self.ports.items():
            with self.subTest(name):
                token = self.own_token()
                for _ in range(3):
                    self.seen(ask(port, "/api/x", headers=bearer(token)))
                form = f"token={token}&client_id=job&client_secret={SECRET}"
                form_type = {"Content-Type": "application/x-www-form-urlencoded"}
                revoked = self.sidegate.ask("/oauth20/revoke", method="POST", body=form, headers=form_type)
                self.assertEqual(revoked.status, 200, revoked.text())
                answer = ask(port, "/api/x", headers=bearer(token))
                self.assertEqual((answer.status, answer.json()["code"]), (401, "invalid_token"))

    def test_nothing_that_a_client_forged_reaches_the_upstream(self):
        forged = (
            "X-Forwarded-User", "X_Forwarded_User", "x_forwarded-user", "X.Forwarded.User", "Remote-User",
            "REMOTE_USER",
            "HTTP_X_FORWARDED_USER", "X-Auth-Request-User", "X-HTTP-Method-Override", "X_HTTP_Method_Override",
            "X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Original-Method", "X-Forwarded-Uri",
            "X-Forwarded-Method", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix",
            "X-Real-IP",
            "Forwarded", "Authorization",
        )  # fmt: skip
        for name, port in self.ports.items():
            with self.subTest(name):
                for header in forged:
                    for path in ("/api/x", "/open/x"):
                        token = f"Authorization: Bearer {self.token}\r\n" if path == "/api/x" else ""
                        own = "" if token and header == "Authorization" else f"{header}: forged-by-a-client\r\n"
                        text = f"GET {path} HTTP/1.1\r\nHost: a\r\n{token}{own}Connection: close\r\n\r\n"
                        answer = self.raw(port, text)
                        status = int(answer.split(" ", 2)[1])
                        self.assertIn(status, (200, 400), answer)
                        if name == "envoy" and header == "X-Forwarded-For":
                            # It adds the address that it knows, and that one counts.
                            answer = answer.replace("forged-by-a-client,", "")
                        self.assertFalse(status == 200 and "forged-by-a-client" in answer, f"{header}: {answer}")

    def raw(self, port, text):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as wire:
            wire.sendall(text.encode("latin-1"))
            return b"".join(iter(lambda: wire.recv(65536), b"")).decode("latin-1")

    def test_the_upstream_never_sees_a_path_that_was_not_decided_on(self):
        attacks = (
            "/open/x", "/open/../api/x", "/open/./../api/x", "/open/%2e%2e/api/x", "/open/%2E%2E/api/x",
            "/open/..%2fapi/x",
            "/open/..%2Fapi/x", "/open%2f..%2fapi/x", "/open/..;/api/x", "/open/..;a=b/api/x", "/open/%252e%252e/api/x",
            "/open/..%252fapi/x", "/open/..%5capi/x", "/open\\..\\api\\x", "//api/x", "/open//../api/x", "/./api/x",
            "/%61pi/x", "/api%2fx", "/open/%c0%ae%c0%ae/api/x", "/open/..%00/api/x", "/open/x#/../../api/x",
            "/open/x%23/../../api/x", "/open/x?/../../api/x", "/api/x%3f/open/x", "/open/../../api/x", "/open/..",
            "/api/..%2fopen/x", "/api/../open/x", "/open/%2e./api/x", "/open/.%2e/api/x", "/OPEN/../api/x",
            "/open/.../api/x",
            "/open/%2e%2e%2fapi/x", "/open/%09../api/x", "/api;/x", "/open;/../api/x", "http://a/open/../api/x",
            "http://a/open/x", "http://b/api/x", "/open/\u00e9/../api/x", "/_sidegate", "/_sidegate/../api/x", "*",
        )  # fmt: skip
        for name, port in self.ports.items():
            with self.subTest(name):
                reached = 0
                for target in attacks:
                    before = len(self.recorder.heads)
                    answer = self.raw(port, f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    self.assertTrue(answer.startswith("HTTP/1."), f"{target}: {answer}")
                    for head in self.recorder.heads[before:]:
                        reached += 1
                        path = head["target"].split("?", 1)[0]
                        # Without a token only the public route is reached, under a path that nobody reads otherwise.
                        self.assertRegex(path, r"^/open/[^\\#]*$", f"{target} became {path}")
                        self.assertNotRegex(
                            path.lower(), r"(^|/)(\.|%2e){1,2}(/|$|;|%)|%2f|%5c|%25|;|//", f"{target}: {path}"
                        )
                self.assertGreater(reached, 0, f"{name}: nothing at all reached the upstream")

    def test_a_path_that_needs_a_token_is_forwarded_as_it_was_decided_on(self):
        for name, port in self.ports.items():
            with self.subTest(name):
                for target in (
                    "/api/a%20b",
                    "/api/%C3%A9?x=%2e%2e/",
                    "/api/a//b",
                    "/api/a+b;c=d",
                    "/api/~a%7Eb",
                    "/api/%c3%a9",
                ):
                    answer = ask(port, target, headers=bearer(self.token))
                    head = self.seen(answer)
                    path = head["target"]
                    # Envoy reads it in its own way before it asks.
                    self.assertIn(path, (target, target.replace("//", "/"), target.replace("%7E", "~")))

    def test_a_route_that_observes_refuses_nothing(self):
        for name, port in self.ports.items():
            with self.subTest(name):
                before = self.sidegate.metric("sidegate_auth_decisions_total", route="watched", reason="token_missing")
                self.seen(ask(port, "/watched/x"))
                head = self.seen(ask(port, "/watched/x", headers=bearer("no-token-of-ours")))
                self.assertEqual(head["headers"]["authorization"], "Bearer no-token-of-ours")
                after = self.sidegate.metric("sidegate_auth_decisions_total", route="watched", reason="token_missing")
                self.assertEqual(after, before + 1)

    def test_a_websocket_opens_with_a_token_and_not_without(self):
        for name, port in self.socket_ports.items():
            with self.subTest(name):
                url = f"ws://127.0.0.1:{port}/api/socket"
                with connect(url, additional_headers=bearer(self.token), compression=None, proxy=None) as wire:
                    wire.send("hello")
                    self.assertEqual(wire.recv(timeout=PATIENCE), "hello")
                headers = self.sockets.handshakes[-1].headers
                self.assertEqual(headers["X-Forwarded-User"], "alice")
                self.assertNotIn(self.token, str(headers))
                with self.assertRaises(InvalidStatus) as refused:
                    connect(url, compression=None, proxy=None)
                self.assertEqual(refused.exception.response.status_code, 401)

    def test_nothing_goes_on_while_sidegate_does_not_answer(self):
        lonely = Recorder()
        try:
            for name, proxy in PROXIES.items():
                with self.subTest(name):
                    port, program = proxy(lonely.port, free_port())
                    try:
                        program.wait_open(port)
                        for path in ("/open/x", "/api/x"):
                            answer = ask(port, path, headers=bearer(self.token))
                            self.assertIn(answer.status, (502, 503), answer.text())
                    finally:
                        program.stop()
            self.assertEqual(lonely.heads, [])
        finally:
            lonely.stop()

    def test_explain_says_the_same(self):
        token_file = WORK / "token"
        token_file.write_text(self.token)
        target = ("-c", self.sidegate.config, "--listener", "nginx", "--token-file", token_file, "/api/x")
        program = Program("explain", harness.BINARY, "explain", "--json", *target)
        self.assertEqual(program.wait(), 0, program.log())
        report = json.loads(program.log()[program.log().index("{\n") :])
        self.assertEqual(report["verdict"], {"outcome": "allowed", "route": "api", "would_be": None})
        headers = dict(report["answer"]["headers"])
        self.assertEqual((headers["authorization"], headers["x-forwarded-user"]), ("Bearer …", "alice"))
        self.assertEqual(report["answer"]["copied"], ["authorization", "x-forwarded-user", "cookie"])


if __name__ == "__main__":
    harness.main()
