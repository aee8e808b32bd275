"""Faults of a training run: one line on stderr that names the folder, file or key; what was there stays there."""

import os
import resource
import shutil
import subprocess

import pytest

from program import ENVIRONMENT, VMLA, listing, one_line_error, run
from tiny_stage import last_checkpoint, metrics, start_training, train, train_arguments


def test_loss_that_explodes(dataset, tmp_path):
    done = run(*train_arguments("pretrain", tmp_path / "run", dataset, optimizer__lr=1e30, train__steps=20))
    one_line_error(done, "loss", status=1)


def test_run_folder_in_use(dataset, tmp_path):
    folder = tmp_path / "run"
    first = start_training("pretrain", folder, dataset, train__steps=100000)
    try:
        while not (folder / "metrics.jsonl").exists():
            assert first.poll() is None, first.stderr.read()
        done = run(*train_arguments("pretrain", folder, dataset, train__steps=100000))
        one_line_error(done, str(folder))
        assert first.poll() is None, "the run that owns the folder goes on"
    finally:
        first.kill()
        first.wait()


def train_on_full_disk(folder, dataset, most_bytes):
    """Three more steps where no file may get larger than `most_bytes`, as if the disk were full there."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    # SIGXFSZ stays ignored, as Python has it, so that a write beyond the limit fails like one on a full disk
    return subprocess.run(
        [str(VMLA), *map(str, train_arguments("pretrain", folder, dataset, train__steps=9))],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        preexec_fn=limit,
        restore_signals=False,
        timeout=120,
    )


def test_full_disk_while_saving(dataset, dense_run, tmp_path):
    """A file-size limit stands in for a full disk: a save fails in the middle, the good checkpoint stays usable."""
    folder = train("pretrain", tmp_path / "run", dataset)
    before = listing(last_checkpoint(folder))
    one_line_error(train_on_full_disk(folder, dataset, 300_000), "checkpoints", status=1)
    assert listing(last_checkpoint(folder)) == before
    leftovers = [p.name for p in (folder / "checkpoints").iterdir() if p.name not in ("latest", "step_3", "step_6")]
    train("pretrain", folder, dataset, train__steps=9)
    assert last_checkpoint(folder).name == "step_9", f"goes on after the disk has room again ({leftovers} were left)"


@pytest.mark.soak
def test_full_disk_of_many_sizes(dataset, tmp_path):
    """37 sizes, from one in which nothing fits to one in which everything does."""
    saved = train("pretrain", tmp_path / "saved", dataset)
    whole = tmp_path / "whole"
    shutil.copytree(saved, whole, symlinks=True)
    train("pretrain", whole, dataset, train__steps=9)
    before, after = listing(last_checkpoint(saved)), listing(last_checkpoint(whole))
    largest = max(len(content) for content in after.values())
    statuses = set()
    for i in range(37):
        folder = tmp_path / f"run{i}"
        shutil.copytree(saved, folder, symlinks=True)
        done = train_on_full_disk(folder, dataset, int(2.0 * largest * (i / 36) ** 3))
        statuses.add(done.returncode)
        if done.returncode != 0:
            assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        if last_checkpoint(folder).name == "step_6":
            assert listing(last_checkpoint(folder)) == before
        train("pretrain", folder, dataset, train__steps=9)
        assert listing(last_checkpoint(folder)) == after
    assert statuses >= {0, 1}


def test_corrupt_checkpoint_on_resume(dataset, tmp_path):
    """`auto` says which file is altered and goes on from the last good checkpoint; asked for by path it is refused."""
    folder = train("pretrain", tmp_path / "run", dataset)
    damaged = last_checkpoint(folder)
    file = max(damaged.glob("*.safetensors"), key=lambda p: p.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    arguments = train_arguments("pretrain", folder, dataset, train__steps=9)
    one_line_error(run(*arguments, "--resume", damaged), file.name)
    done = run(*arguments)
    assert done.returncode == 0 and file.name in done.stderr
    assert [m["step"] for m in metrics(folder)] == list(range(1, 10))
    assert last_checkpoint(folder).name == "step_9"


def test_dense_settings_on_a_latent_run(latent_run, dataset, dense_run):
    """Resuming with another model is refused and named."""
    before = listing(last_checkpoint(latent_run))
    done = run(*train_arguments("teacher_forcing", latent_run, dataset, dense_run, train__steps=9,
                                rank__every=2, validation__every=3, sample__every=3, ema__decay=0.5,
                                model__kv_lora_rank=16))  # fmt: skip
    one_line_error(done, "kv_lora_rank")
    assert listing(last_checkpoint(latent_run)) == before


def test_read_only_run_folder(dataset, tmp_path):
    """Root may write anywhere, so a file in the folder's place stands in for a folder that cannot be made."""
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    one_line_error(run(*train_arguments("pretrain", blocker / "run", dataset)), str(blocker))
    assert blocker.read_text() == "in the way" and os.listdir(tmp_path) == ["file"]
