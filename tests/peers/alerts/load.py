"""Two sidegates that have, between them, everything that the dashboard shows, and clients that use all of it."""

import base64
import http.client
import random
import ssl
from contextlib import suppress
from urllib.parse import urlencode

import grpc
from websockets.sync.client import connect

from grpc_peer import Server as GrpcServer
from harness import WORK, Echo, Issuer, Sidegate, ask, bearer, free_port, upstream
from websocket_peer import Server as WebSocketServer

from .troubles import (
    FORM,
    SECRET,
    Stub,
    Vouched,
    fetched,
    introspected,
    master_file,
    own,
    redis,
    secret_file,
    self_signed,
)

ANA = base64.b64encode(f"ana:{SECRET}".encode()).decode()
ASKED = {"sub": "ana", "aud": "api", "scope": "read", "client_id": "app"}


def a_route(name, to="api", **changes):
    policy = {"audiences": ["api"], **changes.pop("policy", {})}
    return {"name": name, "paths": [f"/{name}", f"/{name}/*"], "upstream": to, "policy": policy, **changes}


class Gateway:
    """Every kind of issuer, upstream and route, and an authority of its own."""

    name = "gateway"

    def __init__(self, start):
        self.issuer, echo = Issuer(), start(Echo())
        keys = self.issuer.jwks_file.read_text()
        self.jwks = start(Stub(lambda _: (200, keys)))
        asked = start(Stub(lambda _: (200, {"active": random.random() < 0.5, **ASKED})))
        probed = start(Stub(lambda _: (random.choice([200, 401]), {"sub": "ana"})))
        vendor = start(Stub(lambda _: (200, {"access_token": "vendors", "token_type": "Bearer", "expires_in": 300})))
        moody = start(Stub(lambda _: (random.choice([200, 401, 500]), {})))
        self.sockets, self.grpc = start(WebSocketServer()), start(GrpcServer())
        old = {"name": "old", "issuer": "https://old.test.example", "algorithms": []}
        old["probe"] = {"url": f"http://127.0.0.1:{probed.port}/me", "claims": {"sub": "/sub"}, "audiences": ["api"]}
        service = {"dialect": "oauth2", "url": f"http://127.0.0.1:{vendor.port}/token"}
        service["client"] = {"id": "sidegate", "secret_file": secret_file()}
        none = {"none": {}}
        clients = [
            {"id": "app", "public": True, "grants": ["password", "refresh_token"], "scopes": ["read"]},
            {"id": "till", "public": True, "grants": ["basic"], "scopes": ["read"]},
        ]
        self.tls_port = free_port()
        self.sidegate = start(
            Sidegate(
                {
                    "issuers": [fetched(self.issuer, self.jwks.port), introspected(asked), old],
                    "authority": own(clients=clients),
                    "store": {"redis": redis(start)[1]},
                    "keys": {"master_file": master_file()},
                    "internal_jwt": {},
                    "upstreams": [
                        upstream(echo.port, credential=none),
                        upstream(moody.port, name="moody", credential={"internal_jwt": {"audience": "moody"}}),
                        upstream(echo.port, name="vendor", credential={"service": service}),
                        upstream(free_port(), name="gone", credential=none),
                        upstream(self.sockets.port, name="sockets", credential=none),
                        upstream(self.grpc.port, name="grpc", credential=none, protocol="http2"),
                    ],
                    "routes": [
                        a_route("things"),
                        a_route("observed", mode="observe"),
                        a_route("asked", policy={"issuers": ["asked"]}),
                        a_route("old", policy={"issuers": ["old"]}),
                        a_route("own", policy={"issuers": ["local"]}, token={"basic": "till"}),
                        a_route("limited", rate_limit={"per_address": {"requests": 1, "per": "1s", "burst": 1}}),
                        a_route("moody", "moody"),
                        a_route("vendor", "vendor"),
                        a_route("gone", "gone"),
                        a_route("sockets", "sockets"),
                        a_route("test.Echo", "grpc"),
                    ],
                    "log": {"access": "refused"},
                },
                more_listeners=[{"name": "tls", "address": f"127.0.0.1:{self.tls_port}", "tls": self_signed(30)}],
            )
        )
        self.trusting = ssl.create_default_context()
        self.trusting.check_hostname, self.trusting.verify_mode = False, ssl.CERT_NONE
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.sidegate.port}")
        self.token, self.refresh_token = self.issuer.token(), None

    def act(self):
        token = bearer(self.issuer.token(jti=str(random.random())) if random.random() < 0.2 else self.token)
        for route in ("things", "observed", "limited", "moody", "vendor", "gone", "nowhere"):
            self.sidegate.ask(f"/{route}", headers=token)
        expired = bearer(self.issuer.token(exp=1_000_000))
        for route in ("things", "observed"):
            self.sidegate.ask(f"/{route}", headers=expired)
        for route in ("asked", "old"):
            self.sidegate.ask(f"/{route}", headers=bearer(f"opaque-{random.random()}"))
        self.sidegate.ask("/own", headers={"Authorization": f"Basic {ANA}"})
        self.sign_in()
        self.shake_hands()
        self.stream(token)

    def sign_in(self):
        ways = [{"grant_type": "password", "username": "ana", "password": random.choice([SECRET, "wrong"])}]
        if self.refresh_token:
            ways.append({"grant_type": "refresh_token", "refresh_token": self.refresh_token})
        for form in ways:
            given = self.sidegate.ask(
                "/oauth20/token", method="POST", headers=FORM, body=urlencode({"client_id": "app", **form})
            )
            if given.status == 200:
                self.refresh_token = given.json()["refresh_token"]
                self.sidegate.ask("/own", headers=bearer(given.json()["access_token"]))

    def shake_hands(self):
        connection = http.client.HTTPSConnection("127.0.0.1", self.tls_port, timeout=10, context=self.trusting)
        ask(self.tls_port, "/things", headers=bearer(self.token), connection=connection)
        connection.close()

    def stream(self, token):
        with connect(f"ws://127.0.0.1:{self.sidegate.port}/sockets", additional_headers=token) as socket:
            socket.send("again")
            socket.recv(10)
            metadata = [("authorization", token["Authorization"])]
            for method in ("Unary", "Fail"):
                with suppress(grpc.RpcError):
                    self.channel.unary_unary(f"/test.Echo/{method}")(b"hello", metadata=metadata, timeout=10)


class Broker(Vouched):
    """An authority outside that is moody, and a journal of what it gives."""

    name = "broker"

    def settings(self):
        settings = super().settings()
        journal = WORK / f"journal-{free_port()}"
        journal.mkdir(mode=0o700)
        settings["store"] = {"redis": {**redis(self.start)[1], "journal": str(journal)}}
        return {**settings, "keys": {"master_file": master_file()}}

    def begin(self):
        super().begin()
        answer = self.authority.answer
        self.authority.answer = lambda form: (503, {}) if random.random() < 0.2 else answer(form)
