"""buildah, as the engine that builds and runs the image; hadolint, as its critic.

The stage that compiles is replaced by a directory with the binary under test (`--build-context`), so that the stage
that is shipped is built as it is, from the binary that the other parts of the tests have run.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

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


def sbom(**environment):
    """What the Dockerfile has written before the last stage."""
    command = [ROOT / ".ci/sbom", "--target", f"{os.uname().machine}-unknown-linux-gnu"]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **environment}).stdout


class Image(Peer):
    @classmethod
    def prepare(cls):
        out = WORK / "build/out"
        out.mkdir(parents=True)
        shutil.copy(BINARY, out / "sidegate")
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", out)
        (out / "sbom.json").write_text(sbom())
        cls.programs.callback(shutil.rmtree, WORK / "storage", ignore_errors=True)
        buildah(
            *("build", "--format", "docker", "--timestamp", "0", "--pull-never", "-t", "sidegate:test"),
            *("--build-context", f"build={out.parent}", "--build-arg", "VERSION=0.0.0-test"),
            *("--build-arg", "REVISION=0123456789ab"),
            *("-f", ROOT / "Dockerfile", ROOT),
        )
        cls.image = json.loads(buildah("inspect", "--type", "image", "sidegate:test"))["Docker"]["config"]
        cls.container = buildah("from", "--pull-never", "sidegate:test").strip()
        root = Path(buildah("mount", cls.container).strip())
        # Before anything runs: buildah then adds a hosts file and a resolv.conf, as every engine does.
        files = [path for path in root.rglob("*") if path.is_file()]
        read = {path: path.read_bytes() if path.suffix == ".json" else b"" for path in files}
        cls.files = {str(path.relative_to(root)): content for path, content in read.items()}
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
        sbom = self.image["Labels"]["io.github.sidegate.sbom"].removeprefix("/")
        self.assertEqual(set(self.files), {"usr/bin/sidegate", "etc/ssl/certs/ca-certificates.crt", sbom})

    def test_the_label_names_a_list_of_the_crates_that_is_valid_and_complete(self):
        text = self.files[self.image["Labels"]["io.github.sidegate.sbom"].removeprefix("/")].decode()
        self.assertIsNone(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text))
        listed = {(part["name"], part["version"]): part for part in json.loads(text)["components"]}
        lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
        checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock}
        for name in ("hyper", "rustls", "aws-lc-sys", "redb", "clap"):
            self.assertIn(name, {name for name, _ in listed})
        for name in ("criterion", "proptest", "cc", "prost"):
            self.assertNotIn(name, {name for name, _ in listed}, "it is in no binary as shipped")
        for crate, part in listed.items():
            self.assertEqual(part["hashes"][0]["content"], checksums[crate])
            self.assertIn("licenses", part)

    def test_the_list_is_the_same_each_time_and_says_which_commit(self):
        self.assertEqual(sbom(), sbom())
        program = json.loads(sbom(SIDEGATE_REVISION="0123456789ab"))["metadata"]["component"]
        self.assertEqual(program["properties"], [{"name": "sidegate:revision", "value": "0123456789ab"}])

    def test_the_image_says_who_runs_what(self):
        self.assertEqual(self.image["User"], "65532:65532")
        self.assertEqual(self.image["Entrypoint"], ["/usr/bin/sidegate"])
        self.assertEqual(self.image["Cmd"], ["run", "-c", "/etc/sidegate/sidegate.yaml"])
        self.assertEqual(set(self.image["ExposedPorts"]), {"8080/tcp", "9901/tcp"})
        self.assertEqual(self.image["Healthcheck"]["Test"], ["CMD", "/usr/bin/sidegate", "health"])
        self.assertEqual(self.image["Labels"]["org.opencontainers.image.version"], "0.0.0-test")
        self.assertEqual(self.image["Labels"]["org.opencontainers.image.revision"], "0123456789ab")
        self.assertEqual(self.image["Labels"]["org.opencontainers.image.licenses"], "Apache-2.0 OR MIT")

    def test_the_manifests_alone_are_enough_to_compile_what_sidegate_depends_on(self):
        # The stage that is cached: what it copies, and the two files that it writes in place of the sources.
        alone = WORK / "dependencies"
        recipe = (ROOT / "Dockerfile").read_text().split("FROM dependencies")[0]
        for line in recipe.splitlines():
            if line.startswith("COPY "):
                *sources, target = line.split()[1:]
                for source in sources:
                    place = alone / (source if target == "./" else target)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, place)
        (alone / "src").mkdir()
        (alone / "src/lib.rs").touch()
        (alone / "src/main.rs").write_text("fn main() {}\n")
        command = ["cargo", "build", "--locked", "--offline", "--bin", "sidegate", "--features", "", "--unit-graph"]
        planned = subprocess.run(
            [*command, "-Z", "unstable-options"],
            check=False,
            capture_output=True,
            text=True,
            cwd=alone,
            env={**os.environ, "RUSTC_BOOTSTRAP": "1"},
        )
        self.assertEqual(planned.returncode, 0, planned.stderr)
        units = {unit["pkg_id"].split("#")[-1].split("@")[0] for unit in json.loads(planned.stdout)["units"]}
        self.assertTrue({"hyper", "rustls", "aws-lc-sys"} <= units, units)

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
        listed = subprocess.run([Path(context) / ".ci/sbom"], check=False, capture_output=True, text=True)
        buildah("rm", container)
        self.assertEqual(checked.returncode, 0, checked.stderr[-4000:])
        self.assertEqual(listed.returncode, 0, listed.stderr)

    def test_the_binary_runs_in_the_empty_root(self):
        version = self.run_in("/usr/bin/sidegate", "--version")
        self.assertRegex(version, r"^sidegate \d+\.\d+\.\d+( \([0-9a-f]{12}(-dirty)?\))?$")

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
        healthcheck = self.image["Healthcheck"]
        self.assertEqual((healthcheck["Interval"], healthcheck["Timeout"]), (10_000_000_000, 3_000_000_000))
        self.run_in(*healthcheck["Test"][1:], "--address", f"127.0.0.1:{health}")
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
