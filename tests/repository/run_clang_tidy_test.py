#!/usr/bin/env python3
"""What passed is not checked again while it is as it was, in another clone either; everything else is."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).with_name("run_clang_tidy.py")
# Stands in for clang-tidy: notes what it is asked to check, and refuses a source that says BAD.
TIDY = """#!/bin/sh
if [ "$1" = --version ]; then echo "${TIDY_VERSION:-1}"; exit; fi
for source; do :; done
echo "$source" >>"$TIDY_LOG"
! grep BAD "$source"
"""
NINJA = """rule cxx
  command = g++ {flags} -include {root}/all.h -MD -MF $out.d -c $in -o $out
  deps = gcc
  depfile = $out.d
rule pch
  command = g++ {flags} -x c++-header -MD -MF $out.d -c $in -o $out
  deps = gcc
  depfile = $out.d
build ../all.h.gch: pch {root}/all.h
build one.o: cxx {root}/one.cpp | ../all.h.gch
build two.o: cxx {root}/two.cpp | ../all.h.gch
"""


class Clone:
    """A repository of two sources, one of which includes a header, built with Ninja."""

    def __init__(self, root, cache):
        self.root, self.cache, self.flags = root, cache, "-O1"
        for name, text in {"one.cpp": '#include "one.h"\n', "one.h": "int one();\n", "two.cpp": "int two();\n",
                           "all.h": '#include "deep.h"\n', "deep.h": "int deep();\n",
                           ".clang-tidy": "Checks: x\n", "clang-tidy": TIDY, ".gitignore": "build\n*.gch\n"}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        (root / "clang-tidy").chmod(0o755)
        (root / "tests/repository").mkdir(parents=True)
        (root / "build").mkdir()
        shutil.copy(SCRIPT, root / "tests/repository")
        subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)

    def build(self):
        (self.root / "build/build.ninja").write_text(NINJA.format(flags=self.flags, root=self.root))
        entries = [{"directory": str(self.root / "build"), "file": str(self.root / f"{name}.cpp"), "output": f"{name}.o",
                    "command": f"g++ {self.flags} -include {self.root}/all.h -c {self.root}/{name}.cpp"} for name in ("one", "two")]
        (self.root / "build/compile_commands.json").write_text(json.dumps(entries))
        subprocess.run(["ninja", "-C", "build", "--quiet"], cwd=self.root, check=True)

    def checked(self, *arguments, built=True, status=0, **environment):
        """Which sources are asked of clang-tidy."""
        if built:
            self.build()
        log = self.root / "build/log"
        log.write_text("")
        environment = os.environ | {"XDG_CACHE_HOME": str(self.cache), "TIDY_LOG": str(log),
                                    "CLANG_TIDY": str(self.root / "clang-tidy")} | environment
        done = subprocess.run([sys.executable, "tests/repository/run_clang_tidy.py", "build", "--all", *arguments], cwd=self.root,
                              env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return sorted(log.read_text().split())


@unittest.skipUnless(shutil.which("ninja") and shutil.which("g++"), "needs ninja and g++")
class RunClangTidy(unittest.TestCase):
    def setUp(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.cache = folder / "cache"
        self.clone, self.other = Clone(folder / "a", self.cache), Clone(folder / "b", self.cache)

    def test_what_passed_is_not_asked_again(self):
        self.assertEqual(self.clone.checked(), ["one.cpp", "two.cpp"])
        self.assertEqual(self.clone.checked(), [])
        self.assertEqual(self.other.checked(), [])

    def test_a_header_is_part_of_what_includes_it(self):
        self.clone.checked()
        (self.clone.root / "one.h").write_text("int one(int);\n")
        self.assertEqual(self.clone.checked(), ["one.cpp"])

    def test_what_the_precompiled_header_includes_counts(self):
        self.clone.checked()
        (self.clone.root / "deep.h").write_text("int deep(int);\n")
        self.assertEqual(self.clone.checked(), ["one.cpp", "two.cpp"])

    def test_what_has_no_object_or_an_older_one_is_asked(self):
        self.clone.checked()
        (self.clone.root / "build/two.o").unlink()
        (self.clone.root / "two.cpp").write_text("// BAD\n")
        self.assertEqual(self.clone.checked(built=False, status=1), ["two.cpp"])
        (self.clone.root / "build/two.o").touch()  # its dependencies are not those of this object
        self.assertEqual(self.clone.checked(built=False, status=1), ["two.cpp"])

    def test_again_asks_all(self):
        self.clone.checked()
        self.assertEqual(self.clone.checked("--again"), ["one.cpp", "two.cpp"])

    def test_without_a_place_for_notes_all_is_asked(self):
        self.cache.write_text("no folder")
        for _ in range(2):
            self.assertEqual(self.clone.checked(), ["one.cpp", "two.cpp"])

    def test_flags_rules_and_version_count(self):
        self.clone.checked()
        self.clone.flags = "-O2"
        self.assertEqual(self.clone.checked(), ["one.cpp", "two.cpp"])
        (self.clone.root / ".clang-tidy").write_text("Checks: y\n")
        self.assertEqual(self.clone.checked(), ["one.cpp", "two.cpp"])
        self.assertEqual(self.clone.checked(TIDY_VERSION="2"), ["one.cpp", "two.cpp"])

    def test_what_failed_is_asked_again_and_what_was_beside_it_is_not(self):
        (self.clone.root / "one.cpp").write_text("// BAD\n")
        self.assertEqual(self.clone.checked(status=1), ["one.cpp", "two.cpp"])
        self.assertEqual(self.clone.checked(status=1), ["one.cpp"])

    def test_a_source_changed_after_the_build_is_always_asked(self):
        self.clone.checked()
        (self.clone.root / "new.h").write_text("int two();\n")
        (self.clone.root / "two.cpp").write_text('#include "new.h"\n')
        for _ in range(2):  # nothing knows yet that it includes a header
            self.assertEqual(self.clone.checked(built=False), ["two.cpp"])
        self.assertEqual(self.clone.checked(), ["two.cpp"])
        self.assertEqual(self.clone.checked(), [])


if __name__ == "__main__":
    unittest.main()
