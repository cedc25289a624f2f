"""Three sidegates on one store, each a process of its own with a folder of its own."""

import glob
import itertools
import subprocess

import outside
from harness import BINARY, WORK, free_port
from outside import Killable

REPLICAS = 3
RESULTS = ("rotated", "retried", "healed", "reused", "refused", "unavailable")


class Replicas:
    """`store` says where the sessions are, `clocks` by how many seconds each of them is wrong, `change` what else is
    otherwise in their settings."""

    name = "replicas"

    def __init__(
        self, authority, upstream, store, binary=BINARY, clocks=(0,) * REPLICAS, journal=True, change=dict, **remote
    ):
        folder = WORK / f"replicas-{free_port()}"
        folder.mkdir()
        ring = folder / "master.keys"
        ring.write_bytes(subprocess.run([binary, "keys", "master"], check=True, capture_output=True).stdout)
        ring.chmod(0o600)
        self.all = []
        for number, ahead in enumerate(clocks):
            own = folder / str(number)
            (own / "journal").mkdir(parents=True)
            kept = {"redis": {"timeout": "1s", **store, **({"journal": str(own / "journal")} if journal else {})}}
            settings = change(outside.settings(authority, upstream, own, **remote))
            shared = {"store": kept, "keys": {"master_file": str(ring)}}
            self.all.append(Killable({**settings, **shared}, binary, own, clock(ahead)))
        self.turns = itertools.cycle(self.all)

    def __getitem__(self, number):
        return self.all[number % len(self.all)]

    def __iter__(self):
        return iter(self.all)

    def __next__(self):
        return next(self.turns)

    def refreshed(self):
        """What came of the refresh tokens of clients, at all of them."""
        metric = "sidegate_token_refreshes_total"
        return {result: int(sum(one.metric(metric, result=result) for one in self)) for result in RESULTS}

    def renewed(self, **labels):
        return sum(one.renewed(**labels) for one in self)

    def log(self):
        return "\n".join(line for one in self for line in one.log().splitlines()[-10:])

    def stop(self):
        for one in self:
            one.stop()


def clock(ahead):
    """An environment in which a program's clock is wrong, but its timers are not."""
    if not ahead:
        return None
    [library] = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    return {"LD_PRELOAD": library, "FAKETIME": f"{ahead:+}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
