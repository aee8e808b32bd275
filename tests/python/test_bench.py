"""`vmla bench`: every benchmark runs on tiny sizes, and its figures hang together. How fast anything is, is not tested."""

from __future__ import annotations

import json

import pytest
from program import run, vmla

FEW = ["--repeats", 2, "--warm-up", 1]
SMALL = ["--set", "model.num_layers=2"]


def bench(name, folder, *options):
    file = folder / f"{name}.json"
    done = vmla("bench", name, *FEW, "--json", file, *options)
    page = json.loads(file.read_text())
    assert page["benchmark"] == name
    for row in page["rows"]:
        assert f"  {row['name']}: " in done.stdout
        seconds = row["seconds"]
        assert 0 <= seconds["least"] <= seconds["median"] <= seconds["most"]
    assert all(rate > 0 for rate in page["machine"].values())
    return page


@pytest.mark.parametrize("name", ["step", "stream", "optimizer", "vae"])
def test_runs_without_weights_or_clips(name, tmp_path):
    page = bench(name, tmp_path)
    assert all(len(row["seconds"]["runs"]) >= 2 for row in page["rows"])


@pytest.mark.parametrize("stage", ["pretrain", "diffusion_forcing", "consistency", "ode_regression", "dmd"])
def test_step_of_every_objective(stage, tmp_path):
    row = bench("step", tmp_path, "--config", f"configs/tiny/{stage}.yaml", *SMALL)["rows"][0]
    assert row["name"] == ("cycle of 5 steps" if stage == "dmd" else "step")
    assert row["flops"] > 0 and row["mfu"] > 0
    phases = {name.removeprefix("seconds_"): value for name, value in row["figures"].items() if "seconds_" in name}
    others = {"dmd": {"rollout", "scores"}, "consistency": {"teacher", "target"}}.get(stage, set())
    assert set(phases) == {"data", "forward", "backward", "optimizer"} | others
    assert min(phases.values()) > 0 and sum(phases.values()) <= row["seconds"]["mean"]


def test_flops_of_a_step_are_those_of_the_plan(tmp_path):
    row = bench("step", tmp_path)["rows"][0]
    plan = tmp_path / "plan.json"
    config = ["--config", "configs/tiny/teacher_forcing.yaml"]
    vmla("analyze", "memory", *config, "--json", plan)
    assert row["flops"] == pytest.approx(json.loads(plan.read_text())["flops"]["step"], rel=1e-12)


def test_stream_counts_the_cache(tmp_path):
    page = bench("stream", tmp_path, "--chunks", 6)
    first, steady = page["rows"]
    # 24 + 12 numbers of fp32 for each of 16 tokens of the window's four frames before a chunk, in three layers.
    assert steady["figures"]["cache_bytes"] == 3 * 4 * 16 * 36 * 4
    assert steady["figures"]["passes"] == 5
    assert len(first["seconds"]["runs"]) == 2
    # The window is full from the third chunk on: four of six, twice.
    assert len(steady["seconds"]["runs"]) == 8


def test_stream_without_a_window_has_a_last_chunk(tmp_path):
    window = ["--set", "model.local_attn_size=-1", "--set", "model.sink_size=0"]
    last = bench("stream", tmp_path, "--chunks", 4, *window)["rows"][1]
    assert last["name"] == "last chunk" and len(last["seconds"]["runs"]) == 2
    assert "last_to_first_steady" not in last["figures"]


def test_checkpoint_leaves_nothing_behind(tmp_path):
    page = bench("checkpoint", tmp_path, "--folder", tmp_path, "--disk-rate", 3)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.json"]
    alone, beside, waited, saved = page["rows"]
    # At 3 MB/s a save takes a second, which no step waits for.
    least = saved["figures"]["state_bytes"] / 3e6
    assert least > 0.9
    assert saved["seconds"]["least"] >= 0.9 * least  # files below the weights' are not slowed down
    assert waited["seconds"]["most"] < 0.5 * least
    assert len(saved["seconds"]["runs"]) == 2


def test_init_reaches_the_optimum_and_names_its_peers(tmp_path):
    page = bench("init", tmp_path, "--config", "configs/tiny/teacher_forcing.yaml")
    ours, *peers = page["rows"]
    assert abs(ours["figures"]["error_above_optimal"]) < 1e-5
    assert [row["name"] for row in peers] == [f"torch.linalg.svd, {t}, one layer" for t in ("Float", "Double")]


def test_rank_is_beside_the_singular_values(tmp_path):
    page = bench("rank", tmp_path, "--config", "configs/tiny/teacher_forcing.yaml")
    assert page["rows"][0]["figures"]["worst_difference_of_the_largest"] < 1e-12
    assert page["rows"][1]["figures"]["processor_ratio_all_layers"] > 0


def test_data_reads_all_clips(tmp_path, dataset):
    again, first, plain = bench("data", tmp_path, "--set", f"data.path={dataset}")["rows"]
    # The files hold texts and an index besides.
    assert 0 < again["bytes"] == first["bytes"] < plain["bytes"] == dataset.stat().st_size


@pytest.mark.parametrize(
    "options, said",
    [
        (["nonsense"], "NAME: nonsense not in"),
        ([], "NAME is required"),
        (["step", "--config", "nothing.yaml"], "nothing.yaml"),
        (["stream", "--config", "configs/tiny/pretrain.yaml"], "trains on whole clips"),
        (["rank", "--config", "configs/tiny/pretrain.yaml"], "model.attention is dense"),
        (["data", "--set", "data.path=nothing.h5"], "nothing.h5 does not exist"),
        (["step", "--repeats", "0"], "--repeats"),
        (["step", "--chunks", "4"], "--chunks is for bench stream"),
        (["stream", "--chunks", "3"], "with a window of 7 frames take 5 or more"),
        (["checkpoint", "--folder", "nowhere"], "--folder nowhere: is not a folder"),
        (["step", "--json", "nowhere/step.json"], "there is no folder nowhere"),
        (["init", "--set", "init.method=random"], "init.method is 'random'"),
        (["init", "--set", "init.method=care"], "init.method is 'care'"),
    ],
)
def test_bad_input_is_one_line(options, said):
    done = run("bench", *options)
    assert done.returncode == 2
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1
