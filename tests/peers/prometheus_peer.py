"""Prometheus, scraping a running sidegate."""

import json
import subprocess
import urllib.parse
from pathlib import Path

import harness
from harness import WORK, Echo, Issuer, Peer, Program, Sidegate, ask, bearer, eventually, free_port, route, upstream

ROOT = Path(__file__).parents[2]


class Prometheus(Peer):
    @classmethod
    def prepare(cls):
        cls.issuer, echo = Issuer(), cls.start(Echo())
        cls.sidegate = cls.start(
            Sidegate(
                {
                    "issuers": [cls.issuer.settings()],
                    "upstreams": [upstream(echo.port, credential={"none": {}})],
                    "routes": [route()],
                }
            )
        )
        for _ in range(5):
            cls.sidegate.ask("/things", headers=bearer(cls.issuer.token()))
        cls.sidegate.ask("/things")
        cls.port = free_port()
        configuration = WORK / "prometheus.yml"
        configuration.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                    "scrape_configs": [
                        {
                            "job_name": "sidegate",
                            "static_configs": [{"targets": [f"127.0.0.1:{cls.sidegate.health_port}"]}],
                        }
                    ],
                }
            )
        )
        cls.start(
            Program(
                "prometheus",
                "prometheus",
                f"--config.file={configuration}",
                f"--storage.tsdb.path={WORK}/prometheus",
                f"--web.listen-address=127.0.0.1:{cls.port}",
            )
        ).wait_open(cls.port)

    def query(self, expression):
        answer = ask(self.port, "/api/v1/query?" + urllib.parse.urlencode({"query": expression})).json()
        return [(sample["metric"], float(sample["value"][1])) for sample in answer["data"]["result"]]

    def check(self, sidegate):
        exposition = ask(sidegate.health_port, "/metrics")
        self.assertTrue(exposition.headers["Content-Type"].startswith("text/plain"))
        checked = subprocess.run(["promtool", "check", "metrics"], input=exposition.body, capture_output=True)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, b""))
        return exposition.text()

    def test_the_exposition_is_clean_for_promtool(self):
        self.check(self.sidegate)

    def test_what_a_larger_configuration_counts_is_clean_as_well(self):
        upstreams = [{"name": f"up{number}", "url": "http://127.0.0.1:9", "protocol": "http2"} for number in range(70)]
        routes = [
            {
                "name": f"route{number}",
                "paths": [f"/{number}"],
                "upstream": f"up{number}",
                "mode": "observe",
                "policy": {"issuers": ["local", "test"], "audiences": ["api"]},
            }
            for number in range(70)
        ]
        secret = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
        app = {"id": "app", "secret_hashes": [secret], "grants": ["client_credentials"], "scopes": ["read"]}
        authority = {"issuer": "http://127.0.0.1:8080", "audiences": ["api"], "clients": [app]}
        sidegate = Sidegate(
            {
                "issuers": [self.issuer.settings()],
                "authority": authority,
                "store": {"memory": {}},
                "upstreams": upstreams,
                "routes": routes,
            }
        )
        self.addCleanup(sidegate.stop)
        text = self.check(sidegate)
        for series in ('{grpc_code="OK",route="other"}', 'dialect="oauth2"', 'upstream="other"', 'store="memory"'):
            self.assertIn(series, text)
        self.assertNotIn('route="route64"', text)
        self.assertLess(len(text.splitlines()), 20_000)

    def test_prometheus_knows_each_family_that_is_documented(self):
        rows = (ROOT / "docs/metrics.md").read_text().splitlines()
        rows = [[cell.strip(" `") for cell in row.split("|")] for row in rows if row.startswith("| `sidegate_")]
        documented = {name: kind for _, name, kind, *_ in rows}
        self.assertGreater(len(documented), 60)

        def known():
            metadata = ask(self.port, "/api/v1/metadata").json()["data"]
            ours = {name: said[0] for name, said in metadata.items() if name.startswith("sidegate_")}
            self.assertTrue(all(said["help"] for said in ours.values()))
            return {name: said["type"] for name, said in ours.items()}

        eventually("the target is scraped", known)
        # Those of traces are there in builds with that feature only.
        optional = {name for name in documented if name.startswith("sidegate_spans_")} - known().keys()
        self.assertEqual(known(), {name: kind for name, kind in documented.items() if name not in optional})

    def test_what_has_not_happened_yet_is_zero(self):
        for series in (
            'sidegate_upstream_requests_total{upstream="api",code="none"}',
            'sidegate_auth_decisions_total{route="all",reason="undecided"}',
            'sidegate_config_reloads_total{result="failure"}',
            'sidegate_cache_requests_total{cache="verdicts",result="coalesced"}',
            "sidegate_log_lines_dropped_total",
            "sidegate_config_watch_errors_total",
        ):
            samples = eventually(f"{series} is scraped", lambda series=series: self.query(series))
            self.assertEqual([value for _, value in samples], [0], series)

    def test_the_build_says_what_it_is(self):
        ((labels, value),) = eventually("the target is scraped", lambda: self.query("sidegate_build_info"))
        self.assertEqual((value, labels["crypto"]), (1, "aws-lc-rs"))
        self.assertRegex(labels["version"], r"^\d+\.\d+\.\d+")
        self.assertRegex(labels["rustc"], r"^\d+\.\d+\.\d+")

    def test_prometheus_counts_the_requests(self):
        samples = eventually("the target is scraped", lambda: self.query("sum(sidegate_http_requests_total)"))
        self.assertGreaterEqual(samples[0][1], 6)
        self.assertEqual(self.query('up{job="sidegate"}')[0][1], 1)

    def test_a_refused_and_an_allowed_request_are_told_apart(self):
        eventually("the target is scraped", lambda: self.query("sidegate_http_requests_total"))
        by_code = {
            metric["code"]: value for metric, value in self.query("sum by (code) (sidegate_http_requests_total)")
        }
        self.assertGreaterEqual(by_code["2xx"], 5)
        self.assertGreaterEqual(by_code["4xx"], 1)

    def test_every_sample_has_labels_of_the_configuration_only(self):
        text = ask(self.sidegate.health_port, "/metrics").text()
        for secret in ("alice", "/things", self.issuer.issuer):
            self.assertNotIn(secret, text)


if __name__ == "__main__":
    harness.main()
