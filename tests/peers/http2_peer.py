"""nghttp2's h2load and nghttp, and curl: HTTP/2 over TLS and by prior knowledge, before nginx."""

import re
import subprocess

import harness
from harness import LONG, WORK, Echo, Issuer, Peer, Sidegate, free_port, route, upstream
from plain_nginx import PlainNginx

REQUESTS = 100_000 if LONG else 5_000


def certificate():
    """A certificate for 127.0.0.1 that signs itself."""
    pem, key = WORK / "server.pem", WORK / "server.key"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=sidegate",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            key,
            "-out",
            pem,
        ],
        check=True,
        capture_output=True,
    )
    return pem, key


class Http2(Peer):
    @classmethod
    def prepare(cls):
        cls.issuer, cls.echo, nginx = Issuer("RS256"), cls.start(Echo()), cls.start(PlainNginx())
        cls.certificate, key = certificate()
        cls.tls_port = free_port()
        cls.sidegate = cls.start(
            Sidegate(
                {
                    "issuers": [cls.issuer.settings()],
                    "upstreams": [
                        upstream(nginx.port, credential={"none": {}}),
                        upstream(cls.echo.port, name="echo", credential={"none": {}}),
                    ],
                    "routes": [route(), route(name="echo", paths=["/echo"], upstream="echo")],
                    "log": {"access": "refused"},
                },
                more_listeners=[
                    {
                        "name": "secure",
                        "address": f"127.0.0.1:{cls.tls_port}",
                        "tls": {"certificate_file": str(cls.certificate), "key_file": str(key)},
                    }
                ],
            )
        )
        cls.authorization = f"authorization: Bearer {cls.issuer.token()}"
        cls.plain = f"http://127.0.0.1:{cls.sidegate.port}"
        cls.secure = f"https://127.0.0.1:{cls.tls_port}"

    def load(self, url, *options):
        command = ["h2load", "-n", str(REQUESTS), "-c", "8", "-t", "1", "-H", self.authorization, *options, url]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn(f"status codes: {REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx", ran.stdout)
        self.assertRegex(ran.stdout, rf"{REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout")

    def curl(self, url, *options):
        command = [
            "curl",
            "-sS",
            "--cacert",
            self.certificate,
            "-H",
            self.authorization,
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{http_version}",
            *options,
            url,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    def test_h2load_over_tls_has_only_successes(self):
        self.load(self.secure + "/kibibyte", "-m", "32")

    def test_h2load_with_prior_knowledge_has_only_successes(self):
        self.load(self.plain + "/kibibyte", "-m", "32")

    def test_h2load_with_http1_over_tls_has_only_successes(self):
        self.load(self.secure + "/kibibyte", "--h1")

    def test_h2load_with_as_many_streams_as_are_allowed_has_only_successes(self):
        self.load(self.plain + "/kibibyte", "-m", "128")

    def test_curl_agrees_on_http2_by_alpn_and_can_stay_with_http1(self):
        self.assertEqual(self.curl(self.secure + "/kibibyte"), "200 2")
        self.assertEqual(self.curl(self.secure + "/kibibyte", "--http1.1"), "200 1.1")
        self.assertEqual(self.curl(self.plain + "/kibibyte", "--http2-prior-knowledge"), "200 2")
        self.assertEqual(self.curl(self.plain + "/kibibyte"), "200 1.1")

    def test_curl_may_insist_on_either_version_of_tls(self):
        self.assertEqual(self.curl(self.secure + "/kibibyte", "--tls-max", "1.2"), "200 2")
        self.assertEqual(self.curl(self.secure + "/kibibyte", "--tlsv1.3"), "200 2")

    def test_an_h2c_upgrade_is_not_taken_up(self):
        self.assertEqual(self.curl(self.plain + "/kibibyte", "--http2"), "200 1.1")

    def test_nghttp_fetches_several_streams_at_once_and_says_no_error(self):
        urls = [f"{self.plain}/kibibyte?{number}" for number in range(20)]
        ran = subprocess.run(
            ["nghttp", "-nv", "--no-dep", "-H", self.authorization, *urls], capture_output=True, text=True, timeout=60
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", ran.stdout)
        self.assertEqual(len(re.findall(r":status: 200", plain)), 20)
        self.assertNotRegex(plain, r"RST_STREAM|error_code=(?!NO_ERROR)")

    def test_curl_uploads_over_http2(self):
        body = WORK / "upload"
        body.write_text("sidegate " * 100_000)
        self.assertEqual(self.curl(self.secure + "/echo", "--data-binary", f"@{body}"), "200 2")
        self.assertEqual(self.echo.requests[-1]["body"], body.read_text())

    def test_without_a_token_every_stream_is_refused_and_none_is_lost(self):
        ran = subprocess.run(
            ["h2load", "-n", "500", "-c", "4", "-m", "16", self.plain + "/kibibyte"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertIn("status codes: 0 2xx, 0 3xx, 500 4xx, 0 5xx", ran.stdout)


if __name__ == "__main__":
    harness.main()
