"""nginx, as the upstream that sidegate stands in front of."""

import hashlib
import http.client
import json
import os
import socket
import subprocess
import time

from joserfc import jwt
from joserfc.jwk import KeySet

import harness
from harness import WORK, Issuer, Peer, Program, Sidegate, ask, bearer, free_port, route, upstream

MIB = 1024 * 1024
FLAT = 16 * MIB  # what the resident memory may grow by, whatever streams through

CONFIGURATION = """
daemon off;
worker_processes 1;
error_log stderr warn;
pid {work}/nginx.pid;
events {{ worker_connections 256; }}
http {{
  underscores_in_headers on;
  client_max_body_size 0;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  default_type application/octet-stream;
  keepalive_requests 100000;
  log_format seen escape=json '{{"method":"$request_method","uri":"$request_uri","body":"$request_body",'
    '"authorization":"$http_authorization","user":"$http_x_forwarded_user","host":"$http_host"}}';
  server {{
    listen 127.0.0.1:{port};
    access_log {work}/seen.log seen;
    location /headers {{
      default_type text/plain;
      return 200 "authorization=$http_authorization
user=$http_x_forwarded_user
email=$http_x_forwarded_email
override=$http_x_http_method_override
real_ip=$http_x_real_ip
forwarded=$http_forwarded
for=$http_x_forwarded_for
hop=$http_x_hop
kept=$http_x_kept
host=$http_host
uri=$request_uri
";
    }}
    location /connection {{ default_type text/plain; return 200 "$connection"; }}
    location /form {{ proxy_pass http://127.0.0.1:{port}/sink; }}
    location /sink {{ access_log off; return 200 "taken $content_length\\n"; }}
    location /files/ {{ root {work}; dav_methods PUT DELETE; create_full_put_path on; }}
  }}
}}
"""


