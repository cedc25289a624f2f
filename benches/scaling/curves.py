"""The curves: what changes along each, what it is measured with, and the servers of its points."""

import json
from dataclasses import dataclass, field
from typing import NamedTuple

import peers

MANY = 32_768  # connections that a server may have; more than any point opens
UNDER_WAY = 64  # requests at the same time, where nothing else is said


@dataclass
class Point:
    """One place on a curve: a process of its own, and how it is asked."""

    series: str
    x: float
    server: callable  # (upstream's port) → peers.Server
    path: str = "/original/1"
    connections: int = UNDER_WAY
    under_way: int = UNDER_WAY
    body: int = 1024
    upload: int | None = None
    tokens: int = 1
    stride: int = 1
    cores: tuple = (0,)
    keys: tuple = ("RS256", 50_000)
    visits: list = field(default_factory=list)


class Curve(NamedTuple):
    title: str
    unit: str  # of x
    about: str
    points: list


class Made:
    """Makes the curves; `keys(algorithm, count)` is the folder with at least so many tokens and their key."""

    def __init__(self, program, keys):
        self.program, self.keys = program, keys

    def sidegate(self, change=lambda settings: None, keys=("RS256", 50_000), **more):
        def server(upstream):
            return changed(peers.sidegate(self.program, self.keys(*keys), upstream, **more), change)

        return server

    def pair(self, change=lambda settings: None):
        return ("sidegate", self.sidegate(change), "/original/1"), ("nginx", nginx, "/")

    def connections(self):
        return Curve(
            "Connections",
            "connections",
            f"HTTP/1.1 connections kept alive, at most {UNDER_WAY} requests under way, one cached token",
            [
                Point(name, x, server, path, connections=x, under_way=min(x, UNDER_WAY))
                for x in CONNECTIONS
                for name, server, path in self.pair(roomy)
            ],
        )

    def under_way(self):
        return Curve(
            "Requests under way",
            "requests",
            "as many connections, with a request under way on each all the time, one cached token",
            [
                Point(name, x, server, path, connections=x, under_way=x)
                for x in CONNECTIONS
                for name, server, path in self.pair(roomy)
            ],
        )

    def responses(self):
        return Curve(
            "Response bodies",
            "bytes",
            "16 connections, one cached token; nginx without temporary files",
            [
                Point(name, x, server, path, connections=16, under_way=16, body=x)
                for x in BODIES
                for name, server, path in self.pair()
            ],
        )

    def uploads(self):
        return Curve(
            "Request bodies",
            "bytes",
            "16 connections, one cached token, the upstream answers after the last byte; nginx without buffering",
            [
                Point(name, x, server, path, connections=16, under_way=16, upload=x)
                for x in BODIES
                for name, server, path in self.pair()
            ],
        )

    def routes(self):
        return Curve(
            "Routes",
            "routes",
            "each with a policy of its own, the last one is asked; 64 connections, one cached token",
            [Point("sidegate", x, self.sidegate(routes(x)), f"/r{x - 1}/1") for x in (1, 10, 100, 1_000)],
        )

    def tokens(self):
        return Curve(
            "Cached tokens",
            "tokens",
            "869-byte Ed25519 tokens, all in the cache, asked in an order without a pattern; 64 connections",
            [
                Point(
                    "sidegate",
                    x,
                    self.sidegate(eddsa, ed25519(x), cache_bytes="4GiB"),
                    tokens=x,
                    stride=STRIDE,
                    keys=ed25519(x),
                )
                for x in (1, 100, 1_000, 10_000, 100_000, 1_000_000)
            ],
        )

    def workers(self):
        return Curve(
            "Workers",
            "workers",
            "one worker on one core; two on both cores, which carry the upstream and the load as well; 64 connections",
            [
                Point(name, x, self.sidegate(workers(x), cache_bytes=cache), tokens=tokens, cores=tuple(range(x)))
                for x in (1, 2)
                for name, tokens, cache in (
                    ("cached", 1, "128MiB"),
                    ("cached, 50,000 tokens", 50_000, "256MiB"),
                    ("a signature for each request", 50_000, "1MiB"),
                )
            ],
        )

    def all(self, wanted):
        """Those that are wanted, by name."""
        for name in NAMES:
            if wanted(name):
                yield name, getattr(self, name.replace("-", "_"))()


def ed25519(count):
    return ("EdDSA", max(count, 1_000))


def changed(server, change):
    """The same server with other settings."""

    def command(port, directory):
        arguments = server.command(port, directory)
        file = directory / "sidegate.yaml"
        settings = json.loads(file.read_text())
        change(settings)
        file.write_text(json.dumps(settings))
        return arguments

    return peers.Server(server.name, server.program, command, server.version)


def eddsa(settings):
    settings["issuers"][0]["algorithms"] = ["EdDSA"]


def roomy(settings):
    settings["listeners"][0]["limits"] = {"connections": MANY}
    for upstream in settings["upstreams"]:
        upstream["connections"] = {"max_idle": 4_096}


def workers(count):
    def change(settings):
        settings["workers"] = count

    return change


def routes(count):
    def change(settings):
        policy = settings["routes"][-1]["policy"]
        settings["routes"] = [
            {"name": f"r{number}", "paths": [f"/r{number}/*"], "upstream": "original", "policy": policy}
            for number in range(count)
        ]
        settings["upstreams"] = [one for one in settings["upstreams"] if one["name"] == "original"]
        settings.pop("internal_jwt", None)

    return change


def nginx(upstream):
    """As in side_by_side, with room for the connections, and streaming as sidegate does: nothing goes to a disk."""
    server = peers.nginx(upstream, connections=MANY)

    def command(port, directory):
        arguments = server.command(port, directory)
        file = directory / "nginx.conf"
        text = file.read_text()
        for old, new in (
            ("keepalive 128;", "keepalive 4096;"),
            (
                "access_log off;",
                "access_log off; client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;",
            ),
        ):
            assert old in text, old
            text = text.replace(old, new)
        file.write_text(text)
        return arguments

    return peers.Server(server.name, server.program, command, server.version)


STRIDE = 7_919  # a prime: every token has its turn, and no two neighbours follow each other
NAMES = ("connections", "under-way", "responses", "uploads", "routes", "tokens", "workers")
CONNECTIONS = (1, 16, 64, 256, 1_000, 4_000, 10_000)
BODIES = (1 << 10, 16 << 10, 128 << 10, 1 << 20, 10 << 20)
