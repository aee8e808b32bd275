"""gpu_tests builds where there is LibTorch and none of our other libraries (tests/gpu/CMakeLists.txt): its list of sources is whole."""

import subprocess
import sys

import pytest
from program import REPOSITORY

pytestmark = pytest.mark.soak


def test_it_builds_and_is_right_on_a_cpu(tmp_path):
    settings = ["-DVMLA_GPU_TESTS_ONLY=ON", f"-DLibTorch_PYTHON={sys.executable}", "-DVMLA_WITH_CUDA=OFF"]
    configure = ["cmake", "-S", REPOSITORY, "-B", tmp_path, "-G", "Ninja", *settings]
    for command in (configure, ["cmake", "--build", tmp_path, "--target", "gpu_tests"], [tmp_path / "gpu_tests", "cpu"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "0 failed, 0 skipped" in done.stdout
