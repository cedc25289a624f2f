"""The alert rules and the dashboard of the chart: promtool on the rules, Prometheus on sidegates in trouble."""

import http.client
import json
import re
import subprocess
import threading
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
from alerts import cases, load, troubles
from harness import WORK, Peer, Program, ask, background, eventually, free_port

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts/sidegate/files/rules.yaml"
OPERATIONS = ROOT / "docs/operations.md"
TEXT = RULES.read_text()
ALERTS = re.findall(r"^ +- alert: (\w+)$", TEXT, re.MULTILINE)
CONCERNED = {"gateway", "authority", "store", "upstream", "security"}
# What recording rules are called.
NOT_METRICS = {"sidegate_own_errors"}


def promtool(*arguments):
    """Its output; an error of its own if it finds one."""
    ran = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    output = ran.stdout + ran.stderr
    assert ran.returncode == 0, output
    return output


def metrics_in(text):
    """The series that an expression names."""
    return set(re.findall(r"\b(?:sidegate|process)_[a-z0-9_]+\b(?=[{\[) \n]|$)", text))


class Prometheus(Program):
    """One that looks each second; `targets` are ports by job."""

    def __init__(self, targets, rules=None):
        self.port = free_port()
        configuration = WORK / f"prometheus-{self.port}.yml"
        scraped = [
            {
                "job_name": job,
                "static_configs": [
                    {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "shop", "pod": f"{job}-0"}},
                ],
            }
            for job, port in targets.items()
        ]
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)] if rules else [],
            "scrape_configs": scraped,
        }
        configuration.write_text(json.dumps(settings))
        super().__init__(
            "prometheus",
            "prometheus",
            f"--config.file={configuration}",
            f"--storage.tsdb.path={WORK}/prometheus-{self.port}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )
        self.wait_open(self.port)

    def ask(self, path, **parameters):
        answer = ask(self.port, f"/api/v1/{path}?" + urllib.parse.urlencode(parameters)).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        """Labels and value of each sample that it gives now."""
        result = self.ask("query", query=expression)["result"]
        return [(sample["metric"], float(sample["value"][1])) for sample in result]


def go_on(one, over):
    while not over.is_set():
        try:
            one.act()
        except (OSError, http.client.HTTPException):
            pass  # that is the trouble
        over.wait(0.1)


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
                    block, r"\n +labels: \{ severity: (page|ticket), concerns: \w+(, explains: errors)? \}\n"
                )
                self.assertIn(re.search(r"concerns: (\w+)", block)[1], CONCERNED)
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
        read = metrics_in(expressions) - NOT_METRICS
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
        with ThreadPoolExecutor(2) as pool:
            running = [
                (case.alert, pool.submit(self.run_case, number, case)) for number, case in enumerate(cases.FIRES)
            ]
            for alert, ran in running:
                with self.subTest(alert):
                    ran.result()

    def run_case(self, number, case):
        pending, firing = cases.CALM + case.pending, cases.CALM + case.firing
        labels = {"namespace": "shop", "job": "sidegate", **case.labels, "alertname": case.alert}
        expectations = [
            self.expect(cases.CALM - 1, case.before),
            self.expect(pending, case.also),
            self.expect(firing, [case.alert, *case.also]),
            self.expect(firing, [case.alert], labels),
        ]
        self.run_cases(f"{number}-{case.alert}", [self.house({**cases.HEALTHY, **case.trouble}, *expectations)])

    def test_nothing_fires_where_all_is_well(self):
        self.run_cases("healthy", [self.house(cases.HEALTHY, self.expect_silence())])

    def test_nothing_fires_when_a_process_begins_anew_and_its_counters_with_it(self):
        self.run_cases("restarted", [self.house(cases.restarted(), self.expect_silence())])

    def test_nothing_fires_at_a_fresh_start(self):
        self.run_cases("fresh", [self.house(cases.fresh(), self.expect_silence())])


