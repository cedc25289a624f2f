"""Sessions on disk, while the process is killed, the disk is full, and the process starts again."""

import hashlib
import http.client
import json
import os
import random
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

import harness
from harness import (
    BINARY,
    LONG,
    PATIENCE,
    WORK,
    Echo,
    Peer,
    Program,
    Sidegate,
    ask,
    bearer,
    eventually,
    free_port,
    route,
)

KILLS = 300 if LONG else 20
CLIENTS = 12
SECRET = "V4xr0kq2LmPz7TnB9sWd"
HASH = "sha256:" + hashlib.sha256(SECRET.encode()).hexdigest()
# The limit of a file's size must come as an error, as that of a disk does, and not as a signal.
IGNORING_XFSZ = ("sh", "-c", 'trap "" XFSZ; exec "$0" "$@"')


def settings(folder, echo):
    rate = {"requests": 100_000}
    return {
        "authority": {
            "issuer": "http://127.0.0.1:8080",
            "audiences": ["api"],
            "clients": [
                {"id": "app", "public": True, "grants": ["password", "refresh_token"], "scopes": ["read"]},
                {"id": "job", "secret_hashes": [HASH], "grants": ["client_credentials"], "scopes": ["read"]},
            ],
            "users": [{"username": f"user-{number}", "password_hash": HASH} for number in range(CLIENTS + 1)],
            "throttle": {"per_pair": rate, "per_address": rate, "per_name": rate},
        },
        "store": {"redb": {"path": str(folder / "sessions.redb")}},
        "keys": {"master_file": str(folder / "master.keys"), "generate": True},
        "upstreams": [{"name": "api", "url": f"http://127.0.0.1:{echo.port}", "credential": {"none": {}}}],
        "routes": [route()],
        "log": {"access": "refused"},
    }


class Store(Sidegate):
    """A sidegate with its sessions in a file, that can be started again as often as it ends."""

    def __init__(self, echo):
        self.folder = WORK / f"store-{free_port()}"
        self.folder.mkdir()
        self.file = self.folder / "sessions.redb"
        super().__init__(settings(self.folder, echo))
        # Started anew, so that each start is the same one.
        self.stop()
        self.start()

    def start(self):
        Program.__init__(self, "sidegate", *IGNORING_XFSZ, BINARY, "run", "-c", self.config)
        self.wait_open(self.port, self.health_port)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait()
        self.stop()

    def token(self, **form):
        return ask(
            self.port,
            "/oauth20/token",
            "POST",
            {"Content-Type": "application/x-www-form-urlencoded"},
            urlencode(form),
        )

    def sign_in(self, number):
        answer = self.token(grant_type="password", client_id="app", username=f"user-{number}", password=SECRET)
        assert answer.status == 200, (answer.status, answer.text())
        return answer.json()

    def refresh(self, token):
        return self.token(grant_type="refresh_token", client_id="app", refresh_token=token)

    def revoke(self, token):
        form = urlencode({"client_id": "app", "token": token})
        return ask(self.port, "/oauth20/revoke", "POST", {"Content-Type": "application/x-www-form-urlencoded"}, form)

    def limit_files(self, size):
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


class Client(threading.Thread):
    """Refreshes without a pause; whatever happens, it has the last token that an answer brought."""

    def __init__(self, store, number, ending):
        super().__init__(daemon=True)
        self.store, self.ending = store, ending
        first = store.sign_in(number)
        self.token, self.access = first["refresh_token"], first["access_token"]
        self.answers, self.unanswered, self.unavailable, self.failure = 0, 0, 0, None

    def run(self):
        while not self.ending.is_set() and self.failure is None:
            try:
                self.step()
            except (OSError, http.client.HTTPException, ValueError):
                # Killed before, while or after it was decided: the client cannot know, and asks again.
                self.unanswered += 1
                time.sleep(0.01)

    def step(self):
        answer = self.store.refresh(self.token)
        if answer.status == 503:
            self.unavailable += 1
            time.sleep(0.05)
            return
        body = answer.json()
        if answer.status != 200:
            self.failure = f"{answer.status} {body} for {self.token}, after {self.answers} answers"
            return
        self.token, self.access = body["refresh_token"], body["access_token"]
        self.answers += 1
        if self.answers % 3 == 0:
            seen = self.store.ask("/seen", headers=bearer(self.access)).status
            if seen not in (200, 502, 503):
                self.failure = f"{seen} for a fresh access token"


class Revoker(threading.Thread):
    """Signs in and out without a pause, and remembers what an answer said was revoked."""

    def __init__(self, store, ending):
        super().__init__(daemon=True)
        self.store, self.ending, self.revoked = store, ending, []

    def run(self):
        while not self.ending.is_set():
            try:
                given = self.store.sign_in(CLIENTS)
                if self.store.revoke(given["refresh_token"]).status == 200:
                    self.revoked.append(given)
            except (OSError, http.client.HTTPException, ValueError, AssertionError):
                time.sleep(0.01)