class Nginx(Peer):
    @classmethod
    def prepare(cls):
        cls.nginx_port = free_port()
        configuration = WORK / "nginx.conf"
        # Started by root, nginx would hand its work to a user who cannot reach the directory.
        user = "user root;\n" if os.geteuid() == 0 else ""
        configuration.write_text(user + CONFIGURATION.format(work=WORK, port=cls.nginx_port))
        nginx = Program("nginx", "nginx", "-e", "stderr", "-p", WORK, "-c", configuration)
        cls.start(nginx).wait_open(cls.nginx_port)
        cls.issuer = Issuer()
        identity = {"X-Forwarded-User": "sub", "X-Forwarded-Email": "email"}
        cls.sidegate = cls.start(
            Sidegate(
                {
                    "issuers": [cls.issuer.settings()],
                    "internal_jwt": {"issuer": "https://sidegate.internal", "algorithm": "ES256"},
                    "upstreams": [
                        upstream(
                            cls.nginx_port,
                            credential={"internal_jwt": {"audience": "nginx"}},
                            identity_headers=identity,
                        ),
                    ],
                    "routes": [
                        route(max_body_bytes=0),
                        route(name="open", paths=["/headers/open"], public=True, policy=None),
                    ],
                }
            )
        )
        cls.token = cls.issuer.token()

    def ask(self, path, headers=None, **how):
        return self.sidegate.ask(path, headers={**bearer(self.token), **(headers or {})}, **how)

    def seen(self, path):
        """What nginx logged of the requests for `path`."""
        lines = [json.loads(line) for line in (WORK / "seen.log").read_text().splitlines()]
        return [line for line in lines if line["uri"] == path]

    def headers_seen(self, path="/headers", headers=None):
        answer = self.ask(path, headers=headers)
        self.assertEqual(answer.status, 200, answer.text())
        return dict(line.split("=", 1) for line in answer.text().splitlines())

    def test_a_file_comes_back_as_it_was_put(self):
        content = os.urandom(8 * MIB + 1)
        put = self.ask("/files/plain", method="PUT", body=content)
        self.assertEqual(put.status, 201, put.text())
        got = self.ask("/files/plain")
        self.assertEqual((got.status, got.headers["Content-Length"]), (200, str(len(content))))
        self.assertEqual(hashlib.sha256(got.body).digest(), hashlib.sha256(content).digest())

    def test_a_chunked_body_arrives_whole(self):
        pieces = [os.urandom(size) for size in (1, 17, 4096, 70_000, 1)]
        put = self.ask("/files/chunked", method="PUT", body=iter(pieces), headers={"Transfer-Encoding": "chunked"})
        self.assertEqual(put.status, 201, put.text())
        self.assertEqual((WORK / "files/chunked").read_bytes(), b"".join(pieces))

    def test_a_form_is_forwarded_byte_for_byte(self):
        form = "a=1&b=%20+%2B&c="
        answer = self.ask(
            "/form", method="POST", body=form, headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        self.assertEqual((answer.status, answer.text()), (200, f"taken {len(form)}\n"))
        self.assertEqual(self.seen("/form")[-1]["body"], form)

    def test_head_has_the_length_and_no_body(self):
        self.ask("/files/head", method="PUT", body=b"x" * 1234)
        answer = self.ask("/files/head", method="HEAD")
        self.assertEqual((answer.status, answer.headers["Content-Length"], answer.body), (200, "1234", b""))

    def test_a_range_is_answered_with_just_that_range(self):
        self.ask("/files/range", method="PUT", body=bytes(range(256)))
        answer = self.ask("/files/range", headers={"Range": "bytes=10-19"})
        self.assertEqual((answer.status, answer.headers["Content-Range"]), (206, "bytes 10-19/256"))
        self.assertEqual(answer.body, bytes(range(10, 20)))

    def test_a_conditional_request_is_answered_without_a_body(self):
        self.ask("/files/etag", method="PUT", body=b"once")
        etag = self.ask("/files/etag").headers["ETag"]
        answer = self.ask("/files/etag", headers={"If-None-Match": etag})
        self.assertEqual((answer.status, answer.body), (304, b""))

    def test_the_errors_of_the_upstream_pass_unchanged(self):
        through, directly = self.ask("/files/none"), ask(self.nginx_port, "/files/none")
        self.assertEqual((through.status, through.body), (404, directly.body))

    def test_one_client_connection_needs_one_upstream_connection(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.sidegate.port, timeout=10)
        seen = {self.ask("/connection", connection=connection).text() for _ in range(30)}
        connection.close()
        self.assertEqual(len(seen), 1, "every request opened a connection to nginx")

    def test_pipelined_requests_are_answered_in_order(self):
        with socket.create_connection(("127.0.0.1", self.sidegate.port), timeout=10) as wire:
            for number in range(5):
                wire.sendall(
                    f"GET /headers?{number} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {self.token}\r\n"
                    f"Connection: {'close' if number == 4 else 'keep-alive'}\r\n\r\n".encode()
                )
            answers = b"".join(iter(lambda: wire.recv(65536), b"")).decode()
        uris = [line for line in answers.splitlines() if line.startswith("uri=")]
        self.assertEqual(uris, [f"uri=/headers?{number}" for number in range(5)])

    def test_nginx_sees_the_identity_and_never_the_token_of_the_client(self):
        seen = self.headers_seen()
        self.assertEqual((seen["user"], seen["email"]), ("alice", "alice@example.com"))
        self.assertTrue(seen["authorization"].startswith("Bearer ey"), seen)
        self.assertNotIn(self.token, seen["authorization"])

    def test_the_internal_token_verifies_by_the_published_key_set_wherever_it_is_published(self):
        published = "/.well-known/sidegate/jwks.json"
        inner = self.headers_seen()["authorization"].removeprefix("Bearer ")
        for port in (self.sidegate.port, self.sidegate.health_port):
            keys = KeySet.import_key_set(ask(port, published).json())
            self.assertTrue(all("d" not in key.as_dict() for key in keys.keys))
            verified = jwt.decode(inner, keys, algorithms=["ES256"])
            claims = verified.claims
            self.assertEqual((claims["iss"], claims["aud"]), ("https://sidegate.internal", "nginx"))
            self.assertEqual(claims["sub"], "alice")
            self.assertLessEqual(claims["exp"] - time.time(), 120)

    def test_what_a_client_claims_to_be_is_stripped_in_every_spelling(self):
        with socket.create_connection(("127.0.0.1", self.sidegate.port), timeout=10) as wire:
            wire.sendall(
                "GET /headers HTTP/1.1\r\nHost: h\r\nConnection: close, X-Hop\r\n"
                f"Authorization: Bearer {self.token}\r\n"
                "X-Forwarded-User: admin\r\nx_forwarded_user: admin\r\nX_FORWARDED-USER: admin\r\n"
                "X-Forwarded-Email: admin@example.com\r\nx-forwarded_email: admin@example.com\r\n"
                "X-HTTP-Method-Override: DELETE\r\nX-Real-IP: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\n"
                "X-Forwarded-For: 10.0.0.1\r\nX-Hop: by\r\nX-Kept: yes\r\n\r\n".encode()
            )
            answer = b"".join(iter(lambda: wire.recv(65536), b"")).decode()
        self.assertTrue(answer.startswith("HTTP/1.1 200"), answer)
        seen = dict(line.split("=", 1) for line in answer.split("\r\n\r\n", 1)[1].splitlines() if "=" in line)
        self.assertEqual((seen["user"], seen["email"]), ("alice", "alice@example.com"))
        self.assertEqual((seen["override"], seen["real_ip"], seen["hop"], seen["kept"]), ("", "", "", "yes"))
        self.assertNotIn("10.0.0.1", answer)

    def test_a_public_route_carries_no_identity(self):
        seen = self.headers_seen("/headers/open", headers={"X-Forwarded-User": "admin"})
        self.assertEqual((seen["user"], seen["email"]), ("", ""))

    def test_a_refused_request_does_not_reach_nginx(self):
        refused = {
            "no token": {},
            "another audience": bearer(self.issuer.token(aud="other")),
            "expired": bearer(self.issuer.token(exp=1)),
            "changed": bearer(self.token[:-5] + ("AAAAA" if not self.token.endswith("AAAAA") else "BBBBB")),
            "not a token": bearer("opaque"),
        }
        for why, headers in refused.items():
            with self.subTest(why):
                answer = self.sidegate.ask("/headers?refused", headers=headers)
                self.assertEqual(answer.status, 401, answer.text())
                self.assertTrue(answer.headers["WWW-Authenticate"].startswith("Bearer"))
                self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        self.assertEqual(self.seen("/headers?refused"), [])

    def curl(self, path, *options, may_time_out=False):
        url, authorization = f"http://127.0.0.1:{self.sidegate.port}{path}", f"Authorization: Bearer {self.token}"
        ran = subprocess.run(
            ["curl", "-sS", "--fail", "--max-time", "180", "-H", authorization, "-o", "/dev/null", *options, url],
            check=False,
            capture_output=True,
            text=True,
        )
        timed_out = 28
        self.assertIn(ran.returncode, (0, timed_out) if may_time_out else (0,), ran.stderr)
        return ran.stdout

    def grown(self):
        """What the resident memory grew by, at its highest, since `self.before`."""
        return self.sidegate.memory("VmHWM") - self.before

    def test_a_gibibyte_up_and_down_leaves_memory_flat(self):
        size = 1024 * MIB
        source, target = WORK / "sparse", WORK / "files/gibibyte"
        with open(source, "wb") as file:
            file.truncate(size)
        self.ask("/files/warm", method="PUT", body=b"x" * MIB)
        self.ask("/files/warm")
        self.before = self.sidegate.memory("VmRSS")
        for version in ("--http1.1", "--http2-prior-knowledge"):
            with self.subTest(version):
                self.curl("/files/gibibyte", version, "-T", source)
                self.assertEqual(target.stat().st_size, size)
                up = self.grown()
                self.assertEqual(self.curl("/files/gibibyte", version, "-w", "%{size_download}"), str(size))
                down = self.grown()
                # A reader that takes a mebibyte in a second holds the sender back.
                self.curl("/files/gibibyte", version, "--limit-rate", "1M", "--max-time", "3", may_time_out=True)
                slow = self.grown()
                print(f"{version}: grown by {up / MIB:.1f} MiB up, {down / MIB:.1f} down, {slow / MIB:.1f} slowly down")
                self.assertLess(max(up, down, slow), FLAT)
                target.unlink()
        source.unlink()


if __name__ == "__main__":
    harness.main()