class Live(Peer):
    """A sidegate in each trouble at once, and a Prometheus for which a minute is over after a second."""

    # Not the fault of a sidegate on a machine that has other things to do.
    maxDiff = None
    NOT_JUDGED = {"SidegateSlow"}

    @classmethod
    def prepare(cls):
        rules = WORK / "fast.yaml"
        rules.write_text(cls.faster(TEXT))
        with ThreadPoolExecutor(4) as pool:
            cls.all = list(pool.map(lambda trouble: trouble(cls.start), troubles.ALL))
        targets = {trouble.name: trouble.sidegate.health_port for trouble in cls.all}
        cls.prometheus = cls.start(Prometheus(targets, rules))
        up = lambda: len(cls.prometheus.query("sidegate_build_info")) == len(cls.all)  # noqa: E731
        eventually("every target was scraped", up, patience=60)
        cls.over = threading.Event()
        cls.programs.callback(cls.over.set)
        for trouble in cls.all:
            background(lambda trouble=trouble: go_on(trouble, cls.over))

    @staticmethod
    def faster(text):
        seconds = {"m": 1, "h": 60, "d": 24 * 60}
        text = re.sub(r"\[(\d+)([mhd])\]", lambda found: f"[{int(found[1]) * seconds[found[2]]}s]", text)
        text = re.sub(r"for: (\d+)m", r"for: \1s", text)
        # Fetches of keys keep their pauses, so an hour without them is a bit shorter still.
        return text.replace("3600", "20")

    def fired(self):
        """What has fired so far, by job."""
        fired = {trouble.name: set() for trouble in self.all}
        ever = 'max by (job, alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))'
        for labels, _ in self.prometheus.query(ever):
            fired[labels["job"]].add(labels["alertname"])
        return fired

    def test_each_trouble_makes_its_own_alert_fire_and_no_other(self):
        expected = {trouble.name: set(trouble.alerts) for trouble in self.all}
        last = {}

        def all_fired():
            last.update(self.fired())
            return all(expected[name] <= last[name] for name in expected)

        try:
            eventually("all alerts fire", all_fired, patience=240, pause=1)
        finally:
            seen = {name: sorted(alerts - self.NOT_JUDGED) for name, alerts in last.items()}
            self.assertEqual(seen, {name: sorted(alerts) for name, alerts in expected.items()})
        for alert in self.prometheus.ask("alerts")["alerts"]:
            for text in alert["annotations"].values():
                self.assertNotRegex(text, r"\{\{|<no value>|<error|%!|NaN", alert["labels"])


DASHBOARD = json.loads((ROOT / "charts/sidegate/files/dashboard.json").read_text())
# What Grafana has had no replacement for, at the time of the dashboard's schema.
PANELS = {"row", "stat", "timeseries", "table"}


def panels():
    """Those in rows that are folded as well."""
    for panel in DASHBOARD["panels"]:
        yield panel
        yield from panel.get("panels", ())


