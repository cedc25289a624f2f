"""buildah, as the engine that builds and runs the image; hadolint, as its critic.

The stage that compiles is replaced by a directory with the binary under test (`--build-context`), so that the stage
that is shipped is built as it is, from the binary that the other parts of the tests have run.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import harness
from harness import BINARY, WORK, Echo, Issuer, Peer, Program, ask, bearer, free_port, route, upstream

ROOT = Path(__file__).parents[2]
ISOLATED = {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}  # neither namespaces nor overlays are needed
STORAGE = ["--root", WORK / "storage", "--runroot", WORK / "storage-run"]


def buildah(*arguments):
    ran = subprocess.run(
        ["buildah", *map(str, STORAGE), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **ISOLATED},
    )
    if ran.returncode:
        raise AssertionError(f"buildah {arguments[0]} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


class Image(Peer):
    @classmethod
    def prepare(cls):
        out = WORK / "build/out"
        out.mkdir(parents=True)
        shutil.copy(BINARY, out / "sidegate")
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", out)
        cls.programs.callback(shutil.rmtree, WORK / "storage", ignore_errors=True)
        buildah(
            *("build", "--format", "docker", "--timestamp", "0", "--pull-never", "-t", "sidegate:test"),
            *("--build-context", f"build={out.parent}", "--build-arg", "VERSION=0.0.0-test"),
            *("-f", ROOT / "Dockerfile", ROOT),
        )
        cls.image = json.loads(buildah("inspect", "--type", "image", "sidegate:test"))["Docker"]["config"]
        cls.container = buildah("from", "--pull-never", "sidegate:test").strip()
        root = Path(buildah("mount", cls.container).strip())
        # Before anything runs: buildah then adds a hosts file and a resolv.conf, as every engine does.
        cls.files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        cls.programs.callback(buildah, "rm", cls.container)

    def run_in(self, *command):
        return buildah("run", self.container, "--", *command)

    def processes(self):
        """The /proc directories of what runs in the container."""
        command = b"\0".join(part.encode() for part in ["/usr/bin/sidegate", *self.image["Cmd"], ""])
        return [path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if path.read_bytes() == command]

    def test_the_binary_is_static_and_loads_at_any_address(self):
        shown = subprocess.run(["readelf", "-lhd", BINARY], check=True, capture_output=True, text=True).stdout
        self.assertNotIn("INTERP", shown)
        self.assertNotIn("(NEEDED)", shown)
        self.assertRegex(shown, r"Type:\s+DYN")

    def test_the_image_holds_the_binary_and_the_roots_and_nothing_else(self):
        self.assertEqual(self.files, {"usr/bin/sidegate", "etc/ssl/certs/ca-certificates.crt"})

    def test_the_image_says_who_runs_what(self):
        self.assertEqual(self.image["User"], "65532:65532")
        self.assertEqual(self.image["Entrypoint"], ["/usr/bin/sidegate"])
        self.assertEqual(self.image["Cmd"], ["run", "-c", "/etc/sidegate/sidegate.yaml"])
        self.assertEqual(set(self.image["ExposedPorts"]), {"8080/tcp", "9901/tcp"})
        self.assertEqual(self.image["Healthcheck"]["Test"], ["CMD", "/usr/bin/sidegate", "health"])
        self.assertEqual(self.image["Labels"]["org.opencontainers.image.version"], "0.0.0-test")
        self.assertEqual(self.image["Labels"]["org.opencontainers.image.licenses"], "Apache-2.0 OR MIT")

    def test_the_build_context_holds_all_that_the_binary_is_made_of(self):
        recipe = WORK / "Dockerfile.context"
        recipe.write_text("FROM scratch\nCOPY . /\n")
        buildah("build", "-t", "context:test", "-f", recipe, ROOT)
        container = buildah("from", "--pull-never", "context:test").strip()
        context = buildah("mount", container).strip()
        target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
        checked = subprocess.run(
            ["cargo", "check", "--locked", "--bin", "sidegate", "--target-dir", target],
            check=False,
            capture_output=True,
            text=True,
            cwd=context,
        )
        buildah("rm", container)
        self.assertEqual(checked.returncode, 0, checked.stderr[-4000:])

    def test_the_binary_runs_in_the_empty_root(self):
        self.assertRegex(self.run_in("/usr/bin/sidegate", "--version"), r"^sidegate \d+\.\d+\.\d+")

    def test_the_container_serves_as_an_unprivileged_user(self):
        issuer, echo, port, health = Issuer(), self.start(Echo()), free_port(), free_port()
        mounted = WORK / "mounted"
        mounted.mkdir()
        shutil.copy(issuer.jwks_file, mounted / "keys.json")
        configuration = {
            "listeners": [{"address": f"127.0.0.1:{port}"}],
            "health": {"address": f"127.0.0.1:{health}"},
            "issuers": [issuer.settings(jwks_file="keys.json")],
            # A name rather than an address: the resolver works in the empty root, too.
            "upstreams": [upstream(echo.port, url=f"http://localhost:{echo.port}", credential={"none": {}})],
            "routes": [route()],
        }
        (mounted / "sidegate.yaml").write_text(json.dumps(configuration))
        for path in (WORK, mounted):
            path.chmod(0o755)
        running = self.start(
            Program(
                "container",
                *("buildah", *STORAGE, "run", "-v", f"{mounted}:/etc/sidegate:ro", self.container, "--"),
                *("/usr/bin/sidegate", *self.image["Cmd"]),
                env=ISOLATED,
            )
        )
        running.wait_open(port, health)
        answer = ask(port, "/things", headers=bearer(issuer.token()))
        self.assertEqual(answer.status, 200, answer.text())
        self.assertEqual(ask(port, "/things").status, 401)
        self.run_in("/usr/bin/sidegate", "health", "--address", f"127.0.0.1:{health}")
        users = {(process / "status").stat().st_uid for process in self.processes()}
        self.assertEqual(users, {65532})

    def test_hadolint_finds_nothing_in_the_dockerfile_and_something_in_a_bad_one(self):
        hadolint = Path(sys.executable).parent / "hadolint"
        found = subprocess.run([hadolint, ROOT / "Dockerfile"], check=False, capture_output=True, text=True)
        self.assertEqual((found.returncode, found.stdout), (0, ""))
        bad = WORK / "Dockerfile.bad"
        bad.write_text("FROM debian\nRUN cd /tmp && apt-get install curl\n")
        self.assertNotEqual(subprocess.run([hadolint, bad], check=False, capture_output=True).returncode, 0)


if __name__ == "__main__":
    harness.main()
