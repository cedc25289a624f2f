"""npm's oidc-provider, as the identity provider whose tokens sidegate believes, and as the authority that it asks."""

import asyncio
import base64
import hashlib
import json
import socket
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path

from joserfc.jwk import ECKey, KeySet

import harness
from harness import WORK, Echo, Peer, Program, Sidegate, ask, bearer, eventually, free_port, route, upstream

PROVIDER = Path(__file__).parent / "oidc/provider.js"


class Provider(Program):
    def __init__(self, port, kid, *broker, ahead=0):
        self.port = port
        # Of a constant, so that timers run on as they do.
        clock = ["faketime", "-f", f"{ahead:+}s"] if ahead else []
        super().__init__("oidc-provider", *clock, "node", PROVIDER, port, kid, *broker)
        self.wait_open(*broker[1:2] or [port])

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


class Service(Peer):
    """sidegate gets a token of its own from the provider, and shows it to the upstream in place of the client's."""

    def serve(self):
        self.echo = self.start(Echo())
        self.provider = self.start(Provider(free_port(), "first"))
        given = settings(self.echo, self.provider.port, required=True)
        secret = WORK / "service"
        secret.write_text("machine-secret\n")
        secret.chmod(0o600)
        given["upstreams"][0]["credential"] = {
            "service": {
                "dialect": "oauth2",
                "issuer": f"http://127.0.0.1:{self.provider.port}",
                "client": {"id": "machine", "secret_file": str(secret)},
                "scopes": ["write"],
                "parameters": {"resource": "urn:jwt:vendor"},
            }
        }
        self.sidegate = self.start(Sidegate(given))

    def shown(self, token):
        answer = self.sidegate.ask("/things", headers=bearer(token))
        self.assertEqual(answer.status, 200, answer.text())
        return answer.json()["headers"]

    def test_all_requests_are_shown_the_one_token_that_was_got_by_the_metadata_of_the_provider(self):
        self.serve()
        tokens = [self.provider.token(f"urn:{kind}:api") for kind in ("jwt", "opaque")]
        before = self.gave()
        seen = [self.shown(token) for token in tokens for _ in range(5)]
        self.assertEqual(len({headers["authorization"] for headers in seen}), 1)
        scheme, service = seen[0]["authorization"].split()
        payload = service.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        self.assertEqual((scheme, claims["aud"], claims["scope"]), ("Bearer", "vendor", "write"))
        self.assertEqual(self.gave(), before, "no request causes a question")
        for token in (*tokens, service):
            self.assertNotIn(token[-24:], self.sidegate.log())
        self.assertNotIn("machine-secret", self.sidegate.log())

    def test_while_the_provider_is_away_the_token_that_is_there_goes_on_being_shown(self):
        self.serve()
        token = self.provider.token("urn:jwt:api")
        first = self.shown(token)["authorization"]
        self.provider.stop()
        self.assertEqual(self.shown(token)["authorization"], first)

    def gave(self):
        return sum(line.startswith("gave client_credentials for machine") for line in self.provider.log().splitlines())


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


SECRET = "client-secret-of-shop"
OF_BROKER = "broker secret+&:%" * 2


def broker(echo, provider_port, client, **remote):
    """sidegate gives tokens of its own for what the provider says, and shows upstreams those of the provider."""
    hashed = "sha256:" + hashlib.sha256(SECRET.encode()).hexdigest()
    grants = ["client_credentials", "password", "refresh_token"]
    return {
        "authority": {
            "issuer": "http://127.0.0.1:8080",
            "audiences": ["api"],
            "clients": [{"id": "shop", "secret_hashes": [hashed], "grants": grants}],
            "remote": {
                "dialect": "oauth2",
                "issuer": f"http://127.0.0.1:{provider_port}",
                "authorize": "password",
                "client": client,
                **remote,
            },
        },
        "store": {"memory": {}},
        "refresh": {"ahead": "1s"},
        "upstreams": [upstream(echo.port, credential={"authority_token": {}}, identity_headers={"X-User": "sub"})],
        "routes": [route(policy={"issuers": ["local"], "audiences": ["api"]})],
    }


