"""Lets shared libraries load with an older glibc than the one that they were linked to.

    python3 launch/glibc/accept_older.py --floor 2.34 --provided arc4random,arc4random_buf FILE...

A library names the newest version of glibc that it takes a function from, and the loader refuses it where glibc does
not have that version, whoever else provides the function. Here the functions of versions above the floor are asked for
without a version, and an older version is named in the newer one's place. That is right only where something else
provides these functions: any other than those in `--provided` is named, and no file is changed. Status: 0 done; 2 such
a function, or no ELF file.
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path

DYNSYM, GNU_VERNEED, GNU_VERSYM = 11, 0x6FFFFFFE, 0x6FFFFFFF
ANY_VERSION = 1  # of a symbol: VER_NDX_GLOBAL


def stop(said: str) -> None:
    print(f"accept_older: {said}", file=sys.stderr)
    sys.exit(2)


def name_at(data: bytes, place: int) -> str:
    return data[place : data.index(b"\0", place)].decode()


class Library:
    """A 64-bit little-endian ELF file, its versions of other libraries and the symbols that ask for them."""

    def __init__(self, file: Path):
        self.file, self.data = file, bytearray(file.read_bytes())
        if self.data[:6] != b"\x7fELF\x02\x01":
            stop(f"{file} is not a 64-bit ELF library of this machine's kind")
        (table,) = struct.unpack_from("<Q", self.data, 0x28)
        size, count = struct.unpack_from("<HH", self.data, 0x3A)
        # name, type, flags, address, offset, size, link, info, alignment, size of an entry
        headers = [struct.unpack_from("<IIQQQQIIQQ", self.data, table + i * size) for i in range(count)]
        self.sections = {header[1]: header for header in headers}
        self.headers = headers

    def strings(self, section: tuple) -> int:
        """Where the names of a section's entries begin in the file."""
        return self.headers[section[6]][4]

    def needed_versions(self) -> dict[int, tuple[str, int, int]]:
        """By the number that symbols have: a version's name, the place of its entry and of its library's."""
        section = self.sections.get(GNU_VERNEED)
        versions: dict[int, tuple[str, int, int]] = {}
        if section is None:
            return versions
        strings, library = self.strings(section), section[4]
        while True:
            _, count, _, first, following = struct.unpack_from("<HHIII", self.data, library)
            version = library + first
            for _ in range(count):
                _, _, number, name, onwards = struct.unpack_from("<IHHII", self.data, version)
                versions[number] = name_at(self.data, strings + name), version, library
                version += onwards
            if not following:
                return versions
            library += following

    def symbols(self) -> list[tuple[str, int, int]]:
        """Of each dynamic symbol its name, the number of its version and where that stands."""
        symbols, versions = self.sections[DYNSYM], self.sections[GNU_VERSYM]
        strings, found = self.strings(symbols), []
        for i in range(symbols[5] // 24):
            (name,) = struct.unpack_from("<I", self.data, symbols[4] + 24 * i)
            place = versions[4] + 2 * i
            (number,) = struct.unpack_from("<H", self.data, place)
            found.append((name_at(self.data, strings + name), number & 0x7FFF, place))
        return found

    def name_like(self, newer: int, older: int) -> None:
        """Names the version whose entry stands at `newer` as that at `older`: hash and name."""
        for field in (0, 8):
            self.data[newer + field : newer + field + 4] = self.data[older + field : older + field + 4]


def number(version: str) -> tuple[int, ...]:
    """Of "GLIBC_2.36"; of a version that is no number, such as GLIBC_PRIVATE, nothing is known."""
    text = version.removeprefix("GLIBC_")
    return tuple(map(int, text.split("."))) if text[0].isdigit() else ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--floor", required=True)
    parser.add_argument("--provided", required=True, type=lambda text: set(text.split(",")))
    parser.add_argument("files", nargs="+", type=Path)
    args = parser.parse_args()
    changed = []
    for file in map(Library, args.files):
        needed = file.needed_versions()
        glibc = {n: (number(name), *places) for n, (name, *places) in needed.items() if name.startswith("GLIBC_")}
        newer = {n: places for n, (version, *places) in glibc.items() if version > number(args.floor)}
        older = {library: place for version, place, library in glibc.values() if () < version <= number(args.floor)}
        if not newer:
            continue
        symbols = [symbol for symbol in file.symbols() if symbol[1] in newer]
        others = sorted(name for name, _, _ in symbols if name not in args.provided)
        if others:
            stop(f"{file.file} takes {', '.join(others)} from a glibc newer than {args.floor}, which nobody provides")
        if any(library not in older for _, library in newer.values()):
            stop(f"{file.file} names no version of glibc up to {args.floor}, whose name could be taken")
        for _, _, place in symbols:
            struct.pack_into("<H", file.data, place, ANY_VERSION)
        for place, of in newer.values():
            file.name_like(place, older[of])
        changed.append(file)
    for file in changed:
        file.file.write_bytes(file.data)
        print(file.file)


if __name__ == "__main__":
    main()
