"""Clients that ask three replicas in turn, without a pause, whatever becomes of the store."""

import threading
import time

from harness import PATIENCE
from outside import GRACE, NOT_ANSWERED, STEADY, STRICT, Session

EACH = 4
PAUSE = 0.02


class Client(threading.Thread):
    """One session, which must go on: an answer is 200, or a 503 that says when to come back."""

    def __init__(self, replicas, name, number):
        super().__init__(daemon=True)
        self.replicas, self.number, self.ending = replicas, number, threading.Event()
        self.session = Session(replicas[number], name)
        self.answers, self.unavailable, self.failure = 0, 0, None

    def run(self):
        while not self.ending.is_set() and self.failure is None:
            self.number += 1
            try:
                answer = self.asks(self.replicas[self.number])
            except NOT_ANSWERED as error:
                self.failure = repr(error)
                return
            if answer.status == 200:
                self.answers += 1
            elif answer.status == 503 and self.may_wait() and int(answer.headers["Retry-After"] or 0) > 0:
                self.unavailable += 1
            else:
                self.failure = f"{answer.status} {answer.headers['Retry-After']}: {answer.text()}"
            time.sleep(PAUSE)

    def may_wait(self):
        return True

    def asks(self, sidegate):
        """With a token of the authority that is over every other second."""
        return self.session.get(sidegate)


class Steady(Client):
    """Has a token that each replica has in its cache, and the authority's lasts: it needs nobody."""

    def __init__(self, replicas, name, number):
        super().__init__(replicas, name, number)
        for sidegate in replicas:
            assert self.session.get(sidegate).status == 200

    def may_wait(self):
        return False


class Refreshing(Client):
    """Refreshes each time, and keeps what it was given last."""

    def asks(self, sidegate):
        return self.session.refreshed(sidegate)


class Crowd:
    """Some of each kind. None of them comes a second time with what it was told is spent."""

    KINDS = (
        (Steady, STEADY),
        (Client, STRICT),
        (Client, GRACE),
        (Refreshing, STRICT),
        (Refreshing, GRACE),
        (Refreshing, STEADY),
    )

    def __init__(self, test, replicas, each=EACH):
        self.test, self.replicas = test, replicas
        self.clients = [
            kind(replicas, f"{name}-{test.id()}-{kind.__name__}-{number}", number)
            for kind, name in self.KINDS
            for number in range(each)
        ]
        for client in self.clients:
            client.start()
        self.get_on()

    def of(self, kind):
        return [client for client in self.clients if type(client) is kind]

    def answers(self, kind):
        return sum(client.answers for client in self.of(kind))

    def get_on(self, kinds=(Client, Steady, Refreshing), patience=2 * PATIENCE):
        """Until each has been answered by all replicas."""
        waiting = [client for kind in kinds for client in self.of(kind)]
        wanted = [client.answers + 2 * len(self.replicas.all) for client in waiting]
        end = time.monotonic() + patience
        while not all(client.answers >= count for client, count in zip(waiting, wanted, strict=True)):
            self.look()
            late = [
                client.session.name for client, count in zip(waiting, wanted, strict=True) if client.answers < count
            ]
            self.test.assertLess(time.monotonic(), end, f"no answer for {late}")
            time.sleep(0.01)

    def look(self):
        failed = [
            f"{type(client).__name__} {client.session.name}: {client.failure}"
            for client in self.clients
            if client.failure
        ]
        self.test.assertEqual(failed, [])

    def end(self):
        for client in self.clients:
            client.ending.set()
        for client in self.clients:
            client.join(PATIENCE)
        self.look()
