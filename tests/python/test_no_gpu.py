"""Why a GPU cannot be used: one line for each reason, on machines that a fake driver and fake modules play."""

import json
import os
import re
import shutil
import subprocess

import pytest
from program import ENVIRONMENT, REPOSITORY, VMLA, one_line_error, run
from tiny_stage import train_arguments

MODULE = VMLA.parent / "libvmla_cuda.so"
needs_module = pytest.mark.skipif(not MODULE.exists(), reason="this build has no CUDA module")


def shared_library(file, source, *flags):
    """Compiles C code into a shared library that goes by its file's name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{file.name}", "-o", file, "-x", "c", "-", "-x", "none", *flags]
    subprocess.run(list(map(str, command)), input=source, text=True, check=True)
    return file


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """The folder of a driver that says what its environment tells it to."""
    folder = tmp_path_factory.mktemp("driver")
    shared_library(folder / "libcuda.so.1", (REPOSITORY / "tests/python/fake_driver.c").read_text())
    return folder


def ask(*arguments, driver=None, program=VMLA, **environment):
    """`vmla ARGUMENTS` on a machine with this driver, or with none."""
    env = {k: v for k, v in ENVIRONMENT.items() if k != "CUDA_VISIBLE_DEVICES"} | environment
    if driver is not None:
        env["LD_LIBRARY_PATH"] = f"{driver}:{env.get('LD_LIBRARY_PATH', '')}"
    command = list(map(str, [program, *arguments]))
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=env, cwd=REPOSITORY)


def refusal(dataset, tmp_path, **machine):
    """The line with which training on a GPU is refused there."""
    arguments = train_arguments("pretrain", tmp_path / "run", dataset, train__device="cuda")
    return one_line_error(ask(*arguments, **machine), "train.device: cuda: ", "; use cpu")


REASONS = {
    "too old": ({"FAKE_VERSION": "12040"}, "the NVIDIA driver serves CUDA 12.4 at most, and this build needs 13.0"),
    "broken": ({"FAKE_INIT": "999"}, "the NVIDIA driver does not start (cuInit: status 999)"),
    "fabric": ({"FAKE_INIT": "802"}, "nvidia-fabricmanager"),
    "none": ({"FAKE_INIT": "100"}, "the driver sees no GPU"),
    "hidden": ({"FAKE_INIT": "100", "CUDA_VISIBLE_DEVICES": "-1"}, "CUDA_VISIBLE_DEVICES=-1 hides all GPUs"),
    "empty": ({"FAKE_INIT": "100", "CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES= hides all GPUs"),
    "strange": ({"FAKE_INIT": "100", "CUDA_VISIBLE_DEVICES": "GPU-0815"}, "GPU-0815 names no GPU of this machine"),
    "twice": ({"CUDA_VISIBLE_DEVICES": "0,0"}, "CUDA_VISIBLE_DEVICES=0,0 names no GPU of this machine, or one twice"),
    "capability": ({"FAKE_CAPABILITIES": "7.5"}, "Pretended GPU 0 has compute capability 7.5, for which this build has no"),
}


@needs_module
@pytest.mark.parametrize("case", REASONS)
def test_one_line_says_why(driver, dataset, tmp_path, case):
    environment, expected = REASONS[case]
    assert expected in refusal(dataset, tmp_path, driver=driver, **environment)


@needs_module
@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="this machine has a driver")
def test_no_driver(dataset, tmp_path):
    assert "no NVIDIA driver is installed (libcuda.so.1)" in refusal(dataset, tmp_path)


@needs_module
def test_a_good_driver_passes_the_questions(driver, dataset, tmp_path):
    """With a list that names a GPU in any of its forms, it is the module that finds the driver to be a fake."""
    for visible in ("0,", "0", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"):
        line = refusal(dataset, tmp_path, driver=driver, FAKE_CAPABILITIES="8.0", CUDA_VISIBLE_DEVICES=visible)
        assert "CUDA_VISIBLE_DEVICES" not in line and "capability" not in line and "serves CUDA" not in line


@pytest.fixture
def other_build(tmp_path):
    """A folder with the programs, for a module of the test's own beside them."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("vmla", "vmla-core", "vmla-hdf5", "vmla-decode", "vmla-launch"):
        shutil.copy(VMLA.parent / name, folder / name)
    return folder


