"""python3 -B benches/charts/draw_test.py: what is drawn from the measurements of the repository, and from less."""

import copy
import json
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import figures
import tables

FOLDER = Path(__file__).resolve().parents[2] / "docs/performance"
SIDE, SCALING = (json.loads((FOLDER / f"{name}.json").read_text()) for name in ("side_by_side", "scaling"))


class Draw(unittest.TestCase):
    def test_equal_measurements_make_equal_files(self):
        again = copy.deepcopy((SIDE, SCALING))
        self.assertEqual(figures.all_of(SIDE, SCALING), figures.all_of(*again))
        self.assertEqual(tables.all_of(SIDE, SCALING), tables.all_of(*again))

    def test_each_chart_is_svg_with_a_title_in_light_and_dark_and_nothing_that_runs(self):
        for name, (alternative, svg) in figures.all_of(SIDE, SCALING).items():
            with self.subTest(name):
                root = ElementTree.fromstring(svg)
                names = {element.tag.rpartition("}")[2] for element in root.iter()}
                self.assertLessEqual({"title", "desc", "style"}, names)
                self.assertFalse(names & {"script", "foreignObject", "image"})
                self.assertIn("prefers-color-scheme: dark", svg)
                self.assertTrue(alternative)

    def test_what_was_not_measured_is_left_out(self):
        less = copy.deepcopy(SIDE) | {"ratios": [], "figures": [], "memory": [], "connection_memory": []}
        less["summary"] = {"nginx": SIDE["summary"]["nginx"]}
        self.assertEqual({"in-short", "cpu", "idle"}, set(figures.all_of(less, None)))
        made = tables.all_of(less, None)
        self.assertIn("nginx", made["cpu"])
        self.assertEqual("", made["sentence"])
        self.assertIn("Not measured", made["figures"])

    def test_a_peer_that_is_ahead_is_named(self):
        row = {"name": "ours / theirs", "of": ["sidegate auth 1", "nginx"], "median": 1.2, "best": 1.1}
        self.assertIn("ours / theirs (1.20)", tables.ahead({"ratios": [row]}))
        self.assertNotIn("theirs", tables.ahead({"ratios": [row | {"median": 0.9}]}))

    def test_what_another_machine_misses_is_said_beside_what_holds_here(self):
        row = {"name": "ours / theirs", "median": 0.5, "best": 0.4, "must": 0.5}
        machine = {"cpu": "Abacus(R)", "cores": 2, "virtual": False, "kernel": "1"}
        more = {"versions": {}, "rounds": 5, "seconds": 1.0, "summary": {}}
        here, there = ({"ratios": [row | {"median": median}], "machine": machine} | more for median in (0.5, 0.6))
        made = tables.beside_elsewhere(here, there)
        self.assertIn("| ours / theirs | 0.50 | 0.50 (0.40) | 0.60 (0.40) **missed** |", made)
        self.assertIn("cores of an Abacus, Linux 1", made)
        self.assertEqual("Not measured.", tables.beside_elsewhere(here, None))

    def test_a_bound_that_the_best_round_misses_is_missed(self):
        row = {"median": 1.0, "best": 1.2, "must": 1.1, "aim": 1.0}
        self.assertEqual("**missed**", tables.demand(row)[-1])
        self.assertEqual("holds", tables.demand(row | {"best": 1.1})[-1])
        self.assertEqual("aim reached", tables.demand(row | {"best": 0.9})[-1])


if __name__ == "__main__":
    unittest.main()