class Relay:
    """Stands between sidegate and a provider that keeps everything in memory, so that it can be away."""

    name = "relay"

    def __init__(self, port, to):
        self.port, self.to = port, to
        self.mend()

    def mend(self):
        self.open = set()
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, args=[self.listener], daemon=True).start()

    def accept(self, listener):
        with suppress(OSError):
            while True:
                near = listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self.to))
                self.open |= {near, far}
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self.carry, args=[source, target], daemon=True).start()

    @staticmethod
    def carry(source, target):
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def stop(self):
        for end in (self.listener, *self.open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def log(self):
        return ""


class Broker(Peer):
    """sidegate asks the provider, whose refresh tokens are good once and not a moment longer."""

    seconds = 3600  # that the provider's access tokens live
    ahead = 0  # seconds that its clock is before ours

    @classmethod
    def prepare(cls):
        key = ECKey.generate_key("P-256")
        public = {**key.as_dict(private=False), "kid": key.thumbprint(), "alg": "ES256", "use": "sig"}
        cls.key_file, cls.secret_file = WORK / "broker.pem", WORK / "broker-secret"
        jwks_file = WORK / "broker-jwks.json"
        cls.key_file.write_bytes(key.as_pem(private=True))
        cls.secret_file.write_text(OF_BROKER)
        jwks_file.write_text(json.dumps(KeySet([ECKey.import_key(public)]).as_dict(private=False)))
        for file in (cls.key_file, cls.secret_file):
            file.chmod(0o600)
        cls.echo = cls.start(Echo())
        port, own = free_port(), free_port()
        cls.provider = cls.start(Provider(port, "first", jwks_file, own, cls.seconds, ahead=cls.ahead))
        cls.relay = cls.start(Relay(port, own))
        cls.sidegate = cls.serve({"id": "by basic", "secret_file": str(cls.secret_file)})

    @classmethod
    def serve(cls, client, **remote):
        scopes = {"scopes": ["openid", "offline_access"], **remote}
        return cls.start(Sidegate(broker(cls.echo, cls.provider.port, client, **scopes)))

    def token(self, sidegate=None, **form):
        body = urllib.parse.urlencode({"client_id": "shop", "client_secret": SECRET, **form})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return (sidegate or self.sidegate).ask("/oauth20/token", method="POST", body=body, headers=headers)

    def sign_in(self, **form):
        answer = self.token(grant_type="password", username="ana", password="correct horse", **form)
        self.assertEqual(answer.status, 200, answer.text())
        return answer.json()

    def refresh(self, token):
        return self.token(grant_type="refresh_token", refresh_token=token)

    def said(self, what):
        return sum(line.startswith(what) for line in self.provider.log().splitlines())

    def is_good(self, authorization):
        token = authorization.removeprefix("Bearer ")
        return self.provider.post("/token/introspection", "sidegate", token=token)["active"]

    def shown(self, token):
        """What the upstream is shown for `token`."""
        answer = self.sidegate.ask("/things", headers=bearer(token))
        self.assertEqual(answer.status, 200, answer.text())
        return answer.json()["headers"]


class Asked(Broker):
    """The provider is there."""

    def test_each_way_of_authentication_gets_tokens_for_a_client_of_its_own(self):
        for client in (
            {"id": "by basic", "secret_file": str(self.secret_file)},
            {"id": "by form", "secret_file": str(self.secret_file), "authentication": "form"},
            {"id": "by key", "key_file": str(self.key_file)},
        ):
            with self.subTest(client=client["id"]):
                sidegate = self.serve(client, scopes=[])
                answer = self.token(sidegate, grant_type="client_credentials")
                self.assertEqual(answer.status, 200, answer.text())
                self.assertEqual(self.said(f"gave client_credentials for {client['id']}"), 1)
                seen = sidegate.ask("/things", headers=bearer(answer.json()["access_token"])).json()["headers"]
                self.assertTrue(seen["authorization"].startswith("Bearer "))
                self.assertNotEqual(seen["authorization"], f"Bearer {answer.json()['access_token']}")
                self.assertEqual(seen["x-user"], "shop")
                self.assertNotIn(OF_BROKER, sidegate.log())

    def test_a_user_is_who_the_id_token_of_the_provider_says(self):
        seen = self.shown(self.sign_in()["access_token"])
        self.assertEqual(seen["x-user"], "user-17")

    def test_a_wrong_password_is_the_users_own_business(self):
        answer = self.token(grant_type="password", username="ana", password="wrong")
        self.assertEqual((answer.status, answer.json()["error"]), (400, "invalid_grant"))

    def test_each_refresh_of_a_client_is_one_redemption_at_the_provider(self):
        given = self.sign_in()
        before, tokens = self.said("gave refresh_token"), {self.shown(given["access_token"])["authorization"]}
        for _ in range(20):
            answer = self.refresh(given["refresh_token"])
            self.assertEqual(answer.status, 200, answer.text())
            given = answer.json()
            tokens.add(self.shown(given["access_token"])["authorization"])
        self.assertEqual(self.said("gave refresh_token") - before, 20)
        self.assertEqual(len(tokens), 21, "the upstream is shown the newest token of the provider")
        self.assertEqual(self.said("refused refresh_token"), 0)

    def test_one_token_that_is_refreshed_at_once_by_many_is_redeemed_once(self):
        given, before = self.sign_in(), self.said("gave refresh_token")
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: self.refresh(given["refresh_token"]), range(20)))
        self.assertEqual({answer.status for answer in answers}, {200}, [answer.text() for answer in answers])
        self.assertEqual(len({answer.json()["refresh_token"] for answer in answers}), 1)
        self.assertEqual(self.said("gave refresh_token") - before, 1)
        self.assertEqual(self.refresh(answers[0].json()["refresh_token"]).status, 200)
        self.assertEqual(self.said("refused refresh_token"), 0)

    def test_id_tokens_of_renewals_verify_as_well(self):
        before = self.id_tokens("accepted")
        self.assertEqual(self.refresh(self.sign_in()["refresh_token"]).status, 200)
        eventually("both ID tokens are accepted", lambda: self.id_tokens("accepted") == before + 2)
        self.assertEqual(self.id_tokens("refused"), 0)

    def id_tokens(self, result):
        return self.sidegate.metric("sidegate_authority_id_tokens_total", result=result)


