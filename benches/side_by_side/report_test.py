"""Of the report's arithmetic: python3 -m unittest discover -s benches/side_by_side -p '*_test.py'"""

import unittest
from pathlib import Path

import contestants
import report


def visit(number, cpu, noisy=False, **more):
    return {"round": number, "noisy": noisy, "unexpected": 0, "broken": 0, report.CPU: cpu, "per_second": 1e6 / cpu,
            "p50_us": 100.0, "p99_us": 200.0, **more}


def result(*visits, idle_kib=10_240, after_kib=10_240):
    return {"visits": list(visits), "idle_kib": idle_kib, "after_kib": after_kib}


def ratio_of(results, name):
    return next(ratio for ratio in report.ratios(report.summary(results), results) if ratio["name"] == name)


class Report(unittest.TestCase):
    def test_median_against_median_and_best_against_best(self):
        results = {
            "sidegate passthrough": result(visit(1, 14), visit(2, 12), visit(3, 30)),
            "nginx": result(visit(1, 10), visit(2, 8), visit(3, 20)),
        }
        found = ratio_of(results, "passthrough / nginx")
        self.assertEqual((found["median"], found["best"]), (1.4, 1.5))
        self.assertEqual((found["must"], found["at_most"], found["aim"]), (1.40, 1.40, 1.15))
        self.assertIs(found["holds"], False, "the best does not")

    def test_each_round_is_compared_with_itself(self):
        # The machine becomes half as fast; no round of its own is above 1.2.
        results = {
            "sidegate passthrough": result(visit(1, 12), visit(2, 24), visit(3, 22)),
            "nginx": result(visit(1, 10), visit(3, 20), visit(4, 20)),
        }
        found = ratio_of(results, "passthrough / nginx")
        self.assertEqual([one["round"] for one in found["per_round"]], [1, 3], "rounds that both have")
        self.assertAlmostEqual(found["rounds_median"], 1.15)

    def test_noisy_visits_count_only_where_fewer_than_two_are_quiet(self):
        quiet = [visit(1, 10), visit(2, 20), visit(3, 90, noisy=True)]
        row = report.summary({"nginx": result(*quiet)})["nginx"]
        self.assertEqual((row["visits"], row["quiet"], row[report.CPU]["median"]), (3, 2, 15))
        loud = [visit(1, 10), visit(2, 20, noisy=True), visit(3, 90, noisy=True)]
        row = report.summary({"nginx": result(*loud)})["nginx"]
        self.assertEqual((row["quiet"], row[report.CPU]["median"], row[report.CPU]["best"]), (1, 20, 10))

    def test_who_was_never_visited_is_in_no_table(self):
        self.assertEqual(report.summary({"envoy": {"visits": [], "idle_kib": 1}}), {})

    def test_a_bound_that_is_met_exactly_holds_and_none_says_nothing(self):
        self.assertIs(report.holds(1.0, 1.0, 0.9), True)
        self.assertIs(report.holds(None, 1.0), None)

    def test_memory_of_a_token_is_what_came_with_all_but_the_first(self):
        rows = report.summary({
            "sidegate auth 1 original": result(visit(1, 10), after_kib=20_000),
            "sidegate auth 50k original": result(visit(1, 10), after_kib=20_000 + 49_999 // 2),
        })
        (found,) = report.memory(rows, 50_000)
        self.assertEqual((found["credential"], found["at_most"]), ("original", 0.6))
        self.assertAlmostEqual(found["kib_per_token"], 0.5, places=4)

    def test_figures_in_milliseconds_and_mebibytes_have_bounds_too(self):
        results = {"sidegate auth 1": {**result(visit(1, 10), idle_kib=9 * 1024), "start_ms": {"min": 9, "median": 26}}}
        start, idle = report.figures(report.summary(results), [], [])
        self.assertEqual((start["best"], start["holds"], idle["median"], idle["holds"], idle["holds_aim"]),
                         (9, False, 9, True, False))

    def test_every_name_in_a_ratio_is_a_contestant(self):

        nowhere = {"RS256": Path(), "ES256": Path()}
        names = {one.name for one in contestants.contestants(None, Path(), nowhere, 0)}
        compared = {name for ratio in report.RATIOS for name in (ratio.above, ratio.below)}
        self.assertEqual(compared - names, set())
        self.assertEqual(names - compared, {"sidegate auth 50k original"}, "which is there for its memory")


if __name__ == "__main__":
    unittest.main()
