"""Killed at any moment and resumed = uninterrupted, bit for bit; observers do not disturb."""

import json
import signal
import time

import pytest
import torch
from safetensors.torch import load_file

from program import run
from tiny_stage import last_checkpoint, metrics, start_training, train, train_arguments

STEPS = 8
STAGES = ["pretrain", "teacher_forcing"]


def all_tensors(checkpoint):
    """Every tensor of every file of a checkpoint: weights, averages and optimizer state."""
    tensors = {}
    for file in sorted(checkpoint.rglob("*.safetensors")):
        tensors |= {f"{file.relative_to(checkpoint)}:{name}": t for name, t in load_file(file).items()}
    assert tensors
    return tensors


def assert_same_bits(run_a, run_b):
    a, b = all_tensors(last_checkpoint(run_a)), all_tensors(last_checkpoint(run_b))
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different, f"{len(different)} of {len(a)} tensors differ, e.g. {different[:3]}"


def wait_for(condition, process, seconds=120):
    """Polls until the run has got somewhere; a run that ends first is a failure."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the run does not get there"
        assert process.poll() is None, f"ended with {process.returncode}: {process.stderr.read()[-500:]}"
        time.sleep(0.01)


def logged_steps(run_dir):
    file = run_dir / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture(scope="module", params=STAGES)
def uninterrupted(request, tmp_path_factory, dataset, dense_run):
    """(stage, weights it starts from, run folder of STEPS steps in one go)."""
    weights = dense_run if request.param == "teacher_forcing" else None
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(request.param, folder, dataset, weights, train__steps=STEPS, ema__decay=0.9)
    return request.param, weights, folder


def test_killed_and_resumed(uninterrupted, dataset, tmp_path):
    """kill -9 after a checkpoint, in the middle of later steps; `--resume auto` is the default."""
    stage, weights, whole = uninterrupted
    settings = {"train__steps": STEPS, "ema__decay": 0.9}
    folder = tmp_path / "run"
    process = start_training(stage, folder, dataset, weights, **settings)
    wait_for(lambda: logged_steps(folder) >= 4, process)
    process.kill()
    process.wait()
    train(stage, folder, dataset, weights, **settings)
    assert_same_bits(folder, whole)
    ours, theirs = metrics(folder), metrics(whole)
    assert [m["step"] for m in ours] == [m["step"] for m in theirs], "the log is cut back to the checkpoint"
    assert [m["loss"] for m in ours] == [m["loss"] for m in theirs]


def test_stopped_on_request(uninterrupted, dataset, tmp_path):
    """SIGTERM saves and ends with 75, "run me again"; the next run goes on to the same bits."""
    stage, weights, whole = uninterrupted
    settings = {"train__steps": STEPS, "ema__decay": 0.9, "checkpoint__every": 1000}
    folder = tmp_path / "run"
    process = start_training(stage, folder, dataset, weights, **settings)
    wait_for(lambda: logged_steps(folder) >= 2, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 75, process.stderr.read()[-500:]
    stopped = last_checkpoint(folder)
    assert stopped.is_dir() and 2 <= int(stopped.name.removeprefix("step_")) < STEPS
    train(stage, folder, dataset, weights, **settings)
    assert_same_bits(folder, whole)


def test_steps_may_grow(uninterrupted, dataset, tmp_path):
    """A finished shorter run goes on when more steps are asked for (with a schedule that does not depend on them)."""
    stage, weights, _ = uninterrupted
    constant = {"optimizer__lr_schedule": "constant"}
    whole = train(stage, tmp_path / "whole", dataset, weights, train__steps=STEPS, **constant)
    parts = train(stage, tmp_path / "parts", dataset, weights, train__steps=STEPS - 3, **constant)
    train(stage, tmp_path / "parts", dataset, weights, train__steps=STEPS, **constant)
    assert_same_bits(parts, whole)


def test_changed_seed_is_refused(uninterrupted, dataset):
    """A key that would change what was already trained: status 2, and the run stays as it is."""
    stage, weights, whole = uninterrupted
    before = all_tensors(last_checkpoint(whole))
    done = run(*train_arguments(stage, whole, dataset, weights, train__steps=STEPS + 2, ema__decay=0.9, seed=5))
    assert done.returncode == 2 and "seed" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    after = all_tensors(last_checkpoint(whole))
    assert all(torch.equal(after[n], t) for n, t in before.items())


OBSERVERS = {
    "other intervals": {"validation__every": 2, "sample__every": 4, "train__log_every": 4, "checkpoint__every": 4},
    "recompute": {"train__recompute": "block"},
    "loader threads": {"data__loader_threads": 2, "data__prefetch_batches": 5},
    "a checkpoint a step": {"checkpoint__every": 1},
}


@pytest.mark.parametrize("observer", OBSERVERS)
def test_observers_do_not_disturb(uninterrupted, observer, dataset, tmp_path):
    stage, weights, whole = uninterrupted
    changed = dict(OBSERVERS[observer])
    if stage == "teacher_forcing" and observer == "other intervals":
        changed["rank__every"] = 1
    folder = train(stage, tmp_path / "run", dataset, weights, train__steps=STEPS, ema__decay=0.9, **changed)
    assert_same_bits(folder, whole)


def test_accumulation_is_close(uninterrupted, dataset, tmp_path):
    """Two micro-batches of 2 are one batch of 4 up to the order of fp32 sums."""
    stage, weights, whole = uninterrupted
    folder = train(
        stage, tmp_path / "run", dataset, weights, train__steps=STEPS, ema__decay=0.9, train__micro_batch_size=2
    )
    for ours, theirs in zip(metrics(folder)[:2], metrics(whole)[:2], strict=True):
        assert abs(ours["loss"] - theirs["loss"]) <= 1e-5 * abs(theirs["loss"]), json.dumps([ours, theirs])
