"""An installed vmla is a package that other programs find, compile against and stream with."""

import os
import subprocess
from pathlib import Path

import pytest
import torch

from program import REPOSITORY, VMLA, vmla

BUILD = Path(os.environ.get("VMLA_BUILD", VMLA.parent))


def command(*arguments, **options):
    done = subprocess.run(list(map(str, arguments)), capture_output=True, timeout=500, **options)
    assert done.returncode == 0, f"{arguments}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """examples/, built against the package in a prefix of its own."""
    folder = tmp_path_factory.mktemp("install")
    command("cmake", "--install", BUILD, "--prefix", folder / "prefix", "--component", "library")
    command("cmake", "-S", REPOSITORY / "examples", "-B", folder / "build", "-D", f"CMAKE_PREFIX_PATH={folder / 'prefix'}")
    command("cmake", "--build", folder / "build")
    return folder / "build" / "stream"


def test_the_library_needs_no_opencv(stream):
    needed = command("ldd", stream).decode()
    assert "libvmla.so" in needed and "not found" not in needed
    assert "opencv" not in needed and "hdf5" not in needed


def test_the_example_streams_frames(stream, latent_run, tmp_path):
    vmla("export", "--checkpoint", latent_run, "--format", "videomla", "--out", tmp_path / "x", "--dtype", "fp32")
    arguments = ("hashing:32x8", "space_to_depth:2", 16, 16, 15, "a red circle moves left")
    frames = command(stream, tmp_path / "x", *arguments)
    assert len(frames) == 15 * 16 * 16 * 3
    pixels = torch.frombuffer(bytearray(frames), dtype=torch.uint8).float()
    assert pixels.std() > 1, "not a plain picture"
    done = subprocess.run([stream, tmp_path / "none", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
