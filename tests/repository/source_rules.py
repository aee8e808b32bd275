#!/usr/bin/env python3
"""Rules of the source tree that no compiler checks.

    source_rules.py [--root DIR] [--list-torch-free] [RULE...]

Each rule is a function from a SourceTree to lines "file:line: what was found, and what would be right". Without a
RULE all of them run. Status 1 when one of them found something.
"""

import argparse
import os
import re
import sys
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

from source_tree import HEADER_SUFFIXES, SourceTree

# Who may include whom: each folder, and what it may include besides itself. A name stands for its subfolders too, so
# "model" is all of model/. docs/architecture.md says why. model/io is free of LibTorch; what knows of ranks lies in
# trainer/distributed and above it.
BELOW = {
    "kernels": set(),
    "model/io": set(),
    "model/config": {"model/io"},
    "model/weights": {"model/io", "model/config", "kernels"},
    "model/formats": {"model/io", "model/config", "model/weights"},
    "model/text": {"model/io", "model/formats"},
    "model/codec": {"model/io", "model/formats", "model/text", "kernels"},
    "model/network": {"model/io", "model/config", "model/weights", "kernels"},
    "model/sampling": {"model/io", "model/config", "model/weights", "model/network", "kernels"},
    # Calibration runs the dense model on noised clips.
    "model/conversion": {"model/io", "model/config", "model/weights", "model/network", "model/sampling", "kernels"},
    "data/store": {"model/io"},
    "data/video": {"model/io"},
    "data/synth": {"model/io", "kernels", "data/video"},
    "data/loading": {"model/io", "kernels", "data/store"},
    "data/encode": {"model", "kernels", "data/store", "data/video", "data/synth", "data/loading"},
    "data/import": {"model", "data/store", "data/video", "data/encode"},
    "data/inspect": {"model", "data/store"},
    "data": {"model", "kernels", "data"},
    "analysis/page": {"model/io"},
    "analysis/rank": {"model", "kernels", "data"},
    "analysis/video": {"model", "kernels", "data", "analysis/page"},
    "analysis/runs": {"model/io", "analysis/rank"},
    "analysis/report": {"model/io", "data", "analysis/page", "analysis/rank", "analysis/video", "analysis/runs"},
    "analysis/study": {"model", "kernels", "data/store", "analysis/page", "analysis/rank", "analysis/report"},
    "analysis/sweep": {"model/io", "analysis/page", "analysis/runs"},
    "trainer/distributed/job": {"model/io"},
    "trainer/distributed/collectives": {"model/io", "kernels", "trainer/distributed/job"},
    "trainer/distributed/faults": {"model/io", "trainer/distributed/job", "trainer/distributed/collectives"},
    "trainer/distributed/sharding": {"model", "trainer/distributed/collectives"},
    "trainer/config": {"model", "data", "trainer/distributed"},
    "trainer/telemetry": {"kernels", "model/io"},
    "trainer/pipeline": {"model/io", "model/config", "trainer/config"},
    "trainer/sweep": {"model/io", "model/config", "trainer/config", "trainer/pipeline"},
    "trainer/objectives": {"kernels", "model", "data", "trainer/config"},
    "trainer/inputs": {"kernels", "model", "data", "trainer/config", "trainer/objectives"},
    "trainer/checkpoint": {"kernels", "model", "trainer/distributed"},
    "trainer/roles": {"kernels", "model", "data", "trainer/config", "trainer/distributed", "trainer/objectives",
                      "trainer/inputs", "trainer/checkpoint"},
    "trainer/planner": {"kernels", "model", "data", "trainer/config", "trainer/distributed", "trainer/objectives",
                        "trainer/inputs", "trainer/checkpoint", "trainer/roles", "trainer/telemetry"},
    "trainer/evaluation": {"kernels", "model", "data", "analysis", "trainer/config", "trainer/distributed",
                           "trainer/objectives", "trainer/inputs", "trainer/roles"},
    "trainer/observers": {"kernels", "model", "data", "analysis", "trainer/config", "trainer/distributed",
                          "trainer/checkpoint", "trainer/inputs", "trainer/roles", "trainer/telemetry"},
    "trainer": {"kernels", "model", "data", "analysis", "trainer"},
    "launch/options": {"model/io"},
    "launch/launcher": {"model/io", "trainer/distributed/job", "launch/options"},
    "launch": {"kernels", "model", "data", "analysis", "trainer", "launch"},
}
LAYERED = {layer.split("/")[0] for layer in BELOW}
TORCH = re.compile(r"^(ATen|torch|c10|caffe2)/")
# Slow to compile (10 to 20 s a file) or bound to a back end; each names the only folder that may have it.
HEAVY = {
    re.compile(r"^torch/(torch|all|nn|extension)\.h$|^torch/nn/|^torch/script\.h$"): None,
    re.compile(r"^torch/csrc/distributed/|^gloo/|^nccl\.h$"): "trainer/distributed",
}
SPDLOG = re.compile(r"^(spdlog|fmt)/")
# What a header may include besides ours: the standard library and C headers (no slash and no suffix, or name.h), the
# tensor's handle, and LibTorch's core types, which cost a fraction of a second.
IN_HEADERS = re.compile(r"^([a-z0-9_]+|[a-z0-9]+\.h|sys/[a-z_]+\.h|ATen/core/Tensor\.h|c10/core/\w+\.h)$")
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "common", "misc"}
OPEN_ENDS = re.compile(r"\b(TODO|FIXME|XXX|GTEST_SKIP|DISABLED_\w+)\b")
MACHINE_PATHS = re.compile("(?<![\\w.$}])/(" + "work" + "|root|home/[a-z]+)/")
GENERATED = {"build_commit.h", "kernel_table_hash.h"}  # headers that the build writes
LARGEST_FILE_BYTES = 1_000_000
# What is written down once: a pattern of code (comments and texts inside longer strings do not count), and the files that
# may have it. Elsewhere the table is read: objective_traits(), sharding_mode(), the list of init methods.
ONE_PLACE = {
    "a sharding mode": (
        re.compile(r'"(?:zero1|zero2|hybrid)"'),
        ("trainer/distributed/sharding/sharding_mode.",)),
    "an init method": (
        re.compile(r'"(?:svd_weight)"'),
        ("model/conversion/",)),
}
JSON_PARSER = re.compile(r"\b\w*(?:[jJ]son|Document)::(?:parse|sax_parse|accept)\(")
# These count depth themselves: what is nested is thrown away as it is read.
JSON_PARSERS = {"model/io/json_text.h", "model/io/safetensors_header.cpp", "data/video/caption_files.cpp",
                "analysis/runs/run_reading.cpp"}
