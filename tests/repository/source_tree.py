"""The source tree as the repository checks see it: files, their includes, and the CMake targets that own them."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

CODE_SUFFIXES = {".cpp", ".h", ".cu", ".cuh"}
HEADER_SUFFIXES = {".h", ".cuh"}
# Folders that hold what was generated or downloaded, never sources.
SKIPPED = re.compile(r"^(build.*|runs|__pycache__|\..+)$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# vmla_library(name ...), vmla_test(name ...), add_executable(name ...), up to the closing bracket.
TARGET = re.compile(r"^\s*(vmla_library|vmla_test|add_executable|add_library)\s*\(([^)]*)\)", re.M)
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
    cmake_file: str
    torch_free: bool
    files: list = field(default_factory=list)


class SourceTree:
    """All files under a root, by path relative to it, with `/` as separator."""

    def __init__(self, root):
        self.root = Path(root)
        self.files = []
        for folder, subfolders, names in os.walk(self.root):
            subfolders[:] = sorted(d for d in subfolders if not SKIPPED.match(d))
            relative = Path(folder).relative_to(self.root)
            self.files += [(relative / name).as_posix() for name in sorted(names)]
        self._includes = {}

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
        """The targets that the CMake files declare, with their files as far as they are named literally."""
        found = []
        for cmake_file in self.cmake_files():
            folder = Path(cmake_file).parent
            text = re.sub(r"#[^\n]*", "", self.text(cmake_file))
            for match in TARGET.finditer(text):
                words = match[2].split()
                if not words or "$" in words[0]:
                    continue  # a function's own body in cmake/
                target = Target(words[0], cmake_file, "NO_TORCH" in words)
                for word in words[1:]:
                    if word in KEYWORDS or Path(word).suffix not in CODE_SUFFIXES:
                        continue
                    word = word.replace("${PROJECT_SOURCE_DIR}/", "/").replace("${CMAKE_CURRENT_SOURCE_DIR}/", "")
                    target.files.append(word[1:] if word.startswith("/") else (folder / word).as_posix())
                found.append(target)
        return found
