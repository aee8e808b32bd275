#!/usr/bin/env python3
"""Figures of the source tree, for comparing two revisions: sizes, comments, repetition, order.

    tree_figures.py [--root DIR]

Prints one figure a line, as name and value. Nothing is judged; source_rules.py has the rules.
"""

import argparse
import collections
import re
from pathlib import Path

import source_rules
from source_tree import SourceTree

PRODUCT = ("kernels/", "model/", "data/", "analysis/", "trainer/", "launch/")
REPEATED_LINES = 6  # a block of at least so many equal lines in two places counts as repeated


def is_comment(line):
    return line.strip().startswith("//")


def functions(text):
    """(name, number of lines) of each function that begins at the margin or one level inside a namespace."""
    lines = text.splitlines()
    index = 0
    while index < len(lines):
        line = lines[index]
        opens = re.match(r"^(?:  )?[A-Za-z_].*\)(?: const)?(?: override)?(?: noexcept)?(?: \{|\s*:.*\{)$", line) or (
            line.rstrip().endswith("{") and re.match(r"^ {4,}", line)
            and index > 0 and re.match(r"^(?:  )?[A-Za-z_].*\($|^(?:  )?[A-Za-z_].*,$", first_of_signature(lines, index)))
        if not opens or re.match(r"^\s*(?:if|for|while|switch|namespace|struct|class|enum|else)\b", line):
            index += 1
            continue
        start = signature_start(lines, index)
        depth, end = 0, index
        while end < len(lines):
            code = re.sub(r"'.'|\"(?:[^\"\\]|\\.)*\"", "", lines[end])  # a brace in a text opens nothing
            depth += code.count("{") - code.count("}")
            if depth <= 0:
                break
            end += 1
        name = re.search(r"([A-Za-z_][\w:~]*)\(", lines[start])
        yield (name[1] if name else lines[start].strip()), end - start + 1
        index = end + 1


def signature_start(lines, index):
    start = index
    while start > 0 and lines[start].startswith("   ") and lines[start - 1].strip() and not lines[start - 1].rstrip().endswith((";", "}")):
        start -= 1
    return start


def first_of_signature(lines, index):
    return lines[signature_start(lines, index)]


def repeated_blocks(texts):
    """Pairs of places that share REPEATED_LINES equal lines, comments, blank lines, includes and lone brackets apart."""
    places = collections.defaultdict(set)
    for path, text in texts.items():
        kept = [line.strip() for line in text.splitlines()
                if len(line.strip()) > 3 and not is_comment(line) and not line.startswith("#include")]
        for start in range(len(kept) - REPEATED_LINES + 1):
            places["\n".join(kept[start:start + REPEATED_LINES])].add(path)
    return len({tuple(sorted(found)) for found in places.values() if len(found) > 1})


def citations(tree):
    """Mentions of pages in comments, and how many of them lead to a page of the repository."""
    mentioned = resolved = 0
    for path in tree.code():
        for line in tree.text(path).splitlines():
            if not is_comment(line):
                continue
            bare = re.findall(r"\b(?:algorithms|architecture|performance|ecosystem|libtorch)(?:,? section)? \d", line)
            pages = re.findall(r"\b(?:docs/)?([a-z_]+\.md)\b", line)
            mentioned += len(bare) + len(pages)
            resolved += sum((tree.root / "docs" / page).is_file() for page in pages)
    return mentioned, resolved


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=Path(__file__).resolve().parents[2])
    tree = SourceTree(parser.parse_args().root)
    texts = {path: tree.text(path) for path in tree.code() if path.startswith(PRODUCT)}
    folders = collections.Counter(str(Path(path).parent) for path in texts)
    lines = {path: text.count("\n") for path, text in texts.items()}
    comment = sum(sum(map(is_comment, text.splitlines())) for text in texts.values())
    written = sum(sum(1 for line in text.splitlines() if line.strip()) for text in texts.values())
    longest = max(((size, name, path) for path, text in texts.items() if not path.endswith("_body.h")
                   for name, size in functions(text)), default=(0, "", ""))
    mentioned, resolved = citations(tree)
    print(f"source files\t{len(texts)}")
    print(f"source lines\t{sum(lines.values())}")
    print(f"most files in a folder\t{folders.most_common(1)[0][1]} ({folders.most_common(1)[0][0]})")
    print(f"folders\t{len(folders)}")
    print(f"longest file\t{max(lines.values())} ({max(lines, key=lines.get)})")
    print(f"files above 300 lines\t{sum(size > 300 for size in lines.values())}")
    print(f"longest function\t{longest[0]} ({longest[1]} in {longest[2]})")
    print(f"functions above 60 lines\t{sum(size > 60 for text in texts.values() for _, size in functions(text))}")
    print(f"comment lines\t{100 * comment / written:.1f} %")
    print(f"pairs of files with a repeated block\t{repeated_blocks(texts)}")
    print(f"citations in comments\t{mentioned}, of which {resolved} lead to a page")
    print(f"upward includes\t{sum(1 for _ in source_rules.layering(tree))}")


if __name__ == "__main__":
    main()