THROWING_NUMBER = re.compile(r"\bstd::sto(?:i|l|ll|ul|ull|f|d|ld)\(")
# A range-based for; a folder that this program has just made is its own.
LOOP_OVER_FOLDER = re.compile(r"\bfor \([^;]*: *(?:fs|std::filesystem)::directory_iterator\(|(?:any|all|none)_of\((?:fs|std::filesystem)::directory_iterator")
HEADING = re.compile(r"#{1,6} +(.*\S)")
SECTION = re.compile(r"\d+(?:\.\d+)*")
# A page, and behind it maybe sections of it: numbers (docs/page.md 3.1, 3.4 and 5 to 7) or a heading in quotes.
CITATION = re.compile(r"(?<![\w/.-])(?P<page>[\w./-]*\w\.md)\b(?:(?P<word>,? section)? +(?P<numbers>\d+(?:\.\d+)*"
                      r"(?:(?:,| and| to) +\d+(?:\.\d+)*)*)|\s+\\?\"(?P<title>[^\s\"\\][^\"\\]*)\\?\")?")
COMMENT_MARK = re.compile(r"^\s*(///?|#+|\*)?\s*")
LINK = re.compile(r"\]\(([^()\s]+)\)")
CODE = re.compile(r"`[^`]*`")


def folder_of(path):
    """The layer that a path belongs to, the longest that fits; None for tests, bench and the like."""
    fitting = [layer for layer in BELOW if path.startswith(layer + "/")]
    return max(fitting, key=len, default=None)


