"""A new configuration by SIGHUP, and through swapped mounts, while requests are on the way."""

import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

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


class Mount:
    """A folder as the kubelet mounts a ConfigMap or a Secret: `..data` points to a folder with the time in its name."""

    def __init__(self, folder):
        self.folder, self.swaps, self.files = Path(folder), 0, {}
        self.folder.mkdir()

    def swap(self, **files):
        """Replaces these files (`_` stands for a dot), all in one moment."""
        self.files.update({name.replace("_", "."): text for name, text in files.items()})
        self.swaps += 1
        new = self.folder / f"..2026_11_22_14_00_00.{self.swaps:09}"
        new.mkdir()
        for name, text in self.files.items():
            (new / name).write_text(text)
            (new / name).chmod(0o440)
        data, draft = self.folder / "..data", self.folder / "..data_tmp"
        old = data.readlink() if data.is_symlink() else None
        draft.symlink_to(new.name)
        draft.rename(data)
        for name in self.files:
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(Path("..data") / name)
        if old:
            shutil.rmtree(self.folder / old)


class Mounted(Sidegate):
    """A sidegate whose configuration lies in one mount and its secrets in another; TLS on a second listener."""

    def __init__(self, folder, settings):
        folder = Path(folder)
        folder.mkdir()
        self.secrets = Mount(folder / "secrets")
        self.secrets.swap(**settings["secrets"])
        self.mount, self.tls_port = Mount(folder / "config"), harness.free_port()
        self.rest = settings["rest"]
        tls = {"certificate_file": "../secrets/tls.crt", "key_file": "../secrets/tls.key"}
        secure = {"name": "secure", "address": f"127.0.0.1:{self.tls_port}", "tls": tls}
        super().__init__(settings["rest"], more_listeners=[secure])

    def write(self, settings):
        self.mount.swap(sidegate_yaml=json.dumps({**self.base, **settings}, indent=1))
        self.config = self.mount.folder / "sidegate.yaml"


class Swapped(Peer):
    """Every kind of file, swapped through `..data` under load, and nobody sends a signal."""

    @classmethod
    def prepare(cls):
        cls.issuer, cls.nginx = Issuer(), cls.start(PlainNginx())
        cls.next = Issuer()
        cls.folder = Path(harness.WORK) / "swapped"
        cls.pairs = [certificate(cls.folder.with_name(f"pair-{number}")) for number in range(2)]
        cls.sidegate = cls.start(Mounted(cls.folder, {"secrets": cls.secrets(0), "rest": cls.settings(0)}))

    @classmethod
    def secrets(cls, number):
        chain, key = cls.pairs[number % 2]
        # The key that signs the requests under load is there all the time; the other comes and goes.
        first = [cls.issuer.key.as_dict(private=False)]
        second = [{**cls.next.key.as_dict(private=False), "kid": "key-2"}] if number % 2 else []
        users = [f"{{username: user-{n}, subject: u-{n}, password_hash: '{HASH}'}}" for n in range(1 + number % 3)]
        return {
            "tls_crt": chain,
            "tls_key": key,
            "keys_json": json.dumps({"keys": first + second}),
            "users_yaml": f"users: [{', '.join(users)}]\n",
            "hs_key": f"{number:08}-" + "5up3r-l0ng-s3cr3t-0f-4n-0ld-15su3r",
        }

    @classmethod
    def settings(cls, number):
        client = {"id": "app", "public": True, "grants": ["password", "refresh_token"]}
        return {
            "reload": {"interval": "1s"},
            "issuers": [
                {**cls.issuer.settings(), "jwks_file": "../secrets/keys.json"},
                {"name": "old", "issuer": "https://old.test.example", "hs_secret_file": "../secrets/hs.key"},
            ],
            "authority": {
                "issuer": "https://auth.test.example",
                "audiences": ["api"],
                "clients": [client],
                "users_file": "../secrets/users.yaml",
            },
            "store": {"memory": {}},
            "upstreams": [upstream(cls.nginx.port, credential={"none": {}})],
            "routes": [route(), route(name="changing", paths=[f"/changing/{number}"])],
            "log": {"access": "refused"},
        }

    def reloads(self, result):
        return self.sidegate.metric("sidegate_config_reloads_total", result=result)

    def wait_for(self, number, headers):
        path, certificate = f"/changing/{number}", self.pairs[number % 2][0]
        eventually("the route is there", lambda: self.sidegate.ask(path, headers=headers).status != 404)
        eventually("the certificate is there", lambda: self.shown() == certificate)

    def test_every_swap_under_load_is_taken_over_and_fails_no_request(self):
        swaps, token = 24 if LONG else 6, self.issuer.token()
        loads = [self.load(f"http://127.0.0.1:{self.sidegate.port}/", token, swaps * 3)]
        loads.append(self.load(f"https://127.0.0.1:{self.sidegate.tls_port}/", token, swaps * 3))
        for number in range(1, swaps + 1):
            before = self.reloads("success")
            self.sidegate.secrets.swap(**self.secrets(number))
            self.sidegate.write(self.settings(number))
            self.wait_for(number, bearer(token))
            self.assertGreater(self.reloads("success"), before)
        total = 0
        for load in loads:
            output = load.communicate(timeout=swaps * 3 + 60)[0]
            counts = [int(re.search(rf"requests:.* (\d+) {what}", output)[1]) for what in ("done", "failed", "errored")]
            self.assertEqual(counts[1:], [0, 0], output)
            self.assertRegex(output, r"status codes: \d+ 2xx, 0 3xx, 0 4xx, 0 5xx")
            total += counts[0]
        print(f"{total} requests during {swaps} swaps of two mounts, none failed", flush=True)
        self.assertTrue(total)
        self.assertEqual(self.reloads("failure"), 0)
        self.assertEqual(self.sidegate.metric("sidegate_config_last_reload_successful"), 1)

    def test_what_is_broken_is_told_and_the_old_goes_on_until_it_is_good_again(self):
        token = self.issuer.token()
        self.sidegate.secrets.swap(tls_key="-----BEGIN NOTHING\n", **{"users_yaml": "users: [\n"})
        eventually("it is refused", lambda: self.reloads("failure") == 1)
        self.assertEqual(self.sidegate.metric("sidegate_config_last_reload_successful"), 0)
        self.assertIn("the configuration was refused, the old one runs on", self.sidegate.log())
        self.assertEqual(self.sidegate.ask("/", headers=bearer(token)).status, 200)
        self.sidegate.secrets.swap(**self.secrets(0))
        eventually("it is good again", lambda: self.sidegate.metric("sidegate_config_last_reload_successful") == 1)
        self.assertEqual(self.reloads("failure"), 1)

    def shown(self):
        return ssl.get_server_certificate(("127.0.0.1", self.sidegate.tls_port))

    @staticmethod
    def load(url, token, seconds):
        command = ["h2load", "-D", str(seconds), "-c", "4", "-m", "8", "-t", "1"]
        command += ["-H", f"authorization: Bearer {token}", url]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def certificate(stem):
    """A certificate that signs itself and its key, as text."""
    chain, key = stem.with_suffix(".crt"), stem.with_suffix(".key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", chain],
        check=True,
        capture_output=True,
    )
    return chain.read_text(), key.read_text()


# Of a password that nobody uses here.
HASH = "$argon2id$v=19$m=19456,t=2,p=1$mDkkGA8i+tydV9l1ZTQbVg$eW6rx9bvE38H7XuUerLVsJuKLObp+qXXEpbyXnc6vLQ"


if __name__ == "__main__":
    harness.main()
