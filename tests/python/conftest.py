"""Makes `reference` and `program` importable and keeps the tests on one thread each."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402  (after the thread count is set)

torch.set_num_threads(1)

import pytest  # noqa: E402

# Helpers whose asserts show what was compared, as those of a test file do.
pytest.register_assert_rewrite("launch_job", "step_case")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """12 encoded clips of moving shapes."""
    from tiny_stage import make_dataset

    return make_dataset(tmp_path_factory.mktemp("dataset"), 12)


@pytest.fixture(scope="session")
def dense_run(tmp_path_factory, dataset):
    """A run folder of a few steps of stage 0."""
    from tiny_stage import train

    return train("pretrain", tmp_path_factory.mktemp("dense") / "run", dataset)


@pytest.fixture(scope="session")
def latent_run(tmp_path_factory, dataset, dense_run):
    """A run folder of a few steps of stage 1, with every observer on."""
    from tiny_stage import train

    return train(
        "teacher_forcing",
        tmp_path_factory.mktemp("latent") / "run",
        dataset,
        dense_run,
        rank__every=2,
        validation__every=3,
        sample__every=3,
        ema__decay=0.5,
    )