def may_include(layer, other):
    """True where `other` is the folder itself or stands in its list, by its own name or by that of a folder above."""
    return other == layer or any(other == low or other.startswith(low + "/") for low in BELOW[layer])


def layering(tree):
    """kernels < model < data < analysis < trainer < launch, and the order of the folders inside them; nothing includes
    upwards, nobody includes tests."""
    for path in tree.code():
        layer = folder_of(path)
        if layer is None:
            if path.split("/")[0] in LAYERED:
                yield f"{path}:1: lies in no folder whose includes are ruled; move it, or give its folder a line in BELOW"
            continue
        for include in tree.includes(path):
            if include.angled:
                continue
            other = folder_of(include.path)
            where = f"{path}:{include.line}"
            if other is None and include.path.split("/")[0] in ("tests", "bench"):
                yield f"{where}: {layer} includes {include.path}; only tests and bench may"
            elif other is not None and not may_include(layer, other):
                allowed = ", ".join(sorted(BELOW[layer])) or "LibTorch alone"
                yield f"{where}: {layer} includes {include.path}; below {layer} are {allowed}"


def torch_free(tree):
    """A target declared NO_TORCH reaches no LibTorch header; spdlog and fmt stay inside such targets."""
    for target in tree.targets():
        for path in target.files:
            if not (tree.root / path).is_file():
                continue
            for reached, chain in tree.reached(path).items():
                for include in tree.includes(reached):
                    where = f"{reached}:{include.line}"
                    if target.torch_free and TORCH.match(include.path):
                        yield f"{where}: {target.name} is free of LibTorch but {' -> '.join(chain)} includes <{include.path}>"
                    if not target.torch_free and SPDLOG.match(include.path):
                        yield (f"{where}: <{include.path}> is seen by {target.name}, which has LibTorch (and its other "
                               "fmt) on its include path; log through model/io/log.h")


def heavy_includes(tree):
    """torch/torch.h nowhere, communication libraries only in trainer/distributed, headers hold what they must."""
    for path in tree.code():
        for include in tree.includes(path):
            where = f"{path}:{include.line}"
            for pattern, only_in in HEAVY.items():
                allowed = only_in and path.startswith((only_in + "/", "tests/" + only_in + "/"))
                if pattern.match(include.path) and not allowed:
                    place = f"only {only_in} may" if only_in else "use <ATen/ATen.h> in a source file"
                    yield f"{where}: includes <{include.path}>; {place}"
            if (Path(path).suffix == ".h" and folder_of(path) and include.angled
                    and not IN_HEADERS.match(include.path)):
                yield (f"{where}: a header includes <{include.path}>; headers include the standard library, "
                       "<ATen/core/Tensor.h>, <c10/core/...> and our own headers")
            if Path(path).suffix == ".cu" and TORCH.match(include.path):
                yield f"{where}: device code includes <{include.path}>; .cu files see no LibTorch header"


def include_form(tree):
    """Our headers are included by full path in quotes, and once: save those that one source includes several times."""
    ours = set(tree.code())
    repeated = set()
    for path in tree.code():
        included = [include.path for include in tree.includes(path)]
        repeated |= {header for header in included if included.count(header) > 1}
    # What such a body includes is a part of it, and read as often.
    pending = list(repeated)
    while pending:
        parts = {i.path for i in tree.includes(pending.pop()) if i.path in ours and "#pragma once" not in tree.text(i.path)}
        pending += parts - repeated
        repeated |= parts
    for path in tree.code():
        once = "#pragma once" in tree.text(path)
        if Path(path).suffix in HEADER_SUFFIXES and not once and path not in repeated:
            yield f"{path}:1: has no #pragma once"
        for include in tree.includes(path):
            where = f"{path}:{include.line}"
            if include.angled and include.path in ours:
                yield f'{where}: <{include.path}> is ours; write "{include.path}"'
            elif not include.angled and include.path not in ours | GENERATED:
                yield f'{where}: "{include.path}" is no file of this tree; give the full path from the root'


