"""What takes minutes: a run that is killed again and again, and the tiny pipeline with what it must have learned."""

import json
import random
import subprocess
import time

import pytest

from program import REPOSITORY, vmla
from test_resume import assert_same_bits
from tiny_stage import metrics, start_training, train

pytestmark = pytest.mark.soak

STEPS = 150
# Samples and checkpoints are written all the time, so that kills fall into them too.
BUSY = {"train__steps": STEPS, "ema__decay": 0.9, "checkpoint__every": 4, "sample__every": 5, "rank__every": 3}


def test_killed_again_and_again(dense_run, dataset, tmp_path):
    """Killed at moments that nobody chose, until it is through: bits, losses and ranks of a run in one go."""
    whole, folder = tmp_path / "whole", tmp_path / "run"
    begin = time.monotonic()
    train("teacher_forcing", whole, dataset, dense_run, **BUSY)
    seconds = time.monotonic() - begin
    moments = random.Random(7)
    kills = 0
    while True:
        process = start_training("teacher_forcing", folder, dataset, dense_run, **BUSY)
        try:
            # Past the start and before the end; long enough for every life to save at least once.
            process.wait(timeout=moments.uniform(0.15, 0.35) * seconds)
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            assert kills < 100, "the run gets nowhere"
    assert process.returncode == 0, process.stderr.read()[-500:]
    assert kills >= 2
    assert_same_bits(folder, whole)
    assert [(m["step"], m["loss"]) for m in metrics(folder)] == [(m["step"], m["loss"]) for m in metrics(whole)]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """The figures of the tiny pipeline's stages."""
    folder = tmp_path_factory.mktemp("pipeline") / "run"
    vmla("pipeline", "--config", REPOSITORY / "configs/tiny/pipeline.yaml", "--run-dir", folder, timeout=3600)
    return json.loads((folder / "summary.json").read_text())["stages"]


def test_pretraining_has_learned_the_captions(pipeline):
    """Captions that no training clip had."""
    adherence = pipeline["pretrain"]["adherence"]
    assert adherence["colour"] >= 0.9 and adherence["direction"] >= 0.8


@pytest.mark.parametrize("stage", ["tf_svd", "tf_random"])
def test_causal_stages_follow_captions_and_use_their_cache(stage, pipeline):
    """Sampled chunk by chunk; with the cache zeroed nothing of what the caption does not say survives."""
    figures = pipeline[stage]
    assert figures["adherence"]["colour"] >= 0.8 and figures["adherence"]["direction"] >= 0.7
    kept, zeroed = figures["retention"], figures["without_cache"]["retention"]
    # A correlation of 96 pairs of independent sizes has the standard deviation 0.1.
    assert kept["size_correlation"] > 0.3
    assert abs(zeroed["size_correlation"]) < 0.3
