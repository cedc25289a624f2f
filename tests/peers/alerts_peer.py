"""The alert rules and the dashboard of the chart: promtool on every rule, and Prometheus on a sidegate in each trouble."""

import json
import re
import subprocess
from pathlib import Path

import harness
from alerts import cases
from harness import WORK, Peer

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts/sidegate/files/rules.yaml"
OPERATIONS = ROOT / "docs/operations.md"
TEXT = RULES.read_text()
ALERTS = re.findall(r"^ +- alert: (\w+)$", TEXT, re.MULTILINE)


def promtool(*arguments):
    """Its output; an error of its own if it finds one."""
    ran = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    output = ran.stdout + ran.stderr
    assert ran.returncode == 0, output
    return output


def metrics_in(text):
    """The series that an expression names."""
    return set(re.findall(r"\b(?:sidegate|process)_[a-z0-9_]+\b(?=[{\[) \n]|$)", text))


class Rules(Peer):
    """Without a running sidegate."""

    def test_promtool_finds_nothing_wrong_with_the_rules(self):
        self.assertIn("SUCCESS", promtool("check", "rules", RULES))

    def test_every_alert_says_how_urgent_it_is_whose_it_is_and_what_to_do(self):
        blocks = re.split(r"^ +- alert: ", TEXT, flags=re.MULTILINE)[1:]
        for block in blocks:
            alert = block.partition("\n")[0]
            with self.subTest(alert):
                self.assertRegex(
                    block,
                    r"labels: \{ severity: (page|ticket), concerns: (gateway|authority|store|upstream|security) \}",
                )
                self.assertRegex(block, r"\n +summary: \S")
                self.assertRegex(block, r"\n +description: >-\n +\S")
                self.assertRegex(block, rf"\n +runbook_url: https://\S+/docs/operations\.md#{alert.lower()}\n")

    def test_the_operations_page_has_a_section_for_every_alert_and_for_no_other(self):
        sections = re.findall(r"^### (Sidegate\w+)$", OPERATIONS.read_text(), re.MULTILINE)
        self.assertEqual(sorted(sections), sorted(ALERTS))

    def test_every_alert_has_a_case_in_which_it_fires(self):
        self.assertEqual({case.alert for case in cases.FIRES}, set(ALERTS))

    def test_every_series_that_a_rule_reads_is_there_where_all_is_well(self):
        expressions = re.sub(r"annotations:.*?runbook_url", "", TEXT, flags=re.DOTALL)
        read = {metric for metric in metrics_in(expressions) if not metric.startswith("sidegate_own")}
        there = {series.partition("{")[0] for series in cases.HEALTHY}
        self.assertEqual(read - there, set())


class Recorded(Peer):
    """promtool, on what Prometheus would have scraped for nine hours."""

    def run_cases(self, title, tests):
        path = WORK / f"{title}.yaml"
        path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
        promtool("test", "rules", path)

    def house(self, series, *expectations):
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": list(expectations),
        }

    def expect(self, minute, alerts=(), labels=()):
        """Exactly `alerts` fire, or of those with `labels`."""
        told = "".join(f', {label}="{value}"' for label, value in dict(labels).items())
        return {
            "expr": f'count by (alertname) (ALERTS{{alertstate="firing"{told}}})',
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(set(alerts))],
        }

    def expect_silence(self):
        ever = f'count by (alertname) (max_over_time(ALERTS{{alertstate="firing"}}[{cases.MINUTES}m]))'
        return {"expr": ever, "eval_time": f"{cases.MINUTES}m", "exp_samples": []}

    def test_each_alert_fires_in_its_trouble_alone_and_not_at_once(self):
        for case in cases.FIRES:
            with self.subTest(case.alert):
                pending, firing = cases.CALM + case.pending, cases.CALM + case.firing
                labels = {"namespace": "shop", "job": "sidegate", **case.labels, "alertname": case.alert}
                expectations = [
                    self.expect(cases.CALM - 1, case.before),
                    self.expect(pending, case.also),
                    self.expect(firing, [case.alert, *case.also]),
                    self.expect(firing, [case.alert], labels),
                ]
                self.run_cases(case.alert, [self.house({**cases.HEALTHY, **case.trouble}, *expectations)])

    def test_nothing_fires_where_all_is_well(self):
        self.run_cases("healthy", [self.house(cases.HEALTHY, self.expect_silence())])

    def test_nothing_fires_when_a_process_begins_anew_and_its_counters_with_it(self):
        self.run_cases("restarted", [self.house(cases.restarted(), self.expect_silence())])

    def test_nothing_fires_at_a_fresh_start(self):
        self.run_cases("fresh", [self.house(cases.fresh(), self.expect_silence())])


if __name__ == "__main__":
    harness.main()