def test_a_build_without_the_module(other_build, driver, dataset, tmp_path):
    line = refusal(dataset, tmp_path, driver=driver, FAKE_CAPABILITIES="8.0", program=other_build / "vmla")
    assert "this build has no CUDA module" in line and "launch/setup --cuda" in line


def test_a_module_of_another_build(other_build, driver, dataset, tmp_path):
    shared_library(
        other_build / "libvmla_cuda.so",
        'const char* vmla_cuda_table_hash(void) { return "another"; } const void* vmla_cuda_kernels(void) { return 0; }',
    )
    line = refusal(dataset, tmp_path, driver=driver, FAKE_CAPABILITIES="8.0", program=other_build / "vmla")
    assert "belongs to another build than this program" in line


def test_a_library_of_the_full_wheel_is_missing(other_build, driver, dataset, tmp_path):
    missing = shared_library(tmp_path / "libcudnn_of_no_wheel.so.9", "int cudnn(void) { return 0; }")
    shared_library(other_build / "libvmla_cuda.so", "int cudnn(void); int f(void) { return cudnn(); }", missing)
    missing.unlink()
    line = refusal(dataset, tmp_path, driver=driver, FAKE_CAPABILITIES="8.0", program=other_build / "vmla")
    assert "libcudnn_of_no_wheel.so.9" in line and "launch/setup --cuda installs LibTorch's CUDA libraries" in line


# ---- the doctor, who goes on where training cannot


def page(done):
    """The lines of a page: (section, name) -> verdict."""
    section, lines = None, {}
    for line in done.stdout.splitlines()[1:]:
        if match := re.fullmatch(r"  (ok|slow|wrong|absent) +(.{30}) .*", line):
            lines[section, match[2].strip()] = match[1]
        elif re.fullmatch(r"\w+", line):
            section = line
    return lines


def test_the_doctor_without_a_gpu(tmp_path):
    done = ask("doctor", "--disk", tmp_path, "--json", tmp_path / "doctor.json", CUDA_VISIBLE_DEVICES="-1")
    assert done.stderr == ""
    said = json.loads((tmp_path / "doctor.json").read_text())["findings"]
    lines = page(done)
    assert lines == {(line["section"], line["name"]): line["verdict"] for line in said}
    assert {section for section, _ in lines} == {
        "machine", "limits", "build", "GPUs", "kernels", "attention", "ranks"
    }  # fmt: skip
    assert lines["GPUs", "driver"] == "absent" and lines["ranks", "NCCL"] == "absent"
    for (section, name), verdict in lines.items():
        if section in ("kernels", "attention", "ranks"):
            assert verdict in ("ok", "slow", "absent"), name
    assert done.returncode == (1 if "wrong" in lines.values() else 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["doctor.json"], "nothing else is left on the disk"


@needs_module
def test_the_doctor_on_a_machine_whose_gpu_cannot_be_used(driver, tmp_path):
    done = ask("doctor", "--disk", tmp_path, driver=driver, FAKE_CAPABILITIES="7.5")
    assert done.returncode == 1 and done.stderr == ""
    lines = page(done)
    assert lines["GPUs", "driver"] == "wrong" and "compute capability 7.5" in done.stdout
    assert lines["kernels", "adamw, fp32"] == "ok", "the rest of the page is there"


def test_the_doctor_needs_a_folder(tmp_path):
    one_line_error(run("doctor", "--disk", tmp_path / "none"), "--disk", tmp_path / "none", "is not a folder")
