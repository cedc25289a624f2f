"""npm's oidc-provider, as the identity provider whose tokens sidegate believes."""

import base64
import json
import urllib.parse
from pathlib import Path

import harness
from harness import WORK, Echo, Peer, Program, Sidegate, ask, bearer, eventually, free_port, route, upstream

PROVIDER = Path(__file__).parent / "oidc/provider.js"


class Provider(Program):
    def __init__(self, port, kid):
        self.port = port
        super().__init__("oidc-provider", "node", PROVIDER, port, kid)
        self.wait_open(port)

    def post(self, path, client, **form):
        answer = ask(
            self.port,
            path,
            method="POST",
            body=urllib.parse.urlencode(form),
            headers={
                "Authorization": "Basic " + base64.b64encode(f"{client}:{client}-secret".encode()).decode(),
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        assert answer.status == 200, answer.text()
        return answer.json() if answer.body else None

    def token(self, resource, scope="read"):
        form = {"grant_type": "client_credentials", "scope": scope, "resource": resource}
        return self.post("/token", "machine", **form)["access_token"]

    def revoke(self, token):
        self.post("/token/revocation", "machine", token=token)


def settings(echo, provider_port, **issuer):
    secret = WORK / "introspection-secret"
    secret.write_text("sidegate-secret\n")
    base = f"http://127.0.0.1:{provider_port}"
    return {
        "issuers": [
            {
                "name": "provider",
                "issuer": base,
                "algorithms": ["RS256"],
                "introspection": {
                    "endpoint": f"{base}/token/introspection",
                    "client_id": "sidegate",
                    "client_secret_file": str(secret),
                    "cache_ttl": "1s",
                    "negative_ttl": "1s",
                },
                **issuer,
            }
        ],
        "upstreams": [
            upstream(
                echo.port,
                credential={"none": {}},
                identity_headers={"X-Forwarded-User": "sub", "X-Forwarded-Client": "client_id"},
            )
        ],
        "routes": [
            route(),
            route(name="writes", paths=["/writes/*"], policy={"audiences": ["api"], "scopes_all": ["write"]}),
        ],
    }


class Discovered(Peer):
    """sidegate finds the provider's keys by its discovery document."""

    @classmethod
    def prepare(cls):
        cls.echo = cls.start(Echo())
        cls.provider = cls.start(Provider(free_port(), "first"))
        cls.sidegate = cls.start(Sidegate(settings(cls.echo, cls.provider.port, required=True)))

    def status(self, token, path="/things"):
        return self.sidegate.ask(path, headers=bearer(token)).status

    def test_a_jwt_of_the_provider_is_accepted(self):
        answer = self.sidegate.ask("/things", headers=bearer(self.provider.token("urn:jwt:api")))
        self.assertEqual(answer.status, 200, answer.text())
        seen = answer.json()["headers"]
        self.assertEqual((seen["x-forwarded-user"], seen["x-forwarded-client"]), ("machine", "machine"))
        self.assertNotIn("authorization", seen)

    def test_a_jwt_for_another_audience_is_refused(self):
        token = self.provider.token("urn:jwt:other")
        answer = self.sidegate.ask("/things", headers=bearer(token))
        self.assertEqual(answer.status, 401, answer.text())
        self.assertIn('error="invalid_token"', answer.headers["WWW-Authenticate"])

    def test_a_missing_scope_is_refused_by_name_and_a_present_one_is_accepted(self):
        answer = self.sidegate.ask("/writes/1", headers=bearer(self.provider.token("urn:jwt:api")))
        self.assertEqual(answer.status, 403, answer.text())
        self.assertIn('error="insufficient_scope"', answer.headers["WWW-Authenticate"])
        self.assertIn('scope="write"', answer.headers["WWW-Authenticate"])
        self.assertEqual(self.status(self.provider.token("urn:jwt:api", scope="read write"), "/writes/1"), 200)

    def test_an_opaque_token_is_accepted_by_introspection(self):
        answer = self.sidegate.ask("/things", headers=bearer(self.provider.token("urn:opaque:api")))
        self.assertEqual(answer.status, 200, answer.text())
        self.assertEqual(answer.json()["headers"]["x-forwarded-client"], "machine")

    def test_an_opaque_token_for_another_audience_is_refused(self):
        self.assertEqual(self.status(self.provider.token("urn:opaque:other")), 401)

    def test_an_opaque_token_that_nobody_issued_is_refused(self):
        self.assertEqual(self.status("nobody-ever-issued-this"), 401)

    def test_a_revoked_opaque_token_is_refused_once_its_verdict_is_old(self):
        token = self.provider.token("urn:opaque:api")
        self.assertEqual(self.status(token), 200)
        self.provider.revoke(token)
        eventually("the revoked token is refused", lambda: self.status(token) == 401, patience=5)

    def test_no_token_of_the_provider_is_in_the_log(self):
        tokens = [self.provider.token("urn:jwt:api"), self.provider.token("urn:opaque:api")]
        for token in tokens:
            self.assertEqual(self.status(token, "/things?logged"), 200)
        for token in tokens:
            self.assertNotIn(token[-24:], self.sidegate.log())


class Rotating(Peer):
    """The provider's keys change, and it goes away, while sidegate runs."""

    def prepare_pair(self):
        self.echo = self.start(Echo())
        self.provider = self.start(Provider(free_port(), "first"))
        self.sidegate = self.start(Sidegate(settings(self.echo, self.provider.port, required=True)))

    def status(self, token):
        return self.sidegate.ask("/things", headers=bearer(token)).status

    def test_after_a_rotation_new_tokens_are_accepted_and_old_ones_refused(self):
        self.prepare_pair()
        cached, unseen = (self.provider.token("urn:jwt:api") for _ in range(2))
        self.assertEqual(self.status(cached), 200)
        self.provider.stop()
        second = self.start(Provider(self.provider.port, "second"))
        self.assertEqual(self.status(second.token("urn:jwt:api")), 200, "the unknown key was not fetched")
        eventually("the old key is forgotten, also for a cached token", lambda: self.status(cached) == 401, patience=5)
        self.assertEqual(self.status(unseen), 401)

    def test_an_outage_of_the_provider_disturbs_no_holder_of_a_token(self):
        self.prepare_pair()
        cached, unseen = (self.provider.token("urn:jwt:api") for _ in range(2))
        opaque = self.provider.token("urn:opaque:api")
        self.assertEqual(self.status(cached), 200)
        self.provider.stop()
        self.assertEqual((self.status(cached), self.status(unseen)), (200, 200))
        answer = self.sidegate.ask("/things", headers=bearer(opaque))
        self.assertEqual(answer.status, 503, "an opaque token cannot be judged without its issuer")
        self.assertIn("Retry-After", answer.headers)
        self.assertEqual(ask(self.sidegate.health_port, "/readyz").status, 200)

    def test_sidegate_started_without_the_provider_becomes_able_when_it_comes(self):
        echo, port = self.start(Echo()), free_port()
        self.sidegate = self.start(Sidegate(settings(echo, port, required=True), ready=False))
        self.assertEqual(ask(self.sidegate.health_port, "/startupz").status, 200)
        self.assertEqual(ask(self.sidegate.health_port, "/livez").status, 200)
        before = ask(self.sidegate.health_port, "/readyz")
        self.assertEqual(before.status, 503)
        self.assertIn("provider", before.text())
        token = json.dumps({"alg": "RS256", "typ": "at+jwt", "kid": "first"}).encode()
        claims = json.dumps(
            {"iss": f"http://127.0.0.1:{port}", "sub": "x", "aud": "api", "exp": 4_000_000_000}
        ).encode()
        parts = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (token, claims, b"x" * 256)]
        self.assertEqual(self.status(".".join(parts)), 503, "without keys nothing can be said about a token")
        provider = self.start(Provider(port, "first"))
        eventually(
            "sidegate is ready", lambda: ask(self.sidegate.health_port, "/readyz").status == 200, patience=60, pause=0.2
        )
        self.assertEqual(self.status(provider.token("urn:jwt:api")), 200)
        self.assertEqual(self.status(".".join(parts)), 401)


if __name__ == "__main__":
    harness.main()
