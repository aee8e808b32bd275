"""A run goes on with the data and the frozen networks that it was trained with, wherever they lie."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from program import one_line_error, run, vmla
from tiny_stage import make_dataset, metrics, train, train_arguments


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """A dataset of eight clips, and a run of four steps on it."""
    folder = tmp_path_factory.mktemp("identity")
    data = make_dataset(folder, 8)
    return data, train("pretrain", folder / "run", data, train__steps=4, checkpoint__every=0)


@pytest.fixture
def case(trained, tmp_path) -> tuple[Path, Path]:
    data, first = trained
    shutil.copy(data, tmp_path / "clips.h5")
    shutil.copytree(first, tmp_path / "run", symlinks=True)
    return tmp_path / "clips.h5", tmp_path / "run"


def go_on(run_dir: Path, data: Path, stage: str = "pretrain", **settings):
    return run(*train_arguments(stage, run_dir, data, **({"train__steps": 6, "checkpoint__every": 0} | settings)))


def test_the_same_clips_by_another_path_are_the_same_data(trained, case):
    data, run_dir = case  # a copy: the run began with the original's path
    done = go_on(run_dir, data)
    assert done.returncode == 0, done.stderr
    assert [row["step"] for row in metrics(run_dir)] == [1, 2, 3, 4, 5, 6]


def test_other_clips_under_the_same_path_are_refused_and_can_be_permitted(case, tmp_path):
    data, run_dir = case
    before = (run_dir / "metrics.jsonl").read_bytes()
    other = make_dataset(tmp_path / "other", 8, "--seed", 5)
    shutil.copy(other, data)
    line = one_line_error(go_on(run_dir, data))
    assert "data.path" in line and "8 clips" in line and "data.allow_other_data" in line
    assert (run_dir / "metrics.jsonl").read_bytes() == before
    done = go_on(run_dir, data, data__allow_other_data=True)
    assert done.returncode == 0, done.stderr
    assert "data.allow_other_data" in (run_dir / "log.txt").read_text()
    # What it goes on with next time is what it was trained on last.
    assert go_on(run_dir, data, train__steps=7).returncode == 0


def test_more_clips_are_other_data(case, tmp_path):
    data, run_dir = case
    shutil.copy(make_dataset(tmp_path / "more", 12), data)
    line = one_line_error(go_on(run_dir, data))
    assert "12 clips" in line and "8 clips" in line


def test_missing_data_are_not_made_anew(case):
    data, run_dir = case
    data.unlink()
    make = {"data__make__synth_count": 4, "data__make__videos": str(data.parent / "videos")}
    make |= {"data__validation_path": "", "data__make_validation": {}}
    line = one_line_error(go_on(run_dir, data, **make))
    assert "data.path" in line and "makes no data" in line
    assert not data.exists() and not (data.parent / "videos").exists()


def test_a_checkpoint_without_the_identity_goes_on(trained, case):
    data, run_dir = case
    (manifest,) = (run_dir / "checkpoints").glob("step_*/manifest.json")
    content = json.loads(manifest.read_text())
    assert content["data_position"].pop("dataset_clips") == 8
    assert len(content["data_position"].pop("dataset_hash")) == 64
    rewrite(manifest, content)
    assert go_on(run_dir, trained[0]).returncode == 0


def rewrite(manifest: Path, content: dict) -> None:
    import hashlib

    content["manifest_sha256"] = "0" * 64
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    manifest.write_text(text.replace("0" * 64, digest, 1))


def test_a_frozen_network_that_was_trained_further_is_noticed(trained, tmp_path):
    data = trained[0]
    dense = tmp_path / "dense"
    shutil.copytree(trained[1], dense, symlinks=True)
    causal = train("teacher_forcing", tmp_path / "causal", data, dense, train__steps=2, ema__decay=0.9)
    source = str(causal)
    student = tmp_path / "student"
    settings = {"train__steps": 2, "checkpoint__every": 0, "init_from__teacher": source}
    train("consistency", student, data, causal, **settings)
    moved = tmp_path / "moved"
    shutil.copytree(causal, moved, symlinks=True)
    train("teacher_forcing", causal, data, dense, train__steps=3, ema__decay=0.9)

    def more(**changed):
        return run(*train_arguments("consistency", student, data, causal, **(settings | {"train__steps": 3} | changed)))

    line = one_line_error(more())
    assert "init_from.teacher" in line and "init.allow_other_source" in line
    assert more(init_from__teacher=str(moved)).returncode == 0  # the weights of then, elsewhere
    done = more(train__steps=4, init__allow_other_source=True)
    assert done.returncode == 0, done.stderr
    assert "init.allow_other_source" in (student / "log.txt").read_text()


def test_how_latent_attention_began_is_known_in_later_stages(trained, tmp_path):
    data, dense = trained
    causal = train("teacher_forcing", tmp_path / "causal", data, dense, train__steps=2, init__method="random")
    student = train("consistency", tmp_path / "student", data, causal, train__steps=1, checkpoint__every=0)
    (manifest,) = (student / "checkpoints").glob("step_*/manifest.json")
    assert json.loads(manifest.read_text())["model"]["init_method"] == "random"
    vmla("export", "--checkpoint", student, "--format", "videomla", "--out", tmp_path / "export")
    assert json.loads((tmp_path / "export" / "config.json").read_text())["init_method"] == "random"


def test_a_longer_stage_says_what_becomes_of_the_learning_rate(case):
    data, run_dir = case
    cosine = {"optimizer__lr_schedule": "cosine", "optimizer__lr": 0.002, "optimizer__min_lr_ratio": 0.1}
    shutil.rmtree(run_dir)
    train("pretrain", run_dir, data, train__steps=4, checkpoint__every=0, **cosine)
    last = metrics(run_dir)[-1]["lr"]
    kept = go_on(run_dir, data, optimizer__schedule_steps=4, **cosine)
    assert kept.returncode == 0 and "learning rate" not in kept.stdout + kept.stderr
    assert metrics(run_dir)[-1]["lr"] == pytest.approx(0.0002) and last > 0.0002
    jumped = go_on(run_dir, data, train__steps=12, **cosine)
    assert jumped.returncode == 0
    text = jumped.stdout + jumped.stderr
    assert "learning rate 0.0002" in text and "optimizer.schedule_steps" in text
