"""The source tree as the repository checks see it: files, their includes, and the CMake targets that own them."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

CODE_SUFFIXES = {".cpp", ".h", ".cu", ".cuh"}
HEADER_SUFFIXES = {".h", ".cuh"}
# Folders that hold what was generated or downloaded, never sources.
SKIPPED = re.compile(r"^(build.*|runs|__pycache__|\..+)$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# vmla_library(name ...), vmla_test(name ...), add_executable(name ...) and what adds to them, up to the closing bracket.
CALL = re.compile(r"^\s*(vmla_library|vmla_test|add_executable|add_library|target_sources|target_link_libraries)"
                  r"\s*\(([^)]*)\)", re.M)
# Words that end a list of files inside such a call.
KEYWORDS = {"SOURCES", "HEADERS", "PUBLIC", "PRIVATE", "LINK", "NO_TORCH", "STATIC", "SHARED", "MODULE",
            "OBJECT", "INTERFACE", "IMPORTED", "EXCLUDE_FROM_ALL"}


@dataclass
class Include:
    line: int
    angled: bool
    path: str


@dataclass
class Target:
    name: str
    kind: str  # the call that declares it
    promised_torch_free: bool
    files: list = field(default_factory=list)
    links: set = field(default_factory=set)
    torch_free: bool = False


class SourceTree:
    """All files under a root, by path relative to it, with `/` as separator."""

    def __init__(self, root):
        self.root = Path(root)
        self.files = self._known_to_git() if (self.root / ".git").exists() else self._walked()
        self._includes = {}

    def _known_to_git(self):
        """What is tracked, or new and not ignored."""
        listing = subprocess.run(["git", "-C", self.root, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
                                 stdout=subprocess.PIPE, check=True).stdout.decode()
        return sorted({f for f in listing.split("\0") if f and (self.root / f).is_file()})

    def _walked(self):
        """The same for a tree without git, such as an unpacked archive."""
        files = []
        for folder, subfolders, names in os.walk(self.root):
            subfolders[:] = [d for d in subfolders if not SKIPPED.match(d)]
            files += [(Path(folder).relative_to(self.root) / name).as_posix() for name in names]
        return sorted(files)

    def text(self, path):
        return (self.root / path).read_text(encoding="utf-8", errors="replace")

    def code(self):
        return [f for f in self.files if Path(f).suffix in CODE_SUFFIXES]

    def cmake_files(self):
        return [f for f in self.files if Path(f).name == "CMakeLists.txt" or f.endswith(".cmake")]

    def includes(self, path):
        if path not in self._includes:
            found = []
            for number, line in enumerate(self.text(path).splitlines(), 1):
                match = INCLUDE.match(line)
                if match:
                    found.append(Include(number, match[1] == "<", match[2]))
            self._includes[path] = found
        return self._includes[path]

    def reached(self, path):
        """The file and every file of ours that it includes, directly or not, each with the chain that leads to it."""
        chains = {path: [path]}
        waiting = [path]
        while waiting:
            current = waiting.pop()
            for include in self.includes(current):
                ours = not include.angled and (self.root / include.path).is_file()
                if ours and include.path not in chains:
                    chains[include.path] = chains[current] + [include.path]
                    waiting.append(include.path)
        return chains

    def targets(self):
        """The targets that the CMake files declare, with their files and links as far as they are named literally."""
        found = {}
        for cmake_file in self.cmake_files():
            folder = Path(cmake_file).parent
            text = re.sub(r"#[^\n]*", "", self.text(cmake_file))
            for match in CALL.finditer(text):
                call, words = match[1], match[2].split()
                if not words or "$" in words[0]:
                    continue  # a function's own body in cmake/
                target = found.setdefault(words[0], Target(words[0], call, False))
                if not call.startswith("target_"):
                    target.kind, target.promised_torch_free = call, "NO_TORCH" in words
                for word in words[1:]:
                    if Path(word).suffix not in CODE_SUFFIXES:
                        if word not in KEYWORDS:
                            target.links.add(word)
                        continue
                    word = word.replace("${PROJECT_SOURCE_DIR}/", "/").replace("${CMAKE_CURRENT_SOURCE_DIR}/", "")
                    target.files.append(word[1:] if word.startswith("/") else (folder / word).as_posix())
        for target in found.values():
            # An executable makes no promise: it is free of LibTorch when nothing that it links brings it.
            target.torch_free = target.promised_torch_free or (
                target.kind == "add_executable" and not any(
                    link.startswith("libtorch::") or link == "vmla::vmla" or (
                        link in found and found[link].kind == "vmla_library" and not found[link].promised_torch_free)
                    for link in target.links))
        return list(found.values())
