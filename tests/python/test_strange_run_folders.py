"""Run folders whose files somebody has damaged, or made to be expensive."""

import json
import shutil
import time

import pytest
from program import one_line_error, run, vmla
from tiny_stage import metrics, train_arguments

DEEP = "[" * 200_000 + "]" * 200_000


@pytest.fixture(scope="module")
def finished(tmp_path_factory, dataset):
    run_dir = tmp_path_factory.mktemp("strange") / "run"
    vmla(*train_arguments("pretrain", run_dir, dataset, sample__every=6))
    return run_dir


@pytest.fixture
def strange(finished, tmp_path):
    copied = tmp_path / "strange"
    shutil.copytree(finished, copied, symlinks=True)
    return copied


def test_text_that_is_nested_without_end_is_damaged_text(finished, strange):
    whole = (strange / "metrics.jsonl").read_text()
    (strange / "metrics.jsonl").write_text(whole + '{"step": 7, "loss": ' + DEEP + "}\n")
    one_line_error(run("compare", finished, strange), "metrics.jsonl: line 7 is damaged")
    (strange / "metrics.jsonl").write_text(whole)
    for samples in strange.glob("samples/*/samples.json"):
        samples.write_text(DEEP)
    (strange / "summary.json").write_text('{"stages": ' + DEEP + "}")
    done = run("compare", finished, strange)
    assert done.returncode in (0, 2) and len(done.stderr.splitlines()) <= 1, done.stderr


def test_a_run_goes_on_behind_a_nested_line(strange, dataset):
    with (strange / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "loss": ' + DEEP + "}\n")
    (strange / "summary.json").unlink()
    done = vmla(*train_arguments("pretrain", strange, dataset, train__steps=8))
    assert "dropped 1 damaged lines" in done.stderr
    assert [line["step"] for line in metrics(strange)] == list(range(1, 9))


def test_many_names_in_a_line_cost_what_many_lines_do(finished, strange, tmp_path):
    """Linear: a search through all names at each name took a minute."""
    line = {"step": 7} | {f"figure_{i}": i for i in range(100_000)}
    with (strange / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    (strange / "summary.json").write_text(json.dumps(line))
    begin = time.monotonic()
    vmla("compare", finished, strange, "--out", tmp_path / "c")
    assert time.monotonic() - begin < 10


def test_a_reference_that_is_nested_is_named(finished, tmp_path):
    (tmp_path / "reference.json").write_text(DEEP)
    one_line_error(run("compare", finished, tmp_path / "reference.json"), "reference.json", "levels deep")