def cmake_form(tree):
    """Sources are listed one by one, each of them in a target, and LibTorch is found by our own module."""
    for path in tree.cmake_files():
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            line = line.split("#")[0]
            if re.search(r"\bfile\s*\(\s*GLOB", line, re.I):
                yield f"{path}:{number}: file(GLOB); list the sources"
            if re.search(r"find_package\s*\(\s*Torch\b", line):
                yield f"{path}:{number}: find_package(Torch) forces CUDA on; use find_package(LibTorch)"
    listed = {file for target in tree.targets() for file in target.files}
    # What others include stands in the target's list of headers, so that it is compiled alone; a header that only
    # sources beside it include may stay out.
    for target in tree.targets():
        for file in target.files:
            if (tree.root / file).is_file():
                listed |= {header for header in tree.reached(file) if Path(header).parent == Path(file).parent}
    for path in tree.code():
        if folder_of(path) and path not in listed:
            yield f"{path}:1: is in no target; list it in its folder's CMakeLists.txt or remove it"


def names(tree):
    """A file is named after the concept it holds."""
    for path in tree.files:
        for part in Path(path).with_suffix("").parts:
            if part.lower() in EMPTY_NAMES:
                yield f"{path}:1: '{part}' names no concept"


def open_ends(tree):
    """Nothing is left open in the code, and no test is switched off."""
    for path in tree.files:
        if Path(path).suffix not in {".cpp", ".h", ".cu", ".cuh", ".py", ".cmake"} or path.startswith("tests/repository/"):
            continue
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            match = OPEN_ENDS.search(line)
            if match:
                yield f"{path}:{number}: {match[0]}; finish it or write an issue"


def portable(tree):
    """No path of one machine, and no large file: fixtures are made by the tests."""
    for path in tree.files:
        size = (tree.root / path).stat().st_size
        if size > LARGEST_FILE_BYTES:
            yield f"{path}:1: {size} bytes; the largest file here has {LARGEST_FILE_BYTES}"
            continue
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            match = MACHINE_PATHS.search(line)
            if match:
                yield f"{path}:{number}: '{match[0]}' is a path of one machine"


class Page:
    """The headings of a page of the documentation: by their text, their number, and the anchor that GitHub gives them."""

    def __init__(self, text):
        # Lines of a code block are none of the page's own: neither headings nor links.
        self.lines, fenced = [], False
        for line in text.splitlines():
            fence = line.lstrip().startswith("```")
            self.lines.append("" if fenced or fence else line)
            fenced ^= fence
        titles = [match[1] for match in map(HEADING.match, self.lines) if match]
        self.titles = {plain(title) for title in titles}
        self.numbers = {match[0] for match in map(SECTION.match, titles) if match}
        self.anchors = set()
        for title in titles:
            anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            again = sum(re.fullmatch(re.escape(anchor) + r"(-\d+)?", other) is not None for other in self.anchors)
            self.anchors.add(f"{anchor}-{again}" if again else anchor)


# The target of a link, from where the name of the page begins: `](../README.md`.
LINKED = re.compile(r"(?<=\]\()[\w./-]+\.md")


def plain(title):
    """A heading as a citation spells it: without the marks of code, in single spaces."""
    return " ".join(title.replace("`", "").split())