class Away(Broker):
    """The provider goes away."""

    def test_a_session_outlives_an_outage_of_the_provider(self):
        given = self.sign_in()
        self.relay.stop()
        for _ in range(3):
            answer = self.refresh(given["refresh_token"])
            self.assertEqual((answer.status, answer.json()["error"]), (503, "temporarily_unavailable"))
            self.assertIn("Retry-After", answer.headers)
        ready = ask(self.sidegate.health_port, "/readyz")
        self.assertEqual((ready.status, ready.json()["degraded"][0]["authority"]), (200, "remote"))
        self.assertEqual(self.shown(given["access_token"])["x-user"], "user-17")
        self.relay.mend()
        answer = self.refresh(given["refresh_token"])
        self.assertEqual(answer.status, 200, answer.text())
        self.assertEqual(ask(self.sidegate.health_port, "/readyz").json()["degraded"], [])

    def test_sidegate_started_without_the_provider_asks_it_once_it_is_there(self):
        self.relay.stop()
        sidegate = self.serve({"id": "by form", "secret_file": str(self.secret_file), "authentication": "form"})
        answer = self.token(sidegate, grant_type="client_credentials")
        self.assertEqual(answer.status, 503, answer.text())
        self.relay.mend()
        eventually(
            "its metadata are read and it is asked",
            lambda: self.token(sidegate, grant_type="client_credentials").status == 200,
        )