class Sessions(Peer):
    @classmethod
    def prepare(cls):
        cls.echo = cls.start(Echo())
        # Its connections are cut with each kill.
        cls.echo.server.handle_error = lambda *_: None

    def setUp(self):
        self.store = self.start(Store(self.echo))

    def tearDown(self):
        self.store.stop()

    def crowd(self):
        """Clients that refresh until the test ends."""
        ending = threading.Event()
        clients = [Client(self.store, number, ending) for number in range(CLIENTS)]
        threads = [*clients, Revoker(self.store, ending)]
        for thread in threads:
            thread.start()

        def end():
            ending.set()
            for thread in threads:
                thread.join(PATIENCE)

        self.addCleanup(end)
        return clients, threads[-1]

    def all_get_on(self, clients):
        """Waits until each client has an answer to a question that it asks from now on."""
        # The first answer may have been on its way.
        wanted = [client.answers + 2 for client in clients]

        def probe():
            for client in clients:
                if client.failure:
                    self.fail(client.failure)
            return all(client.answers >= count for client, count in zip(clients, wanted, strict=True))

        end = time.monotonic() + 2 * PATIENCE
        while not probe():
            self.assertLess(time.monotonic(), end, "a client gets no answer")
            time.sleep(0.01)

    def test_no_session_is_lost_however_often_the_process_is_killed(self):
        clients, revoker = self.crowd()
        checked = 0
        for _ in range(KILLS):
            self.all_get_on(clients)
            time.sleep(random.uniform(0, 0.3))
            known = len(revoker.revoked)
            self.store.kill()
            self.store.start()
            for given in revoker.revoked[checked:known][-5:]:
                self.assertEqual(self.store.refresh(given["refresh_token"]).status, 400, "a revocation is lost")
                self.assertEqual(self.store.ask("/seen", headers=bearer(given["access_token"])).status, 401)
            checked = known
        self.all_get_on(clients)
        self.assertGreater(checked, 0)
        self.assertGreater(sum(client.unanswered for client in clients), 0, "the kills came between the requests")
        answers = sum(client.answers for client in clients)
        unanswered = sum(client.unanswered for client in clients)
        print(f"{KILLS} kills, {answers} refreshes, {unanswered} unanswered, {checked} revocations: none lost")

    def test_sessions_outlive_an_orderly_restart(self):
        given = self.store.sign_in(0)
        self.store.stop()
        self.store.start()
        self.assertEqual(self.store.ask("/", headers=bearer(given["access_token"])).status, 200)
        self.assertEqual(self.store.refresh(given["refresh_token"]).status, 200)

    def test_a_full_disk_is_said_to_be_one_and_loses_nothing(self):
        given = [self.store.sign_in(number) for number in range(CLIENTS)]
        cached = given[0]["access_token"]
        form = {"grant_type": "client_credentials", "client_id": "job", "client_secret": SECRET}
        self.assertEqual(self.store.ask("/", headers=bearer(cached)).status, 200)
        # First no file can grow, then next to nothing can be written at all.
        for limit in (self.store.file.stat().st_size, 64 * 1024):
            self.store.limit_files(limit)
            answer = eventually("the disk is full", lambda: self.unless_200(self.store.token(**form)), 60, 0)
            self.assert_unavailable(answer)
            for number, tokens in enumerate(given):
                answer = self.store.refresh(tokens["refresh_token"])
                if answer.status == 200 and limit > 64 * 1024:
                    given[number] = answer.json()
                else:
                    self.assert_unavailable(answer)
                self.assertEqual(self.store.ask("/", headers=bearer(cached)).status, 200, "what is cached is forwarded")
            self.store.limit_files(resource.RLIM_INFINITY)
            for number, tokens in enumerate(given):

                def refreshed(token=tokens["refresh_token"]):
                    answer = self.store.refresh(token)
                    if answer.status == 503:
                        return None
                    self.assertEqual(answer.status, 200, answer.text())
                    return answer.json()

                given[number] = eventually("there is room again", refreshed)
                self.assertEqual(self.store.ask("/", headers=bearer(given[number]["access_token"])).status, 200)

    def unless_200(self, answer):
        return None if answer.status == 200 else answer

    def assert_unavailable(self, answer):
        self.assertEqual(answer.status, 503, answer.text())
        self.assertEqual(answer.json()["error"], "temporarily_unavailable")
        self.assertGreater(int(answer.headers["Retry-After"]), 0)
        self.assertEqual(answer.headers["Cache-Control"], "no-store")

    def test_a_second_process_is_told_who_has_the_file(self):
        other = WORK / "second.yaml"
        base = {"listeners": [{"name": "public", "address": f"127.0.0.1:{free_port()}"}], "workers": 1}
        other.write_text(json.dumps({**settings(self.store.folder, self.echo), **base}))
        run = subprocess.run([BINARY, "run", "-c", other], capture_output=True, text=True, timeout=PATIENCE)
        self.assertNotEqual(run.returncode, 0)
        said = run.stdout + run.stderr
        self.assertIn(str(self.store.file), said)
        self.assertIn("another process has it open", said)
        self.assertNotIn("panicked", said)

    def test_only_the_owner_may_read_what_is_kept(self):
        self.store.sign_in(0)
        for file in (self.store.file, self.store.folder / "master.keys"):
            self.assertEqual(file.stat().st_mode & 0o777, 0o600, file)
        self.assertEqual(sorted(os.listdir(self.store.folder)), ["master.keys", "sessions.redb"])
        self.assertNotIn(b"user-0", Path(self.store.file).read_bytes())


if __name__ == "__main__":
    harness.main()