def joined(text):
    """The text as one line without comment marks, and how to find the line of a place in it: what is cited may go on in
    the next line of a comment."""
    lines = [COMMENT_MARK.sub("", line) for line in text.splitlines()]
    ends = list(accumulate(len(line) + 1 for line in lines))
    return " ".join(lines), lambda place: bisect_right(ends, place) + 1


def citations(tree):
    """What a comment, a message or a page cites is a page of this repository, and a heading in it."""
    pages = {path: Page(tree.text(path)) for path in tree.files if path.endswith(".md")}
    stems = "|".join(sorted(Path(path).stem for path in pages if path.startswith("docs/")))
    bare = re.compile(rf"(?<![\w/.-])({stems}),? (?:section )?\d+(?:\.\d+)*") if stems else None
    for path in tree.files:
        # The rules' own files plant violations; the others hold no prose.
        if path.startswith("tests/repository/") or path == "LICENSE" or Path(path).suffix in {".json", ".png"}:
            continue
        text, line_of = joined("\n".join(pages[path].lines) if path in pages else tree.text(path))
        for match in CITATION.finditer(text):
            where, name = f"{path}:{line_of(match.start())}", match["page"]
            # A page names another from its own folder; a source that writes a page of docs/ does so too.
            beside = os.path.normpath(Path(path).parent / name) if path in pages else os.path.normpath(Path("docs") / name)
            page = pages.get(name) or (pages.get(beside) if path in pages or LINKED.match(text, match.start()) else None)
            if page is None:
                yield f"{where}: {name} is no page of this repository"
                continue
            if match["word"]:
                yield f"{where}: '{match[0]}'; write the number right behind the page"
            for number in SECTION.findall(match["numbers"] or ""):
                if number not in page.numbers:
                    yield f"{where}: {name} has no section {number}"
            if match["title"] and plain(match["title"]) not in page.titles:
                yield f"{where}: {name} has no heading \"{plain(match['title'])}\""
        for match in bare.finditer(text) if bare else ():
            yield f"{path}:{line_of(match.start())}: '{match[0]}'; a page is cited by its path: docs/{match[1]}.md"
    for path, page in pages.items():
        for number, line in enumerate(page.lines, 1):
            for target in LINK.findall(CODE.sub("", line)):
                name, _, anchor = target.partition("#")
                there = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
                if re.match(r"\w+:", target):
                    continue
                if not (tree.root / there).exists():
                    yield f"{path}:{number}: the link leads to {there}, which is not there"
                elif anchor and anchor not in (pages[there].anchors if there in pages else ()):
                    yield f"{path}:{number}: the link leads to #{anchor}, and {there} has no such heading"


PATH_IN_PAGE = re.compile(r"`((?:kernels|model|data|analysis|trainer|launch|configs|tests|bench|docs|cmake)/[\w./*{},-]*)`")
PLACEHOLDER = re.compile(r"(?<![A-Za-z])[A-Z]{2,}(?!\.md)(?![A-Za-z])")  # NAME, OP: what a reader fills in
# Folders that users and runs make.
MADE_LATER = ("data/cache", "data/wan")


def paths_in_pages(tree):
    """A file or folder that a page names in backquotes exists; `*` stands for anything, `{a,b}` for both."""
    known = set(tree.files) | {str(folder) for file in tree.files for folder in Path(file).parents}
    for page in tree.files:
        if not page.endswith(".md") or page == "CHANGELOG.md":
            continue
        for number, line in enumerate(tree.text(page).splitlines(), 1):
            for match in PATH_IN_PAGE.finditer(line):
                for path in braces(match[1].rstrip("/")):
                    pattern = re.compile(re.escape(path).replace(r"\*", "[^/]*"))
                    # A module is named without its suffix: model/network/kv_cache.
                    if path.startswith(MADE_LATER) or PLACEHOLDER.search(path) or any(
                            pattern.fullmatch(name) or pattern.fullmatch(name.rsplit(".", 1)[0]) for name in known):
                        continue
                    yield f"{page}:{number}: {path} is not there; name the place where it is now"


