"""Real OAuth clients, each doing the whole circle against sidegate: a code by a browser, the token, a call through the
proxy, a refresh, introspection, revocation and the refusals after it, and a token of a program's own."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import harness
from browser import BrowserService
from harness import Echo, Peer, Sidegate, upstream

CLIENTS = Path(__file__).parent / "clients"
USER, PASSWORD = "ana", "correct horse battery"
# Of PASSWORD, by argon2id.
PASSWORD_HASH = "$argon2id$v=19$m=19456,t=2,p=1$mDkkGA8i+tydV9l1ZTQbVg$eW6rx9bvE38H7XuUerLVsJuKLObp+qXXEpbyXnc6vLQ"
CALLBACK = "https://shop.test.example/callback"
SECRETS = ["web-secret-2Vq8Zr5Tn1Xw7Ky4", "batch-secret-9Lm3Pb6Hd0Jc8Fg2"]


def hashed(secret):
    return ["sha256:" + hashlib.sha256(secret.encode()).hexdigest()]


def authority(issuer):
    return {
        "issuer": issuer,
        "audiences": ["orders-api"],
        "clients": [
            {
                "id": "web",
                "name": "The shop",
                "secret_hashes": hashed(SECRETS[0]),
                "grants": ["authorization_code", "password", "refresh_token"],
                "redirect_uris": [CALLBACK],
                "scopes": ["openid", "orders"],
            },
            {
                "id": "batch",
                "secret_hashes": hashed(SECRETS[1]),
                "grants": ["client_credentials"],
                "scopes": ["orders"],
            },
        ],
        "users": [{"username": USER, "subject": "u-1001", "password_hash": PASSWORD_HASH}],
    }


class Running(Sidegate):
    """Its issuer is its own address, which the base class chooses."""

    def write(self, settings):
        super().write({**settings, "authority": authority(f"http://127.0.0.1:{self.port}")})


class Clients(Peer):
    @classmethod
    def prepare(cls):
        cls.echo = cls.start(Echo())
        cls.browser = cls.start(BrowserService(USER, PASSWORD))
        settings = {
            "store": {"memory": {}},
            "upstreams": [
                upstream(cls.echo.port, credential={"none": {}}, identity_headers={"X-Forwarded-User": "sub"})
            ],
            "routes": [
                {"name": "orders", "paths": ["/orders/*"], "upstream": "api", "policy": {"audiences": ["orders-api"]}}
            ],
        }
        cls.sidegate = cls.start(Running(settings))

    def circle(self, *command):
        environment = {
            **os.environ,
            "ISSUER": f"http://127.0.0.1:{self.sidegate.port}",
            "BROWSER": self.browser.url,
            "CALLBACK": CALLBACK,
        }
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    def test_oauth4webapi_of_npm(self):
        self.circle("node", CLIENTS / "node/oauth4webapi.js")

    def test_openid_client_of_npm(self):
        self.circle("node", CLIENTS / "node/openid-client.js")

    def test_simple_oauth2_of_npm(self):
        self.circle("node", CLIENTS / "node/simple-oauth2.js")

    def test_authlib_of_pypi(self):
        self.circle(sys.executable, "-B", CLIENTS / "python/authlib_circle.py")

    def test_requests_oauthlib_of_pypi(self):
        self.circle(sys.executable, "-B", CLIENTS / "python/requests_oauthlib_circle.py")

    def test_oauth2_of_crates_io(self):
        self.circle(os.environ["SIDEGATE_TEST_OAUTH2"])

    def test_z_no_secret_or_token_is_in_the_log(self):
        log = self.sidegate.log()
        self.assertIn('"event":"granted"', log)
        for secret in [*SECRETS, PASSWORD, "sga1_", "sg1.", "sgc1_", "eyJ"]:
            self.assertNotIn(secret, log)


if __name__ == "__main__":
    harness.main()
