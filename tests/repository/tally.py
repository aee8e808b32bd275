#!/usr/bin/env python3
"""Adds up what a test run left in its results folder and prints the closing line.

    tally.py RESULTS_DIR

Read are checks.tsv (name, tab, pass or fail), gtest/*.json (one a test binary), ctest.xml and pytest.xml (JUnit). A
ctest entry that is a gtest binary counts by its cases; if it failed although every case passed (a crash while
leaving, a leak report), that is one failure more. Prints the failures' names, then "N passed, M failed" alone on a
line. Status 1 when something failed or nothing passed.
"""

import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def junit_cases(path):
    """(name, failed) of every case in a JUnit file; skipped ones are neither passed nor failed and are left out."""
    if not path.is_file():
        return
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            continue
        name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
        failed = case.get("status") == "fail" or case.find("failure") is not None or case.find("error") is not None
        yield name, failed


def gtest_cases(path):
    """(name, failed) of every case that a gtest binary ran."""
    for suite in json.loads(path.read_text())["testsuites"]:
        for case in suite["testsuite"]:
            if case["status"] == "RUN" and case["result"] != "SKIPPED":
                yield f"{path.stem}: {suite['name']}.{case['name']}", "failures" in case


def tally(folder):
    """Lists of the names that passed and failed."""
    results = []
    checks = folder / "checks.tsv"
    if checks.is_file():
        for line in checks.read_text().splitlines():
            name, outcome = line.split("\t")
            results.append((name, outcome != "pass"))
    by_binary = {path.stem: list(gtest_cases(path)) for path in sorted((folder / "gtest").glob("*.json"))}
    for cases in by_binary.values():
        results += cases
    for name, failed in junit_cases(folder / "ctest.xml"):
        binary = name.split("::")[-1]
        if binary not in by_binary or (failed and not any(case_failed for _, case_failed in by_binary[binary])):
            results.append((f"ctest: {binary}", failed))
    results += [(f"pytest: {name}", failed) for name, failed in junit_cases(folder / "pytest.xml")]
    return [n for n, failed in results if not failed], [n for n, failed in results if failed]


def main():
    passed, failed = tally(Path(sys.argv[1]))
    for name in failed:
        print(f"FAILED {name}")
    print(f"{len(passed)} passed, {len(failed)} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