def braces(path):
    """a{b,c} as ab and ac."""
    match = re.search(r"\{([^{}]*)\}", path)
    if not match:
        return [path]
    return [whole for part in match[1].split(",") for whole in braces(path[:match.start()] + part + path[match.end():])]


OBJECTIVE_TABLE = "trainer/config/objective_config.h"
OBJECTIVE_ROW = re.compile(r"^  (\w+Config) (\w+);$", re.M)  # a member of ObjectiveConfig: its section's type and name


def facts(tree):
    """ONE_PLACE, and the objectives as their table names them."""
    rows = OBJECTIVE_ROW.findall(tree.text(OBJECTIVE_TABLE)) if OBJECTIVE_TABLE in tree.files else []
    if not rows:
        return ONE_PLACE
    names, types = "|".join(name for _, name in rows), "|".join(kind for kind, _ in rows)
    pattern = re.compile(rf'"(?:{names})"|\b(?:{types})\b|\w\.objective\.(?:{names})\b')
    # teacher_forcing is also a way of calling the network.
    return {**ONE_PLACE, "an objective": (pattern, ("trainer/objectives/", OBJECTIVE_TABLE[:-1],
                                                    "trainer/config/validate_objective.cpp", "launch/commands/forward"))}


def one_place(tree):
    """A fact about an objective, a sharding mode or an init method is read from its table, never compared by name."""
    known = facts(tree)
    for path in tree.code():
        if folder_of(path) is None:
            continue
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            code = line.split("//")[0]
            for what, (pattern, places) in known.items():
                match = pattern.search(code)
                if match and not path.startswith(places):
                    yield f"{path}:{number}: {match[0]} names {what}; only {', '.join(places)} may, others read the table"


def checked_json(tree):
    """Text becomes a JSON document in model/io/json_text.h alone, which looks first how deep it is nested."""
    for path in tree.code():
        if folder_of(path) is None or path in JSON_PARSERS:
            continue
        for number, line in enumerate((tree.root / path).read_text().splitlines(), 1):
            match = JSON_PARSER.search(line.split("//")[0])
            if match:
                yield f"{path}:{number}: {match[0].strip()}...) parses what was not checked; io::parse_json does"


def raw_exceptions(tree):
    """Nothing that throws an exception of the standard library at what a user wrote or a folder holds: std::stoi and
    its kin throw at text that is no number, a loop over a folder at an entry that cannot be read."""
    for path in tree.code():
        if folder_of(path) is None:
            continue
        for number, line in enumerate((tree.root / path).read_text().splitlines(), 1):
            code = line.split("//")[0]
            if THROWING_NUMBER.search(code):
                yield f"{path}:{number}: throws at what is no number; std::from_chars says so"
            if LOOP_OVER_FOLDER.search(code):
                yield f"{path}:{number}: throws at an entry that cannot be read; entry.increment(error) says so"


RULES = (checked_json, raw_exceptions, layering, torch_free, heavy_includes, include_form, cmake_form, names, open_ends, one_place, portable, citations, paths_in_pages)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=Path(__file__).resolve().parents[2])
    parser.add_argument("--list-torch-free", action="store_true", help="print the sources that see no LibTorch header")
    parser.add_argument("rules", nargs="*", metavar="RULE", help=", ".join(r.__name__ for r in RULES))
    args = parser.parse_args()
    known = {rule.__name__: rule for rule in RULES}
    unknown = [name for name in args.rules if name not in known]
    if unknown:
        parser.error(f"no rule '{unknown[0]}'; known: {', '.join(known)}")
    tree = SourceTree(args.root)
    if args.list_torch_free:
        print("\n".join(sorted({f for t in tree.targets() if t.torch_free for f in t.files if f.endswith(".cpp")})))
        return 0
    found = 0
    for name in args.rules or known:
        for violation in known[name](tree):
            print(f"{name}: {violation}")
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
