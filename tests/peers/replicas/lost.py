"""What is lost of what clients were told, where the servers have forgotten the last of it."""

import hashlib
import socket
import threading
import time
from contextlib import suppress

from harness import PATIENCE, eventually
from outside import NOT_ANSWERED, PASSWORD, Session

CLIENTS = 8


def local(settings):
    """The same with users of its own: only our own refresh tokens are looked at."""
    hashed = "sha256:" + hashlib.sha256(PASSWORD.encode()).hexdigest()
    authority = {name: value for name, value in settings["authority"].items() if name != "remote"}
    users = [{"username": f"user-{number}", "password_hash": hashed} for number in range(CLIENTS)]
    return {
        **settings,
        "authority": {**authority, "users": users, "sessions_per_user": 5000},
        "upstreams": [{**settings["upstreams"][0], "credential": {"none": {}}}],
    }


class Client(threading.Thread):
    """Signs in, refreshes a few times, and begins anew; keeps what it was told of every session."""

    def __init__(self, replicas, number):
        super().__init__(daemon=True)
        self.replicas, self.number, self.ending = replicas, number, threading.Event()
        self.sessions, self.refreshes = [], 0

    def run(self):
        while not self.ending.is_set():
            try:
                session = Session(self.replicas[self.number], f"user-{self.number}")
                self.sessions.append(session)
                for turn in range(4):
                    self.refreshes += session.refreshed(self.replicas[turn]).status == 200
            except (*NOT_ANSWERED, AssertionError):
                time.sleep(0.01)


class Crowd:
    """What it was told before the servers ended, and what of that is true afterwards."""

    def __init__(self, replicas):
        self.replicas, self.began = replicas, time.monotonic()
        self.clients = [Client(replicas, number) for number in range(CLIENTS)]
        for client in self.clients:
            client.start()

    def until(self, gone):
        """Asks on until the servers are `gone`, and a moment longer."""
        time.sleep(2.5)
        gone()
        self.lasted = time.monotonic() - self.began
        for client in self.clients:
            client.ending.set()
        for client in self.clients:
            client.join(PATIENCE)

    def look(self):
        """Of each session the last token that its client was given."""
        for sidegate in self.replicas:
            eventually("they are back", lambda one=sidegate: Session(one, "user-0"))
        before = self.replicas.refreshed()["healed"]
        sessions = [session for client in self.clients for session in client.sessions]
        answers = [session.refreshed(self.replicas[0]) for session in sessions]
        refreshes = sum(client.refreshes for client in self.clients)
        return {
            "sessions": len(sessions),
            "refreshes": refreshes,
            "rate": (len(sessions) + refreshes) / self.lasted,
            "healed": self.replicas.refreshed()["healed"] - before,
            "lost": sum(answer.status == 400 for answer in answers),
        }


class Sizes(threading.Thread):
    """How long a file was, and when: what was in it at any moment can be had again."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.seen, self.ending = path, [], threading.Event()
        self.start()

    def run(self):
        while not self.ending.wait(0.01):
            self.seen.append((time.monotonic(), self.path.stat().st_size))

    def forget(self, seconds):
        """As if the last seconds had never been written."""
        self.ending.set()
        self.join()
        end = self.seen[-1][0] - seconds
        with open(self.path, "r+b") as file:
            file.truncate(max(size for at, size in self.seen if at <= end))


class Behind:
    """Stands before a server. What that says comes so many seconds late, and who asks can be sent to another one."""

    name = "relay"

    def __init__(self, port):
        self.to, self.late, self.open, self.lock = port, 0.0, set(), threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with suppress(OSError):
            while True:
                near = self.listener.accept()[0]
                try:
                    far = socket.create_connection(("127.0.0.1", self.to))
                except OSError:
                    near.close()
                    continue
                with self.lock:
                    self.open |= {near, far}
                threading.Thread(target=self.carry, args=[near, far, False], daemon=True).start()
                threading.Thread(target=self.carry, args=[far, near, True], daemon=True).start()

    def carry(self, source, target, may_be_late):
        with suppress(OSError):
            while data := source.recv(65536):
                # One after another: this is a line that is slow, and what it has not delivered is lost with it.
                time.sleep(self.late if may_be_late else 0)
                target.sendall(data)
        self.close(source, target)

    def close(self, *ends):
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        with self.lock:
            self.open -= set(ends)

    def cut(self, port=None):
        """Ends what is there; what comes goes to `port`."""
        self.to = port or self.to
        self.close(*list(self.open))

    def log(self):
        return ""

    def stop(self):
        self.close(self.listener)
        self.cut()
