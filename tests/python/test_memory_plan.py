"""What a stage is said to need before it starts, and what its run then held."""

import json

import pytest
from program import REPOSITORY, one_line_error, run, vmla
from tiny_stage import CONFIGS, metrics, train


def plan(config, folder, *extra):
    file = folder / "memory.json"
    vmla("analyze", "memory", "--config", config, "--json", file, *extra)
    return json.loads(file.read_text())


def agrees(run_dir):
    memory = json.loads((run_dir / "summary.json").read_text())["memory"]
    assert memory["measured_bytes"] == max(line["tensor_peak_bytes"] for line in metrics(run_dir))
    assert memory["ratio"] == pytest.approx(memory["predicted_bytes"] / memory["measured_bytes"])
    assert memory["ratio"] == pytest.approx(1.0, abs=0.1)


def test_a_run_holds_what_was_predicted(dense_run, latent_run):
    agrees(dense_run)
    agrees(latent_run)  # with a moving average and every observer


def test_consistency_and_dmd_hold_what_was_predicted(dataset, dense_run, latent_run, tmp_path):
    agrees(train("consistency", tmp_path / "cd", dataset, latent_run))
    scores = {"init_from__real_score": str(dense_run)}
    agrees(train("dmd", tmp_path / "dmd", dataset, latent_run, **scores))
    agrees(train("dmd", tmp_path / "block", dataset, latent_run, train__recompute="block", **scores))


def test_a_plan_needs_neither_data_nor_weights(tmp_path):
    config = REPOSITORY / "configs" / "wan1.3b" / "teacher_forcing.yaml"
    table = vmla("train", "--config", config, "--run-dir", tmp_path / "run", "--dry-run").stdout
    assert "generator" in table and "peak of a step" in table and "checkpoint" in table
    assert not (tmp_path / "run").exists()
    planned = plan(config, tmp_path, "--gpu-memory", "80")
    generator = planned["roles"]["generator"]
    assert generator["masters"] == 4 * generator["parameters"]
    # a save copies what it writes, in memory that is not among the tensors
    assert planned["checkpoint_host_copy"] == planned["checkpoint"] > 0
    assert planned["peak"] > planned["resident"] >= generator["masters"] + generator["gradients"]
    assert "largest_micro_batch" in planned


def test_the_table_says_where_a_scores_sizes_come_from(dense_run, tmp_path):
    config = CONFIGS / "dmd.yaml"
    missing = ["--set", f"init_from.real_score={tmp_path / 'nowhere'}"]
    assert "twin" in plan(config, tmp_path, *missing)["roles"]["real_score"]["sizes_from"]
    there = plan(config, tmp_path, "--set", f"init_from.real_score={dense_run}")
    assert str(dense_run) in there["roles"]["real_score"]["sizes_from"]


def test_a_batch_that_does_not_divide_is_refused():
    done = run("analyze", "memory", "--config", CONFIGS / "teacher_forcing.yaml", "--gpus", "3")
    one_line_error(done, "train.batch_size", "3 data ranks")
