"""launch/bundle: the archive runs elsewhere, on its own libraries and the torch that it finds, or says why it cannot."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from program import REPOSITORY, VMLA, one_line_error
from tiny_stage import train_arguments

BUILD = Path(os.environ.get("VMLA_BUILD", VMLA.parent))
PYTHON = Path(sys.executable).parent


def pack(*arguments) -> subprocess.CompletedProcess:
    command = [REPOSITORY / "launch" / "bundle", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Not compressed, which would take a minute."""
    file = tmp_path_factory.mktemp("packed") / "vmla.tar"
    done = pack("--build", BUILD, "--out", file)
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture(scope="module")
def bundle(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("another machine")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="tar")
    return folder / "vmla-bundle"


def start(program: Path, *arguments, path=f"{PYTHON}:/usr/bin:/bin", cwd="/", **variables) -> subprocess.CompletedProcess:
    """Runs a program of the bundle in an environment that has nothing but a Python with torch."""
    environment = {"PATH": str(path), "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in variables.items()}}
    command = [program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, cwd=cwd)


def libraries(trace: str) -> list[tuple[str, list[str]]]:
    """Each program that was started, by the name it was given, and the libraries that it loaded, from what LD_DEBUG=libs
    says on stderr. A process that becomes another program keeps its number."""
    started, loading = [], {}
    for process, what, name in re.findall(r"^ *(\d+):\t(calling init|initialize program): (\S.*)$", trace, re.M):
        if what == "calling init":
            loading.setdefault(process, []).append(name)
        else:
            started.append((name, loading.pop(process, [])))
    return started


# ---- what it holds


def test_two_archives_are_the_same_and_the_second_replaces_the_first(archive, tmp_path):
    file = tmp_path / "vmla.tar"
    file.write_text("an older one")
    assert pack(f"--build={BUILD}", f"--out={file}").returncode == 0
    assert file.read_bytes() == archive.read_bytes()
    assert list(tmp_path.iterdir()) == [file]


def test_the_manifest_names_what_every_file_needs(bundle):
    lines = [line.split() for line in (bundle / "MANIFEST").read_text().splitlines()]
    needs = dict(line for line in lines if len(line) == 2)
    floors = {line[1]: line[2] for line in lines if line[0] == "file"}
    there = [path for folder in ("lib", "libexec") for path in (bundle / folder).iterdir() if not path.is_symlink()]
    assert sorted(floors) == sorted(str(path.relative_to(bundle)) for path in there)
    number = lambda floor: tuple(map(int, floor.split(".")))  # noqa: E731
    assert number(needs["glibc"]) == max(number(floor) for floor in floors.values() if floor != "-")
    assert (needs["machine"], needs["torch"]) == ("x86_64", "2.11.0")
    assert number(needs["glibc"]) <= (2, 34)


def test_no_folder_of_the_build_is_searched(bundle):
    for file in [*(bundle / "libexec").iterdir(), *(bundle / "lib").iterdir()]:
        dynamic = subprocess.run(["readelf", "-d", file], capture_output=True, text=True, check=True).stdout
        paths = re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", dynamic)
        assert paths in ([], ["$ORIGIN/../lib"], ["$ORIGIN"]), file


def test_a_library_that_takes_more_from_a_newer_glibc_stays_as_it_is(bundle, tmp_path):
    library = tmp_path / "libstdc++.so.6"
    shutil.copy(bundle / "lib" / "libstdc++.so.6", library)
    before = library.read_bytes()
    command = [sys.executable, REPOSITORY / "launch" / "glibc" / "accept_older.py", "--floor", "2.33"]
    done = subprocess.run([*command, "--provided", "arc4random", library], capture_output=True, text=True)
    one_line_error(done, library, "pthread_", "newer than 2.33")
    assert library.read_bytes() == before


def test_a_build_that_is_not_there(tmp_path):
    kept = tmp_path / "vmla.tar"
    kept.write_text("an older one")
    one_line_error(pack("--build", tmp_path, "--out", kept), tmp_path / "vmla", "launch/setup")
    assert kept.read_text() == "an older one"
    one_line_error(pack("--out", tmp_path / "vmla.zip"), "vmla.zip", ".tar.xz")
    one_line_error(pack("--outt"), "--outt", "--out FILE")
    assert "launch/bundle [--build DIR] [--out FILE]" in pack("-h").stdout


# ---- what it does


def test_it_trains_and_samples_on_its_own_libraries(bundle, dataset, tmp_path):
    assert start(bundle / "bin" / "vmla", "--version").stdout.startswith("vmla ")
    run = tmp_path / "run"
    short = {"train__steps": 3, "train__batch_size": 2, "train__micro_batch_size": 2}
    done = start(bundle / "bin" / "vmla", *train_arguments("pretrain", run, dataset, **short), LD_DEBUG="libs")
    assert done.returncode == 0, done.stderr[-2000:]
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()][-1] == 3

    ours = {path.name for path in (bundle / "lib").iterdir()}
    # It may write no files and has no stderr where the core starts it.
    hdf5 = start(bundle / "libexec" / "vmla-hdf5", "--libraries", LD_LIBRARY_PATH=bundle / "lib", LD_DEBUG="libs")
    started = [found for found in libraries(done.stderr + hdf5.stderr) if "/libexec/" in found[0]]
    # The core keeps the name vmla, under which it was started.
    assert [Path(name).name for name, _ in started] == ["vmla", "vmla", "vmla-hdf5"]
    loaded = {file for _, files in started for file in files}
    assert any(file.endswith("torch/lib/libtorch_cpu.so") for file in loaded)
    for file in loaded:
        assert not file.startswith(str(BUILD)), file
        assert Path(file).parent == bundle / "lib" or Path(file).name not in ours, file

    sample = ["sample", "--checkpoint", run, "--prompt", "a red circle moves left", "--steps", 2, "--out", tmp_path / "s"]
    done = start(bundle / "bin" / "vmla", *sample)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "s").glob("000.*")] == ["000.y4m"]


