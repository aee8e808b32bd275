#!/usr/bin/env python3
"""The closing line counts every kind of result once, and a crash is not lost."""

import json
import tempfile
import unittest
from pathlib import Path

from tally import tally

GTEST = {"testsuites": [{"name": "Rope", "testsuite": [
    {"name": "Rotates", "status": "RUN", "result": "COMPLETED"},
    {"name": "KeepsNorm", "status": "RUN", "result": "COMPLETED", "failures": [{"failure": "1 vs 2"}]},
    {"name": "Off", "status": "NOTRUN", "result": "SUPPRESSED"},
]}]}
GREEN = {"testsuites": [{"name": "Plan", "testsuite": [{"name": "Cuts", "status": "RUN", "result": "COMPLETED"}]}]}
CTEST = """<testsuite>
<testcase name="kernels_test" classname="kernels_test" status="fail"><failure message=""/></testcase>
<testcase name="model_test" classname="model_test" status="{model}"/>
<testcase name="layering" classname="layering" status="run"/>
<testcase name="crashed_test" classname="crashed_test" status="fail"><failure message="SEGFAULT"/></testcase>
</testsuite>"""
PYTEST = """<testsuites><testsuite>
<testcase classname="parity" name="test_flow"/>
<testcase classname="parity" name="test_text"><failure message="x"/></testcase>
<testcase classname="parity" name="test_gpu"><skipped/></testcase>
</testsuite></testsuites>"""


class Tally(unittest.TestCase):
    def run_with(self, model_status, **files):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "gtest").mkdir()
            (folder / "gtest/kernels_test.json").write_text(json.dumps(GTEST))
            (folder / "gtest/model_test.json").write_text(json.dumps(GREEN))
            (folder / "ctest.xml").write_text(CTEST.format(model=model_status))
            for path, text in files.items():
                (folder / path.replace("__", ".")).write_text(text)
            return tally(folder)

    def test_all_kinds(self):
        passed, failed = self.run_with("run", pytest__xml=PYTEST, checks__tsv="format\tpass\ntidy\tfail\n")
        self.assertEqual(sorted(passed), sorted(
            ["format", "kernels_test: Rope.Rotates", "model_test: Plan.Cuts", "ctest: layering", "pytest: parity::test_flow"]))
        self.assertEqual(sorted(failed), sorted(
            ["tidy", "kernels_test: Rope.KeepsNorm", "ctest: crashed_test", "pytest: parity::test_text"]))

    def test_binary_that_fails_after_its_last_case(self):
        _, failed = self.run_with("fail")
        self.assertIn("ctest: model_test", failed)

    def test_nothing_ran(self):
        with tempfile.TemporaryDirectory() as name:
            self.assertEqual(tally(Path(name)), ([], []))


if __name__ == "__main__":
    unittest.main()
