"""`vmla compare` on real run folders: side by side, against a reference, and what it refuses."""

import shutil

import pytest
from program import one_line_error, run, vmla
from tiny_stage import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory, dataset):
    """Two short runs of stage 0 that differ in their seed."""
    folder = tmp_path_factory.mktemp("compared")
    return [train("pretrain", folder / f"seed{seed}", dataset, train__steps=24, seed=seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def reference(runs, tmp_path_factory):
    file = tmp_path_factory.mktemp("reference") / "pretrain.json"
    vmla("compare", "--make-reference", file, *runs)
    return file


def test_two_runs(runs, tmp_path):
    done = vmla("compare", *runs, "--out", tmp_path / "out")
    assert "settings that differ" not in done.stdout  # a seed is no setting
    assert "grad_norm" in done.stdout and "B/A" in done.stdout
    rows = (tmp_path / "out" / "comparison.csv").read_text().splitlines()
    assert rows[0] == "stage,figure,until,a,b"
    assert any(row.startswith("pretrain,loss,24,") for row in rows)
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "<svg" in page and "Comparison of seed0 and seed1" in page
    assert "A: seed0</text>" in page and "<th>B: seed1</th><th>B − A</th>" in page


def test_what_files_say_is_no_command_to_the_terminal_or_the_browser(runs, tmp_path):
    """A run folder of somebody else: control characters and markup in its settings and in names of its figures."""
    bad = tmp_path / "<b>bad"
    shutil.copytree(runs[0], bad, symlinks=True)
    config = (bad / "config.yaml").read_text()
    (bad / "config.yaml").write_text(config + 'optimizer.forged: "\\e[2J\\npretrain: healthy<script>"\n')
    lines = (bad / "metrics.jsonl").read_text()
    (bad / "metrics.jsonl").write_text(lines.replace('"grad_norm"', '"grad_norm_\\u001b[31m<i>"'))
    done = vmla("compare", bad, runs[1], "--out", tmp_path / "out")
    assert "\x1b" not in done.stdout and "pretrain: healthy" not in done.stdout.splitlines()
    assert "grad_norm_?[31m" in done.stdout
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "<script>" not in page and "<i>" not in page and "<b>bad" not in page


def test_a_run_of_the_reference_is_healthy(runs, reference):
    done = vmla("compare", runs[0], reference, "--check")
    assert done.stdout.splitlines()[-1] == "pretrain: healthy"
    # The folder of references finds the stage's by its name.
    assert vmla("compare", runs[1], reference.parent, "--check").stdout.splitlines()[-1] == "pretrain: healthy"


def test_a_rate_ten_times_too_high_is_outside(runs, reference, dataset, tmp_path):
    bad = train("pretrain", tmp_path / "bad", dataset, train__steps=24, optimizer__lr=0.1, train__log_every=24)
    told = vmla("compare", bad, reference)
    assert told.stdout.splitlines()[-1].startswith("pretrain: outside, first in ")
    assert "optimizer.lr: 0.1 | 0.004" in told.stdout
    assert run("compare", bad, reference, "--check").returncode == 1


def test_what_cannot_be_compared_is_one_line(runs, reference, latent_run, tmp_path):
    one_line_error(run("compare", runs[0]), "two runs")
    one_line_error(run("compare", runs[0], tmp_path / "nothing"), "does not exist")
    (tmp_path / "empty").mkdir()
    one_line_error(run("compare", tmp_path / "empty", runs[0]), "is not a run folder")
    one_line_error(run("compare", runs[0], latent_run), "different stages", "teacher_forcing")
    one_line_error(run("compare", latent_run, reference), "was trained by teacher_forcing")
    one_line_error(run("compare", *runs, "--check"), "--check")
    one_line_error(run("compare", "--make-reference", tmp_path / "one.json", runs[0]), "two runs or more")

    cut = tmp_path / "cut"
    shutil.copytree(runs[0], cut, symlinks=True)
    text = (cut / "metrics.jsonl").read_text()
    (cut / "metrics.jsonl").write_text(text[:-20])
    one_line_error(run("compare", cut, runs[1]), "metrics.jsonl", "line 24")
    (tmp_path / "x.json").write_text("{}")
    one_line_error(run("compare", runs[0], tmp_path / "x.json"), "is not a reference trace")


def test_pipelines_stage_by_stage(runs, tmp_path):
    for name, folder in zip("ab", runs):
        shutil.copytree(folder, tmp_path / name / "pretrain", symlinks=True)
    shutil.copytree(runs[0], tmp_path / "a" / "extra", symlinks=True)
    assert "stage pretrain" in vmla("compare", tmp_path / "a", tmp_path / "b").stdout
    shutil.rmtree(tmp_path / "a" / "extra")
    vmla("compare", "--make-reference", tmp_path / "ref", tmp_path / "a", tmp_path / "b")
    done = vmla("compare", tmp_path / "a", tmp_path / "ref", "--check")
    assert done.stdout.splitlines()[-1] == "pretrain: healthy"
    one_line_error(
        run("compare", "--make-reference", tmp_path / "ref.json", tmp_path / "a", tmp_path / "b"), "need a folder"
    )
