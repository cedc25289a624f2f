"""Who is compared with whom: each contestant has a process of its own, since its memory counts too."""

from collections.abc import Callable
from dataclasses import dataclass

import peers

TOKENS = 50_000


@dataclass
class Contestant:
    name: str
    about: str
    # Those of a group are visited one soon after the other: they are the ones that are compared.
    group: str
    # Makes its server, or raises peers.Missing.
    server: Callable[[], peers.Server]
    path: str = "/orders/1"
    # Whose tokens its requests carry: RS256, ES256, `own` (of its own authority) or None.
    tokens: str | None = "RS256"
    first: int = 1
    connections: int | None = None
    # What else bench_load is told.
    load: tuple = ()
    tls: bool = False
    paced: bool = False
    starts: bool = False


@dataclass
class Holder:
    """Silent connections, and what they weigh."""

    name: str
    program: str
    about: str
    server: Callable[[], peers.Server]
    connections: int
    tls: bool = False


def contestants(program, work, keys, upstream):
    rs, es = keys["RS256"], keys["ES256"]

    def gate(**more):
        return lambda: peers.sidegate(peers.find(program), rs, upstream, **more)

    def nginx(**more):
        return lambda: peers.nginx(upstream, **more)

    def envoy(cached=True, **more):
        return lambda: peers.envoy(work, rs, upstream, cached, **more)

    def fresh(*more):
        return {"load": ("--fresh", *more), "tls": True, "group": "handshakes"}

    def streams(connections, each):
        return {"load": ("--streams", each), "connections": connections, "tls": True, "group": "HTTP/2"}

    hot, cold, paced = {"group": "hot"}, {"group": "cold"}, {"group": "paced", "paced": True}
    return [
        Contestant("sidegate passthrough", "a public route", server=gate(), path="/public/1", starts=True, **hot),
        Contestant("sidegate passthrough bare", "the same without a token in the requests", server=gate(),
                   path="/public/1", tokens=None, **hot),
        Contestant("sidegate auth 1", "authenticated, one cached RS256 token, internal JWT to the upstream",
                   server=gate(), starts=True, **hot),
        Contestant("sidegate auth 1k", "the same with 1,000 tokens in turn", server=gate(), first=1000, **hot),
        Contestant("sidegate auth 50k", "the same with 50,000", server=gate(), first=TOKENS, **hot),
        Contestant("sidegate auth 1 original", "one token, which the upstream gets as it came", server=gate(),
                   path="/original/1", **hot),
        Contestant("sidegate auth 50k original", "50,000 of them", server=gate(), path="/original/1", first=TOKENS,
                   **hot),
        Contestant("sidegate passthrough log all", "a public route, each request in the access log",
                   server=gate(access="all"), path="/public/1", **hot),
        Contestant("sidegate auth 1 log all", "authenticated, each request in the access log",
                   server=gate(access="all"), **hot),
        Contestant("sidegate auth 50k log all", "the same with 50,000 tokens", server=gate(access="all"),
                   first=TOKENS, **hot),
        Contestant("sidegate opaque 1", "authenticated, one opaque session token of sidegate's own",
                   server=gate(authority=True), tokens="own", **hot),
        Contestant("sidegate opaque 1k", "the same with 1,000 sessions", server=gate(authority=True), tokens="own",
                   first=1000, **hot),
        Contestant("nginx", "proxy_pass, no authentication", server=nginx(), starts=True, **hot),
        Contestant("nginx bare", "the same without a token in the requests", server=nginx(), tokens=None, **hot),
        Contestant("envoy cache 1", "jwt_authn with its cache, one token", server=envoy(), starts=True, **hot),
        Contestant("envoy cache 50k", "the same with 50,000", server=envoy(), first=TOKENS, **hot),
        Contestant("sidegate miss", "authenticated, each token in a cache too small for it",
                   server=gate(cache_bytes="1MiB"), path="/original/1", first=TOKENS, **cold),
        Contestant("envoy", "jwt_authn without its cache", server=envoy(False), **cold),
        Contestant("haproxy RS256", "jwt_verify, which has no cache", starts=True,
                   server=lambda: peers.haproxy(rs, upstream), **cold),
        Contestant("haproxy ES256", "the same with ES256", tokens="ES256",
                   server=lambda: peers.haproxy(es, upstream, "ES256"), **cold),
        Contestant("sidegate h2 64x1", "HTTP/2 over TLS, authenticated: 64 connections with one request each",
                   server=gate(tls=True), **streams(64, 1)),
        Contestant("sidegate h2 4x16", "4 connections with 16 requests each", server=gate(tls=True), **streams(4, 16)),
        Contestant("envoy h2 64x1", "HTTP/2 over TLS, jwt_authn with its cache", server=envoy(tls=True),
                   **streams(64, 1)),
        Contestant("envoy h2 4x16", "4 connections with 16 requests each", server=envoy(tls=True), **streams(4, 16)),
        Contestant("sidegate TLS new", "authenticated, each request over a new TLS connection, X25519",
                   server=gate(tls=True), **fresh()),
        Contestant("sidegate TLS new hybrid", "the same with X25519MLKEM768", server=gate(tls=True),
                   **fresh("--hybrid")),
        Contestant("sidegate TLS resumed", "a ticket of the connection before", server=gate(tls=True),
                   **fresh("--resume")),
        Contestant("nginx TLS new", "each request over a new TLS connection, X25519", server=nginx(keys=rs), **fresh()),
        Contestant("nginx TLS resumed", "a ticket of the connection before", server=nginx(keys=rs),
                   **fresh("--resume")),
        Contestant("sidegate passthrough paced", "latency of a public route at --rate", server=gate(),
                   path="/public/1", **paced),
        Contestant("sidegate auth paced", "latency at --rate, authenticated, one token", server=gate(), **paced),
        Contestant("nginx paced", "latency at --rate", server=nginx(), **paced),
    ]


def holders(program, work, keys, upstream, connections):
    """Each with as many connections, over TLS with a fifth of them."""
    rs = keys["RS256"]
    makers = {
        "sidegate": lambda tls: peers.sidegate(peers.find(program), rs, upstream, tls=tls,
                                               connections=2 * connections),
        "nginx": lambda tls: peers.nginx(upstream, rs if tls else None, 2 * connections),
        "envoy": lambda tls: peers.envoy(work, rs, upstream, True, tls),
    }
    out = []
    for name, make in makers.items():
        for tls in (False, True):
            kind, count = (" TLS", connections // 5) if tls else ("", connections)
            out.append(Holder(f"{name} idle{kind}", name, f"{count:,} silent connections after a request each",
                              lambda make=make, tls=tls: make(tls), count, tls))
    return out
