"""A new configuration by SIGHUP while requests are on the way."""

import http.client
import re
import signal
import socket
import subprocess
import threading
import time

import harness
from harness import LONG, PATIENCE, Echo, Issuer, Peer, Sidegate, ask, background, bearer, eventually, route, upstream
from plain_nginx import PlainNginx

SECONDS = 60 if LONG else 6


class Reload(Peer):
    @classmethod
    def prepare(cls):
        cls.issuer, cls.nginx, cls.echo = Issuer(), cls.start(PlainNginx()), cls.start(Echo())
        cls.sidegate = cls.start(Sidegate(cls.settings()))
        cls.token = cls.issuer.token()

    @classmethod
    def settings(cls, number=0, **changes):
        return {
            "issuers": [cls.issuer.settings()],
            "upstreams": [
                upstream(cls.nginx.port, credential={"none": {}}),
                upstream(cls.echo.port, name="echo", credential={"none": {}}),
            ],
            "routes": [
                route(),
                route(name="echo", paths=["/echo"], upstream="echo"),
                route(name="changing", paths=[f"/changing/{number}"]),
            ],
            "log": {"access": "refused"},
            **changes,
        }

    def setUp(self):
        self.reload(self.settings())

    def reload(self, settings, good=True):
        """Sends SIGHUP and waits until the new configuration was judged."""
        before = self.sidegate.metric("sidegate_config_reloads_total")
        if isinstance(settings, str):
            self.sidegate.config.write_text(settings)
        else:
            self.sidegate.write(settings)
        self.sidegate.signal(signal.SIGHUP)
        eventually("the reload is counted", lambda: self.sidegate.metric("sidegate_config_reloads_total") > before)
        self.assertEqual(self.sidegate.metric("sidegate_config_last_reload_successful"), 1 if good else 0)

    def status(self, path="/", token=None):
        return self.sidegate.ask(path, headers=bearer(token or self.token)).status

    def test_a_reload_puts_the_new_policy_to_work(self):
        other = self.issuer.token(aud="other")
        self.assertEqual((self.status(), self.status(token=other)), (200, 401))
        self.reload(self.settings(routes=[route(policy={"audiences": ["other"]})]))
        self.assertEqual((self.status(), self.status(token=other)), (401, 200))

    def test_ten_reloads_under_load_fail_no_request(self):
        ended, counts, failures = threading.Event(), [0] * 4, []

        def work(number):
            connection = http.client.HTTPConnection("127.0.0.1", self.sidegate.port, timeout=PATIENCE)
            while not ended.is_set():
                try:
                    status = ask(0, "/", headers=bearer(self.token), connection=connection).status
                    if status != 200:
                        failures.append(status)
                except (OSError, http.client.HTTPException) as error:
                    failures.append(repr(error))
                    connection.close()
                counts[number] += 1
            connection.close()

        workers = [background(lambda number=number: work(number)) for number in range(4)]
        load = subprocess.Popen(
            [
                "h2load",
                "-D",
                str(SECONDS),
                "-c",
                "4",
                "-m",
                "8",
                "-t",
                "1",
                "-H",
                f"authorization: Bearer {self.token}",
                f"http://127.0.0.1:{self.sidegate.port}/",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(1, 11):
            time.sleep(SECONDS / 12)
            self.reload(self.settings(number))
        output = load.communicate(timeout=SECONDS + 30)[0]
        ended.set()
        for worker in workers:
            worker.join(PATIENCE)
        total, failed, errored = (
            int(re.search(rf"requests:.* (\d+) {what}", output)[1]) for what in ("done", "failed", "errored")
        )
        print(f"{sum(counts)} requests on HTTP/1.1 and {total} on HTTP/2 during 10 reloads", flush=True)
        self.assertEqual(failures, [])
        self.assertEqual((failed, errored), (0, 0), output)
        self.assertRegex(output, r"status codes: \d+ 2xx, 0 3xx, 0 4xx, 0 5xx")
        self.assertTrue(all(counts) and total)

    def test_a_request_that_is_half_sent_is_finished_after_the_reload(self):
        with socket.create_connection(("127.0.0.1", self.sidegate.port), timeout=PATIENCE) as wire:
            wire.sendall(
                f"POST /echo HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {self.token}\r\n"
                "Connection: close\r\nContent-Length: 10\r\n\r\nfirst".encode()
            )
            self.reload(self.settings(routes=[route(policy={"audiences": ["other"]})]))
            wire.sendall(b"-last")
            answer = b"".join(iter(lambda: wire.recv(65536), b"")).decode()
        self.assertTrue(answer.startswith("HTTP/1.1 200"), answer)
        self.assertIn('"body": "first-last"', answer)

    def test_a_broken_file_never_replaces_a_good_one_and_the_log_says_why(self):
        broken = {
            "not YAML": ("routes: [", r"error|invalid|YAML|line"),
            "an unknown key": ("lisseners: []\n", r"lisseners"),
            "an unknown upstream": ("routes:\n  - {paths: [/x], upstream: nowhere, public: true}\n", r"nowhere"),
        }
        for why, (text, reason) in broken.items():
            with self.subTest(why):
                before = len(self.sidegate.log())
                self.reload(text, good=False)
                self.assertRegex(self.sidegate.log()[before:], reason)
                self.assertEqual(self.status(), 200)
        self.reload(self.settings())
        self.assertEqual(self.status(), 200)


if __name__ == "__main__":
    harness.main()
