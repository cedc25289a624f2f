"""Valgrind counts the instructions of a request on each main path; benches/budget holds them against the budget."""

import json
import os
import platform
import subprocess
import unittest
from pathlib import Path

import harness
from harness import BINARY, WORK, Peer

FOLDER = Path(__file__).parents[2] / "benches/budget"
COUNTS = WORK / "counts.json"


def compared(*options):
    """The exit code and the output of a run that compares."""
    command = [FOLDER / "run", "--check", *options]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    return ran.returncode, ran.stdout + ran.stderr


@unittest.skipUnless(platform.machine() == "x86_64", "the budget is one of x86-64")
class Budget(Peer):
    def test_a_no_path_is_dearer_than_its_budget_and_one_that_asks_twice_is_found(self):
        tools = os.environ["SIDEGATE_TEST_BENCH_TOOLS"]
        code, output = compared("--sidegate", BINARY, "--tools", tools, "--self-test", "--write", COUNTS)
        print(output)
        self.assertEqual(code, 0, output)

    def test_b_each_path_that_needs_a_twentieth_more_is_found(self):
        counts = json.loads(COUNTS.read_text())
        for name, count in counts.items():
            with self.subTest(name):
                self.expect_refusal(counts | {name: round(count / 1.05)}, f"{name} .*dearer than allowed")
        every = {name: round(count / 1.05) for name, count in counts.items()}
        self.expect_refusal(every, r"Most paths at once: the profile .* may have lapsed; \.ci/record makes a new one")

    def test_c_a_path_without_a_budget_and_a_budget_without_a_path_are_found(self):
        counts = json.loads(COUNTS.read_text())
        self.expect_refusal(
            {name: count for name, count in counts.items() if name != "public"}, "public .*has no budget"
        )
        self.expect_refusal(counts | {"private": 1}, "private: in the budget, but not counted")

    def test_d_what_was_counted_is_within_a_budget_of_that(self):
        budget = WORK / "same.json"
        budget.write_text(COUNTS.read_text())
        code, output = compared("--read", COUNTS, "--budget", budget)
        self.assertEqual(code, 0, output)

    def expect_refusal(self, budget, said):
        file = WORK / "budget.json"
        file.write_text(json.dumps(budget))
        code, output = compared("--read", COUNTS, "--budget", file)
        self.assertEqual(code, 1, output)
        self.assertRegex(output, said)


if __name__ == "__main__":
    harness.main()
