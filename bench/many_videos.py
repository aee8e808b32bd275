#!/usr/bin/env python3
"""Many videos, captions and prompts: `data encode` and `data prompts` at growing sizes, which should take as much longer
as there is more.

    bench/many_videos.py                                  # 1,000 and 10,000 videos; 10,000 and 100,000 captions, prompts
    bench/many_videos.py --videos 500 2000 --texts 5000

Each line: what, how many, seconds, microseconds a piece, and the growth against the line before: 1.00 is linear.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
# Two grey pictures of 16 x 16.
VIDEO = b"YUV4MPEG2 W16 H16 F8:1 C420jpeg\n" + 2 * (b"FRAME\n" + bytes([128]) * (16 * 16 * 3 // 2))


def timed(vmla, *arguments):
    begin = time.perf_counter()
    done = subprocess.run([vmla, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"vmla {' '.join(map(str, arguments))}\n{done.stderr}")
    return time.perf_counter() - begin


def encode(vmla, folder, out):
    return timed(vmla, "data", "encode", "--videos", folder, "--out", out, "--frames", 2, "--height", 8, "--width", 8)


def videos(vmla, root, count):
    """Every video is there and has a caption."""
    folder = root / "v"
    for first in range(0, count, 1000):
        (folder / f"{first:07}").mkdir(parents=True)
    names = [f"{i // 1000 * 1000:07}/{i:07}.y4m" for i in range(count)]
    for name in names:
        (folder / name).write_bytes(VIDEO)
    (folder / "captions.csv").write_text("file,caption\n" + "".join(f'{n},"a grey square, number {n}"\n' for n in names))
    return encode(vmla, folder, root / "a.h5")


def captions(vmla, root, count):
    """A captions file of a larger collection: a hundredth of its videos is there."""
    folder = root / "v"
    folder.mkdir()
    rows = [(f"{i:07}.y4m", f"a grey square, number {i}") for i in range(count)]
    for name, _ in rows[::100]:
        (folder / name).write_bytes(VIDEO)
    (folder / "metadata.jsonl").write_text("".join(f'{{"file_name": "{n}", "text": "{t}"}}\n' for n, t in rows))
    return encode(vmla, folder, root / "a.h5")


def prompts(vmla, root, count):
    (root / "p.txt").write_text("".join(f"a grey square, number {i}\n" for i in range(count)))
    return timed(vmla, "data", "prompts", "--prompts", root / "p.txt", "--out", root / "p.h5")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmla", default=REPOSITORY / "build" / "vmla", type=Path)
    parser.add_argument("--videos", nargs="*", type=int, default=[1_000, 10_000])
    parser.add_argument("--texts", nargs="*", type=int, default=[10_000, 100_000], help="captions, and prompts")
    arguments = parser.parse_args()
    print(f"{'what':10} {'count':>9} {'s':>8} {'us each':>9} {'growth':>7}")
    for job, counts in ((videos, arguments.videos), (captions, arguments.texts), (prompts, arguments.texts)):
        before = None
        for count in counts:
            with tempfile.TemporaryDirectory() as root:
                each = job(arguments.vmla, Path(root), count) / count
            growth = "" if before is None else f"{each / before:.2f}"
            print(f"{job.__name__:10} {count:9} {each * count:8.2f} {each * 1e6:9.1f} {growth:>7}", flush=True)
            before = each


if __name__ == "__main__":
    main()