def test_videos_are_y4m_until_a_decoder_is_put_there(bundle, tmp_path):
    def synth_and_encode(folder: Path, extension: str) -> None:
        for command in (
            ["data", "synth", "--out", folder, "--count", 2],
            ["data", "encode", "--videos", folder, "--out", folder.with_suffix(".h5")],
        ):
            done = start(bundle / "bin" / "vmla", *command)
            assert done.returncode == 0, done.stderr
        assert len(list(folder.glob(f"*{extension}"))) == 2

    synth_and_encode(tmp_path / "plain", ".y4m")
    decoder = bundle / "libexec" / "vmla-decode"
    if not decoder.exists() and (BUILD / "vmla-decode-y4m").exists():  # a build with OpenCV
        decoder.symlink_to(BUILD / "vmla-decode")
        synth_and_encode(tmp_path / "other", ".mp4")
        decoder.unlink()


def test_the_doctor_finds_nothing_wrong(bundle, tmp_path):
    page = tmp_path / "doctor.json"
    start(bundle / "bin" / "vmla", "doctor", "--disk", tmp_path, "--json", page)
    about_the_build = ("LibTorch", "OpenCV", "HDF5", "vmla-launch")
    verdicts = {line["name"]: line["verdict"] for line in json.loads(page.read_text())["findings"]}
    assert [verdicts[name] for name in about_the_build] == ["ok", "absent", "ok", "ok"], verdicts


def test_a_link_to_it_and_a_folder_named_torch(bundle, tmp_path):
    (tmp_path / "vmla-latest").symlink_to(bundle / "bin" / "vmla")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    done = start(tmp_path / "vmla-latest", "--version", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_launcher_gives_on_the_environment_as_it_was(bundle):
    launcher = bundle / "bin" / "vmla-launch"
    done = start(launcher, "--", "/usr/bin/env", path="/usr/bin:/bin")  # needs no torch
    assert done.returncode == 0 and "WORLD_SIZE=1" in done.stdout
    assert "LD_LIBRARY_PATH" not in done.stdout
    done = start(launcher, "--nproc-per-node", 2, "--", bundle / "bin" / "vmla", "--version")
    assert done.returncode == 0 and len(re.findall(r"^\[.*\] vmla \d", done.stdout, re.M)) in (1, 2), done.stderr


# ---- what stands in its way


@pytest.fixture
def tools(tmp_path):
    """A folder for PATH with what bin/vmla calls, but for Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for tool in ("readlink", "uname", "getconf"):
        (folder / tool).symlink_to(shutil.which(tool))
    return folder


def write_program(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def test_no_python(bundle, tools):
    program = bundle / "bin" / "vmla"
    one_line_error(start(program, "--version", path=tools), "no python3 on PATH", "VMLA_PYTHON", "torch 2.11.0")
    one_line_error(start(program, "--version", VMLA_PYTHON="/none/python"), "/none/python", "torch 2.11.0")
    write_program(tools / "python3", "exit 1")
    one_line_error(start(program, "--version", path=tools), "python3 cannot say", "torch 2.11.0")


def test_no_torch(bundle, tools):
    write_program(tools / "python3", f'exec "{sys.executable}" -S "$@"')
    for program in ("vmla", "gpu_tests"):
        if (bundle / "bin" / program).exists():
            done = start(bundle / "bin" / program, "--version", path=tools)
            one_line_error(done, f"{program}: ", "python3 has no torch", "python3 -m pip install torch==2.11.0")


@pytest.mark.parametrize(
    "version, cuda, found",
    [
        ("2.9.1+cu130", "'13.0'", "has torch 2.9.1+cu130; the bundle needs torch 2.11.0"),
        ("2.11.1", "None", "has torch 2.11.1; the bundle needs torch 2.11.0"),
        ("2.11.0+cpu", "None", "holds no libtorch_cpu.so"),  # the right one, but for its libraries
        ("2.11.0+cu128", "'12.8'", "for CUDA 12.8; the bundle needs it for CUDA 13 or for CPUs"),
    ],
)
def test_another_torch(bundle, tmp_path, version, cuda, found):
    if "12.8" in cuda and not (bundle / "libexec" / "libvmla_cuda.so").exists():
        pytest.skip("the build has no CUDA module: any torch 2.11.0 will do")
    folder = tmp_path / "torch"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "version.py").write_text(
        f"from typing import Optional\n\n__version__ = '{version}'\ndebug = False\ncuda: Optional[str] = {cuda}\n"
    )
    done = start(bundle / "bin" / "vmla", "--version", PYTHONPATH=tmp_path)
    one_line_error(done, found, "pip install torch==2.11.0")


def test_an_old_glibc_and_another_machine(bundle, tools, tmp_path):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "vmla"
    shutil.copy(bundle / "bin" / "vmla", program)
    one_line_error(start(program, "--version"), tmp_path / "MANIFEST", "unpack")
    manifest = (bundle / "MANIFEST").read_text()
    (tmp_path / "MANIFEST").write_text(re.sub(r"^glibc .*", "glibc 2.999", manifest, flags=re.M))
    found = os.confstr("CS_GNU_LIBC_VERSION")
    one_line_error(start(program, "--version"), f"this system has {found}; the bundle needs glibc 2.999 or later")
    write_program(tools / "getconf", "exit 1")  # as musl's
    one_line_error(start(program, "--version", path=tools), "not glibc", "2.999")
    write_program(tools / "uname", "echo aarch64")
    one_line_error(start(program, "--version", path=tools), "aarch64", "x86_64")