class Storm(Broker):
    """Everybody at once, when all of the provider's access tokens have just ended."""

    sessions, requests, seconds = 200, 1000, 15

    @classmethod
    def serve(cls, client, **remote):
        return cls.start(Sidegate(cls.settings(client, **remote)))

    @classmethod
    def settings(cls, client, **remote):
        settings = broker(cls.echo, cls.provider.port, client, scopes=["openid", "offline_access"], **remote)
        settings["authority"]["sessions_per_user"] = 2 * cls.sessions
        return settings

    def port(self, number):
        """Where the request of this number goes."""
        return self.sidegate.port

    def test_two_hundred_sessions_are_renewed_once_each_and_none_of_a_thousand_requests_is_refused(self):
        with ThreadPoolExecutor(8) as pool:
            given = list(pool.map(lambda _: self.sign_in(), range(self.sessions)))
        tokens = [answer["access_token"] for answer in given]
        time.sleep(self.seconds)
        self.assertEqual(self.said("gave refresh_token"), 0)
        answers = asyncio.run(self.all_at_once(tokens * (self.requests // self.sessions)))
        self.assertEqual(len(answers), self.requests)
        self.assertEqual({status for status, _ in answers}, {200})
        self.assertEqual(self.said("gave refresh_token"), self.sessions)
        self.assertEqual(self.said("refused refresh_token"), 0)
        shown = {json.loads(body)["headers"]["authorization"] for _, body in answers}
        self.assertEqual(len(shown), self.sessions, "each session has shown its newest token and no other")
        for authorization in shown:
            self.assertTrue(self.is_good(authorization), "the provider takes what the upstream was shown for good")
        # And nobody was lost by it.
        with ThreadPoolExecutor(8) as pool:
            again = list(pool.map(lambda one: self.refresh(one["refresh_token"]).status, given))
        self.assertEqual(set(again), {200})

    async def all_at_once(self, tokens):
        """Status and body of as many requests, all of them sent before any is answered."""
        ports = [self.port(number) for number in range(len(tokens))]
        lines = [await asyncio.open_connection("127.0.0.1", port, limit=2**20) for port in ports]
        for (_, writer), token in zip(lines, tokens, strict=True):
            head = ["GET /things HTTP/1.1", "Host: api.test", "Connection: close", f"Authorization: Bearer {token}"]
            writer.write("\r\n".join([*head, "", ""]).encode())
        answers = [await asyncio.wait_for(reader.read(), harness.PATIENCE) for reader, _ in lines]
        for _, writer in lines:
            writer.close()
        parted = [answer.decode().partition("\r\n\r\n") for answer in answers]
        return [(int(head.split()[1]), body) for head, _, body in parted]


class Apart:
    """The provider's clock is not ours."""

    seconds = 6

    def test_it_is_another_clock(self):
        told = parsedate_to_datetime(ask(self.provider.port, "/jwks").headers["Date"]).timestamp()
        self.assertAlmostEqual(told - time.time(), self.ahead, delta=5)

    def test_a_user_signs_in_and_is_served_beyond_the_end_of_the_first_token(self):
        given = self.sign_in()
        seen = [self.shown(given["access_token"])]
        self.assertEqual(seen[0]["x-user"], "user-17", "the ID token is believed")
        end = time.monotonic() + 2.5 * self.seconds
        while time.monotonic() < end:
            seen.append(self.shown(given["access_token"]))
            good = self.is_good(seen[-1]["authorization"])
            self.assertTrue(good, "what the upstream is shown is good by the provider's own clock")
            time.sleep(0.25)
        self.assertIn(len({one["authorization"] for one in seen}), (3, 4), "each is used for as long as it is good")
        self.assertEqual(self.said("refused"), 0)
        self.assertEqual(self.refresh(given["refresh_token"]).status, 200)

    def test_it_believes_our_assertions(self):
        sidegate = self.serve({"id": "by key", "key_file": str(self.key_file)}, scopes=[])
        answer = self.token(sidegate, grant_type="client_credentials")
        self.assertEqual(answer.status, 200, answer.text())


class Ahead(Apart, Broker):
    """By 90 seconds before ours."""

    ahead = 90


class Behind(Apart, Broker):
    """By 90 seconds after ours."""

    ahead = -90


if __name__ == "__main__":
    harness.main()
