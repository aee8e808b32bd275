#!/usr/bin/env python3
"""Runs clang-tidy on the sources without LibTorch (3 s each, so always) and on those that changed.

    run_clang_tidy.py BUILD_DIR [--all] [--again]

Changed means different from the merge base with the default branch; on the default branch itself, from the commit
before. A source also counts as changed when a header beside it with its name did. With --all: every source; with --again:
also those that passed as they are.

A source that passed is not checked again while nothing that it is made of has changed: the source, each header that the
compiler read for it or for its precompiled header, its flags, .clang-tidy, and clang-tidy's version. What passed is noted in the user's cache folder,
as ccache keeps objects, so that a second clone profits too. A source that was not built as it is now is always
checked.
"""

import argparse
import concurrent.futures
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT_DAYS = 30
# The build's precompiled header is g++'s; clang reads the header itself.
ARGUMENTS = ["--quiet", "--extra-arg=-Wno-ignored-gch", "--extra-arg=-Wno-unknown-warning-option"]


def lines_of(*command, cwd=ROOT):
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()


def base_commit():
    """What the present commit is compared with."""
    head = lines_of("git", "rev-parse", "HEAD")[0]
    for branch in ("origin/HEAD", "origin/main", "main"):
        found = subprocess.run(["git", "merge-base", "HEAD", branch], cwd=ROOT, check=False, capture_output=True, text=True)
        if found.returncode == 0:
            if found.stdout.strip() != head:
                return found.stdout.strip()
            break
    before = subprocess.run(["git", "rev-parse", "--quiet", "--verify", "HEAD~1"], cwd=ROOT, check=False, capture_output=True, text=True)
    return before.stdout.strip() or lines_of("git", "hash-object", "-t", "tree", "/dev/null")[0]


def wanted_sources(every):
    untracked = ["git", "ls-files", "--others", "--exclude-standard"]
    if every:
        return set(lines_of("git", "ls-files", "*.cpp")) | set(lines_of(*untracked, "*.cpp"))
    changed = lines_of("git", "diff", "--name-only", "--diff-filter=d", base_commit()) + lines_of(*untracked)
    beside = {path.removesuffix(".h") + ".cpp" for path in changed if path.endswith((".cpp", ".h"))}
    return beside.union(lines_of(sys.executable, "tests/repository/source_rules.py", "--list-torch-free"))


def read_by_compiler(build, objects):
    """For each of these object files: what the compiler read to make it, as Ninja recorded it, unless that is outdated."""
    ninja = shutil.which("ninja") or str(ROOT / ".venv" / "bin" / "ninja")
    read, reading = {}, None
    for line in lines_of(ninja, "-C", str(build), "-t", "deps", cwd=build):
        if not line.startswith(" "):
            made = line.split(": #deps")[0]
            reading = read.setdefault(made, set()) if made in objects and line.endswith("(VALID)") else None
        elif reading is not None:
            reading.add(line.strip())
    return read


@functools.cache
def digest_of(path):
    """Of a file's bytes, from which this clone's own path is taken, for generated headers name it."""
    return hashlib.sha256(path.read_bytes().replace(os.fsencode(ROOT), b".")).hexdigest()


def objects_of(entry):
    """What Ninja calls the object of a compilation, and that of its precompiled header, if any."""
    included = re.search(r" -include (\S+)", entry["command"])
    header = [os.path.relpath(included[1] + ".gch", entry["directory"])] if included else []
    return [entry["output"], *header]


def files_read(entries, read):
    """By their names to Ninja, all files that a source's compilations read; none where that is not known of each."""
    objects = [made for entry in entries for made in objects_of(entry)]
    if not all(read.get(made) for made in objects):
        return {}
    return {name: Path(entries[0]["directory"], name) for made in objects for name in read[made]}


def is_as_built(entries, files):
    """Whether no file has changed since the source was compiled."""
    objects = [Path(entry["directory"], entry["output"]) for entry in entries]
    if not files or not all(path.is_file() for path in (*objects, *files.values())):
        return False
    built = min(path.stat().st_mtime for path in objects)
    return all(path.stat().st_mtime <= built for path in files.values())


def key_of(entries, files, version):
    """Everything that decides what clang-tidy says of a source."""
    parts = [version, digest_of(ROOT / ".clang-tidy"), *ARGUMENTS]
    parts += sorted(entry["command"].replace(str(ROOT), ".") for entry in entries)
    for name in sorted(files):
        parts += [name.replace(str(ROOT), "."), digest_of(files[name])]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def cache_folder():
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vmla-clang-tidy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"clang-tidy: nothing is noted as passed: {error}")
        return None
    for note in folder.iterdir():
        if time.time() - note.stat().st_mtime > KEPT_DAYS * 86400:
            note.unlink(missing_ok=True)
    return folder


def check(tidy, build, source):
    done = subprocess.run([tidy, "-p", str(build), *ARGUMENTS, source], cwd=ROOT, check=False, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + ("" if done.returncode == 0 else done.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, metavar="BUILD_DIR")
    parser.add_argument("--all", action="store_true", help="every source")
    parser.add_argument("--again", action="store_true", help="also what passed as it is")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    tidy = os.environ.get("CLANG_TIDY") or shutil.which("clang-tidy") or str(ROOT / ".venv" / "bin" / "clang-tidy")
    version = "\n".join(lines_of(tidy, "--version"))

    # Only what this build compiles can be checked: the database holds its flags, once for each target of a source.
    compiled = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        compiled.setdefault(os.path.relpath(Path(entry["directory"], entry["file"]), ROOT), []).append(entry)
    sources = sorted(wanted_sources(arguments.all) & compiled.keys())
    cache = cache_folder()
    read = read_by_compiler(build, {made for source in sources for entry in compiled[source] for made in objects_of(entry)})
    files, notes = {}, {}
    for source in sources if cache else ():
        files[source] = files_read(compiled[source], read)
        if is_as_built(compiled[source], files[source]):
            notes[source] = cache / key_of(compiled[source], files[source], version)
    passed_before = [source for source, note in notes.items() if note.exists() and not arguments.again]
    for source in passed_before:
        notes[source].touch()
    unchecked = [source for source in sources if source not in passed_before]
    print(f"clang-tidy: {len(sources)} sources, {len(passed_before)} of which passed before as they are", flush=True)

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for source, (passed, said) in zip(unchecked, pool.map(functools.partial(check, tidy, build), unchecked)):
            if said.strip():
                print(said.strip(), flush=True)
            # Not where it was edited meanwhile.
            if passed and source in notes and is_as_built(compiled[source], files[source]):
                notes[source].touch()
            failed += not passed
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
