"""Prometheus, scraping a running sidegate."""

import json
import subprocess
import urllib.parse

import harness
from harness import WORK, Echo, Issuer, Peer, Program, Sidegate, ask, bearer, eventually, free_port, route, upstream


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

    def test_the_exposition_is_clean_for_promtool(self):
        exposition = ask(self.sidegate.health_port, "/metrics")
        self.assertTrue(exposition.headers["Content-Type"].startswith("text/plain"))
        checked = subprocess.run(["promtool", "check", "metrics"], input=exposition.body, capture_output=True)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, b""))

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