def expressions():
    """Where each stands, and what it is."""
    for annotation in DASHBOARD["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], annotation["expr"]
    for panel in panels():
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", target["expr"]


class Dashboard(Peer):
    """As it is written."""

    def test_each_panel_is_told_apart_has_its_place_and_says_what_it_shows(self):
        ids, taken = [panel["id"] for panel in panels()], set()
        self.assertEqual(len(ids), len(set(ids)))
        for panel in panels():
            with self.subTest(panel["title"]):
                self.assertIn(panel["type"], PANELS)
                if panel["type"] == "row":
                    continue
                self.assertEqual(panel["datasource"]["uid"], "${datasource}")
                if panel["type"] != "table":
                    self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
                if panel["type"] == "timeseries":
                    self.assertTrue(all(target["legendFormat"] for target in panel["targets"]))
                place = panel["gridPos"]
                cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
                self.assertLessEqual(place["x"] + place["w"], 24)
                folded = panel not in DASHBOARD["panels"]
                self.assertTrue(folded or not cells & taken, "it covers another panel")
                taken |= set() if folded else cells

    def test_whoever_looks_can_choose_the_data_source_and_what_is_shown(self):
        names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
        self.assertEqual(names, ["datasource", "namespace", "job", "pod"])
        for place, expression in expressions():
            with self.subTest(place):
                if "sidegate_" in expression.replace("and on (job, instance) sidegate_build_info", ""):
                    self.assertIn('namespace=~"$namespace", job=~"$job"', expression)


class Load(Peer):
    """Each query of the dashboard, on what Prometheus has scraped from sidegates under load."""

    VARIABLES = {"$namespace": "shop", "$job": "(gateway|broker)", "$pod": ".*", "$__rate_interval": "15s"}

    @classmethod
    def prepare(cls):
        cls.all = [kind(cls.start) for kind in (load.Gateway, load.Broker)]
        targets = {one.name: one.sidegate.health_port for one in cls.all}
        cls.prometheus = cls.start(Prometheus(targets, RULES))
        cls.over = threading.Event()
        cls.programs.callback(cls.over.set)
        for one in cls.all:
            background(lambda one=one: go_on(one, cls.over))

    def filled_in(self, expression):
        for variable, value in self.VARIABLES.items():
            expression = expression.replace(variable, value)
        self.assertNotIn("$", expression)
        return expression

    def test_each_query_of_the_dashboard_gives_numbers(self):
        missing = dict(expressions())

        def all_there():
            for place, expression in list(missing.items()):
                # Not a number is what a quantile of nothing is.
                if any(value == value for _, value in self.prometheus.query(self.filled_in(expression))):
                    del missing[place]
            return not missing

        # Nothing changes the configuration under load.
        del missing["Reloads"]
        try:
            eventually("each query gives numbers", all_there, patience=90, pause=1)
        finally:
            self.assertEqual(missing, {})

    def test_each_variable_of_the_dashboard_has_values(self):
        for variable in DASHBOARD["templating"]["list"][1:]:
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
            series = eventually(
                "it was scraped", lambda asked=asked: self.prometheus.query(self.filled_in(asked[1])), patience=60
            )
            self.assertTrue(all(asked[2] in labels for labels, _ in series), variable["name"])

    def test_sidegate_has_each_series_that_a_rule_or_the_dashboard_names_and_so_has_the_page_of_metrics(self):
        known = {line.split()[2] for one in self.all for line in self.exposition(one) if line.startswith("# TYPE")}
        # What only some of them have.
        known |= {name + end for name in known for end in ("_bucket", "_count", "_sum")}
        rules = re.sub(r"annotations:.*?runbook_url", "", TEXT, flags=re.DOTALL)
        named = metrics_in("\n".join([rules, *(expression for _, expression in expressions())])) - NOT_METRICS
        self.assertEqual(named - known, set())
        page = (ROOT / "docs/metrics.md").read_text()
        families = {re.sub("_(bucket|count|sum)$", "", name) for name in named if name.startswith("sidegate_")}
        self.assertEqual({name for name in families if f"`{name}`" not in page}, set())

    def test_the_labels_that_the_recorded_cases_carry_are_those_of_sidegate(self):
        there = {}
        for one in self.all:
            for line in self.exposition(one):
                if found := re.match(r"(\w+)(?:\{(.*)\})? ", line):
                    labels = frozenset(re.findall(r'(\w+)="', found[2] or ""))
                    there.setdefault(found[1], set()).add(labels)
        for series in cases.HEALTHY:
            metric, _, labels = series.partition("{")
            if metric != "up":
                names = frozenset(re.findall(r'(\w+)="', labels)) - cases.TARGET.keys()
                self.assertIn(names, there.get(metric, ()), metric)

    def exposition(self, one):
        return ask(one.sidegate.health_port, "/metrics").text().splitlines()


if __name__ == "__main__":
    harness.main()
