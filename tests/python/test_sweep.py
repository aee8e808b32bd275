"""`vmla sweep`: cells share stages, tables are what the runs say, kills and failures leave the rest sound."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from program import one_line_error, run, start, vmla
from tiny_stage import CONFIGS, SHORT, make_dataset, metrics

# Two-sided 95 % point of Student's t with one degree of freedom.
T_OF_ONE = 12.706204736


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data"), 6)


def write_sweep(folder: Path, content: dict, name: str = "sweep.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def short(data: Path, **settings) -> dict:
    common = {"data.path": str(data), "data.validation_path": str(data)} | SHORT
    return common | {key.replace("__", "."): value for key, value in settings.items()}


def ranks(data: Path, **changes) -> dict:
    """Two ranks over two seeds, each seed with a pretrained model of its own."""
    stages = [
        {"name": "pretrain", "config": str(CONFIGS / "pretrain.yaml")},
        {"name": "tf", "config": str(CONFIGS / "teacher_forcing.yaml")},
    ]
    tf = short(data, validation__every=1, train__steps=5, checkpoint__every=1, rank__every=5, sample__also_few_step=[])
    return {
        "name": "ranks",
        "base": {"stages": stages},
        "set": {"pretrain": short(data, train__steps=3), "tf": tf},
        "grid": {"tf.model.kv_lora_rank": [4, 24]},
        "seeds": [0, 1],
        "metrics": ["validation_loss", "rank.entropy_rank", "pretrain.loss"],
        "baseline": {"kv_lora_rank": 24},
    } | changes


def lone_stage(data: Path, **changes) -> dict:
    return {"base": str(CONFIGS / "pretrain.yaml"), "set": short(data, train__steps=3), "seeds": [0]} | changes


def rows(run_dir: Path, table: str) -> list[dict]:
    with open(run_dir / f"{table}.csv", newline="") as file:
        return list(csv.DictReader(file))


def tables(run_dir: Path) -> dict[str, bytes]:
    return {name: (run_dir / name).read_bytes() for name in ("table.csv", "summary.csv", "differences.csv", "sweep.json")}


@pytest.fixture(scope="module")
def swept(data, tmp_path_factory) -> tuple[Path, dict]:
    """A sweep that ran without interruption, and its file's content. The targets lie between what curves begin and
    end with, and far below."""
    folder = tmp_path_factory.mktemp("swept")
    content = ranks(data, targets=[0.97, 0.01])
    vmla("sweep", "--config", write_sweep(folder, content), "--run-dir", folder / "run", "--jobs", 2)
    return folder / "run", content


def test_equal_stages_are_trained_once_and_every_cell_is_a_run(swept):
    run_dir, _ = swept
    stages = [folder.name.split("-")[0] for folder in (run_dir / "stages").iterdir()]
    assert sorted(stages) == ["pretrain"] * 2 + ["tf"] * 4
    cells = {(rank, seed): run_dir / f"cells/kv_lora_rank={rank}/seed_{seed}" for rank in (4, 24) for seed in (0, 1)}
    for seed in (0, 1):
        shared = {(cells[rank, seed] / "pretrain").resolve() for rank in (4, 24)}
        assert len(shared) == 1, "cells of one seed share their pretrained model"
    assert (cells[4, 0] / "pretrain").resolve() != (cells[4, 1] / "pretrain").resolve()
    for (rank, seed), cell in cells.items():
        config = yaml.safe_load((cell / "tf/config.yaml").read_text())
        assert config["model"]["kv_lora_rank"] == rank and config["seed"] == seed
        assert json.loads((cell / "summary.json").read_text())["stages"].keys() == {"pretrain", "tf"}
        assert (cell / "report.html").exists() and (cell / "tf/report.html").exists()
    compared = vmla("compare", cells[4, 0], cells[24, 0]).stdout
    differing = compared.split("settings that differ (A | B):\n")
    assert len(differing) == 2 and differing[1].split("\n\n")[0].strip() == "model.kv_lora_rank: 4 | 24"
    # A cell is a pipeline that is finished, and its stage a run that is done.
    again = vmla("pipeline", "--config", cells[4, 1] / "pipeline.yaml", "--run-dir", cells[4, 1]).stdout
    assert again.count("finished before, skipped") == 2
    again = vmla("train", "--config", cells[4, 1] / "tf/config.yaml", "--run-dir", cells[4, 1] / "tf").stdout
    assert "was already done" in again


def test_sweeps_share_a_folder_of_stages(swept, tmp_path):
    run_dir, content = swept
    other = content | {"stages_dir": str(run_dir / "stages"), "grid": {"tf.model.kv_lora_rank": [6, 24]}}
    file = write_sweep(tmp_path, other)
    listed = vmla("sweep", "--config", file, "--run-dir", tmp_path / "run", "--dry-run").stdout
    assert "6 stages instead of 8, 4 of them finished" in listed
    vmla("sweep", "--config", file, "--run-dir", tmp_path / "run", "--jobs", 2)
    assert not (tmp_path / "run/stages").exists()
    same = {row["seed"]: row for row in rows(run_dir, "table") if row["kv_lora_rank"] == "24"}
    for row in rows(tmp_path / "run", "table"):
        assert row["state"] == "done"
        if row["kv_lora_rank"] == "24":
            assert row["validation_loss"] == same[row["seed"]]["validation_loss"]


def test_sweeps_share_stages_while_both_run(data, tmp_path):
    shared = lone_stage(data, stages_dir=str(tmp_path / "stages"), set=short(data, train__steps=40), metrics=["loss"])
    file = write_sweep(tmp_path, shared)
    both = [start("sweep", "--config", file, "--run-dir", tmp_path / name) for name in ("a", "b")]
    said = [sweep.communicate(timeout=120) for sweep in both]
    assert [sweep.returncode for sweep in both] == [0, 0], said
    (a,), (b,) = rows(tmp_path / "a", "table"), rows(tmp_path / "b", "table")
    assert a["state"] == b["state"] == "done" and a["loss"] == b["loss"]
    assert len(metrics(next((tmp_path / "stages").iterdir()))) == 40


def expected_steps(curve: list[tuple[int, float]], target: float) -> float | None:
    for (s0, v0), (s1, v1) in zip([curve[0], *curve], curve, strict=False):
        if v1 <= target:
            return s1 if s0 == s1 else float(np.interp(-target, [-v0, -v1], [s0, s1]))
    return None


def test_tables_are_what_the_runs_say(swept):
    run_dir, content = swept
    seen = {}
    for row in rows(run_dir, "table"):
        cell = run_dir / row["folder"]
        tf, pretrain = metrics(cell / "tf"), metrics(cell / "pretrain")
        curve = [(line["step"], line["validation_loss"]) for line in tf if "validation_loss" in line]
        summary = json.loads((cell / "tf/summary.json").read_text())
        figures = {
            "validation_loss": curve[-1][1],
            "rank.entropy_rank": np.mean(summary["rank"]["entropy_rank"]),
            "pretrain.loss": [line["loss"] for line in pretrain if "loss" in line][-1],
            "steps_to_0.97": expected_steps(curve, 0.97),
            "steps_to_0.01": None,
        }
        assert row["state"] == "done" and row["failure"] == ""
        for name, figure in figures.items():
            shown = None if row[name] == "never" else float(row[name])
            assert (shown is None) == (figure is None) and (figure is None or shown == pytest.approx(figure, rel=1e-7))
        seen[int(row["kv_lora_rank"]), int(row["seed"])] = figures
    assert len(seen) == 4

    for row in rows(run_dir, "summary"):
        rank = int(row["cell"].removeprefix("kv_lora_rank="))
        values = [seen[rank, seed][row["figure"]] for seed in (0, 1)]
        reached = [v for v in values if v is not None]
        assert int(row["n"]) == len(reached) and int(row["never"]) == 2 - len(reached)
        if len(reached) == 2:
            assert float(row["mean"]) == pytest.approx(np.mean(values), rel=1e-7)
            assert float(row["sd"]) == pytest.approx(np.std(values, ddof=1), rel=1e-6)
        else:
            assert row["mean"] == row["sd"] == ""

    differences = {row["figure"]: row for row in rows(run_dir, "differences")}
    assert differences.keys() == {*content["metrics"], "steps_to_0.97", "steps_to_0.01"}
    row = differences["validation_loss"]
    assert (row["cell"], row["baseline"], row["n"]) == ("kv_lora_rank=4", "kv_lora_rank=24", "2")
    d = np.array([seen[4, seed]["validation_loss"] - seen[24, seed]["validation_loss"] for seed in (0, 1)])
    half = T_OF_ONE * d.std(ddof=1) / math.sqrt(2)
    assert float(row["difference"]) == pytest.approx(d.mean(), rel=1e-6)
    assert float(row["low"]) == pytest.approx(d.mean() - half, rel=1e-5, abs=1e-8)
    assert float(row["high"]) == pytest.approx(d.mean() + half, rel=1e-5, abs=1e-8)
    assert differences["pretrain.loss"]["difference"] == "0", "cells of one seed start from one model"
    assert differences["steps_to_0.01"]["left_out"] == "2"
    page = (run_dir / "sweep.html").read_text()
    assert "fewer than 5" in page and "2 of 2 never" in page and page.count("<svg") >= 4


def test_killed_and_stopped_it_goes_on_to_the_same_tables(swept, tmp_path):
    whole, content = swept
    file, run_dir = write_sweep(tmp_path, content), tmp_path / "run"
    command = ["sweep", "--config", file, "--run-dir", run_dir, "--jobs", 2]

    def finished() -> set[Path]:
        return set(run_dir.glob("stages/*/summary.json"))

    def wait_for(stages: int, process):
        deadline = time.monotonic() + 120
        while len(finished()) < stages and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)

    killed = start(*command)
    wait_for(1, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    stopped = start(*command)
    wait_for(3, stopped)
    stopped.send_signal(signal.SIGTERM)
    _, stderr = stopped.communicate(timeout=60)
    assert stopped.returncode == 75, stderr
    own = [line for line in stderr.splitlines() if not line.startswith("[")]
    assert len(own) == 1 and "runs are finished; run the same command again to go on" in own[0]
    assert "waiting" in (run_dir / "table.csv").read_text()

    before = {path: os.stat(path.parent / "metrics.jsonl").st_mtime_ns for path in finished()}
    assert before
    vmla(*command)
    for path, written in before.items():
        assert os.stat(path.parent / "metrics.jsonl").st_mtime_ns == written, f"{path.parent.name} was trained again"
    assert tables(run_dir) == tables(whole)


def test_a_changed_file_trains_what_is_new(swept, tmp_path):
    whole, content = swept
    run_dir = tmp_path / "moved"  # what stages are called follows from what they compute, not from where they lie
    shutil.copytree(whole, run_dir, symlinks=True)
    wider = content | {"grid": {"tf.model.kv_lora_rank": [4, 8]}, "seeds": [0], "baseline": {"kv_lora_rank": 4}}
    file = write_sweep(tmp_path, wider)
    plan = vmla("sweep", "--config", file, "--run-dir", run_dir, "--dry-run").stdout
    assert "cell kv_lora_rank=8, compared with kv_lora_rank=4" in plan
    assert "cells: 2 runs; 3 stages instead of 4, 2 of them finished; 13 steps, 5 left" in plan
    before = {folder.name for folder in (run_dir / "stages").iterdir()}
    said = vmla("sweep", "--config", file, "--run-dir", run_dir).stdout
    assert "1 run (cells/kv_lora_rank=8/seed_0) new since the last start" in said
    assert "3 runs (cells/kv_lora_rank=24/seed_0, ...) no longer in the file" in said
    new = {folder.name for folder in (run_dir / "stages").iterdir()} - before
    assert [name.split("-")[0] for name in new] == ["tf"]
    assert [row["kv_lora_rank"] for row in rows(run_dir, "table")] == ["4", "8"]


def test_runs_that_another_machine_has_trained_are_taken_from_its_tables(swept, data, tmp_path):
    """A folder with the tables alone stands for the run folders: what it has is not trained again, and the new tables say
    what those of a sweep that trained everything say."""
    whole, content = swept
    kept = tmp_path / "kept"
    kept.mkdir()
    one_seed = content | {"seeds": [1]}
    vmla("sweep", "--config", write_sweep(tmp_path, one_seed, "one.yaml"), "--run-dir", tmp_path / "one", "--jobs", 2)
    for name in ("table.csv", "curves.csv"):
        shutil.copy(tmp_path / "one" / name, kept)
    shutil.rmtree(tmp_path / "one")

    file, run_dir = write_sweep(tmp_path, content), tmp_path / "run"
    command = ["sweep", "--config", file, "--run-dir", run_dir, "--reuse", kept]
    planned = vmla(*command, "--dry-run").stdout
    assert "2 of 4 runs are taken from the tables of --reuse" in planned
    assert "cells: 2 runs; 3 stages instead of 4, 0 of them finished" in planned
    vmla(*command, "--jobs", 2)
    stages = sorted(folder.name.split("-")[0] for folder in (run_dir / "stages").iterdir())
    assert stages == ["pretrain", "tf", "tf"], "a pretrained model that no run needs is not trained"
    mine, theirs = rows(run_dir, "table"), rows(whole, "table")
    for row, other in zip(mine, theirs, strict=True):
        assert (row.pop("folder") == "") == (row["seed"] == "1")
        del other["folder"]
        assert row == other
    assert (run_dir / "curves.csv").read_bytes() == (whole / "curves.csv").read_bytes()
    for name, column in (("summary", "mean"), ("differences", "difference")):
        here, there = rows(run_dir, name), rows(whole, name)
        assert [row["figure"] for row in here] == [row["figure"] for row in there]
        for row, other in zip(here, there, strict=True):
            # Made of figures of nine digits.
            assert row[column] == other[column] or float(row[column]) == pytest.approx(float(other[column]), rel=1e-6, abs=1e-9)
    page = (run_dir / "sweep.html").read_text()
    assert "4 of 4 runs are done" in page and page.count("/report.html") == 2
    # Tables made so can be reused in turn, and then nothing is left.
    everything = vmla("sweep", "--config", file, "--run-dir", tmp_path / "again", "--reuse", run_dir, "--dry-run").stdout
    assert "cells: 0 runs; 0 stages instead of 0" in everything

    # Another setting, or another figure, is another run.
    longer = content | {"set": content["set"] | {"tf": content["set"]["tf"] | {"train.steps": 6}}}
    more = content | {"metrics": [*content["metrics"], "rank.r99"]}
    for other in (longer, more):
        planned = vmla("sweep", "--config", write_sweep(tmp_path, other), "--reuse", kept, "--dry-run").stdout
        assert "0 of 4 runs are taken" in planned
    (kept / "table.csv").write_text("cell,seed,state,loss\n")
    one_line_error(run(*command), "table.csv", "no column 'stages'")
    one_line_error(run(*command[:-1], tmp_path / "nowhere"), "nowhere/table.csv")


def test_a_run_from_tables_is_done_whatever_becomes_of_its_stages(data, tmp_path):
    """Its pretrained model is also that of a run which is left, and fails there."""
    content = ranks(data, seeds=[0])
    content["set"]["pretrain"] |= {"optimizer.lr": 1e30}
    file, kept = write_sweep(tmp_path, content), tmp_path / "kept"
    assert run("sweep", "--config", file, "--run-dir", kept).returncode == 1
    table = rows(kept, "table")
    table[0] |= {"state": "done", "failure": ""} | {name: "0.5" for name in content["metrics"]}
    with open(kept / "table.csv", "w", newline="") as text:
        writer = csv.DictWriter(text, table[0].keys())
        writer.writeheader()
        writer.writerows(table)
    done = run("sweep", "--config", file, "--run-dir", tmp_path / "run", "--reuse", kept)
    assert done.returncode == 1 and "1 of 2 runs failed" in done.stderr
    assert [(row["state"], row["failure"] == "") for row in rows(tmp_path / "run", "table")] == [("done", True), ("failed", False)]


def test_values_that_another_machine_has_tried_are_not_tried_again(data, tmp_path):
    tune = {"key": "optimizer.lr", "values": [1e-6, 3e-3], "seeds": [7], "at": {"decay": 0.5}}
    content = lone_stage(data, grid={"ema.decay": [0.5, 0.6]}, tune=tune, metrics=["loss"])
    file = write_sweep(tmp_path, content)
    vmla("sweep", "--config", file, "--run-dir", tmp_path / "a", "--jobs", 2)
    vmla("sweep", "--config", file, "--run-dir", tmp_path / "b", "--reuse", tmp_path / "a")
    assert not (tmp_path / "b/stages").exists()
    assert (tmp_path / "b/tune.csv").read_bytes() == (tmp_path / "a/tune.csv").read_bytes()
    assert [row["state"] for row in rows(tmp_path / "b", "table")] == ["done", "done"]


def stage_process(sweep: int) -> int | None:
    """The child in which a stage trains, from the moment on that it is `vmla train`."""
    for child in Path(f"/proc/{sweep}/task/{sweep}/children").read_text().split():
        with contextlib.suppress(OSError):  # a child that only tried a file, and is gone
            if b"train" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return None


def test_a_stage_that_is_told_to_stop_is_stopped(data, tmp_path):
    """Also one that had not run its first line, which the signal ends as it ends any program."""
    file, run_dir = write_sweep(tmp_path, lone_stage(data, set=short(data, train__steps=5000))), tmp_path / "run"
    sweep = start("sweep", "--config", file, "--run-dir", run_dir)
    deadline = time.monotonic() + 60
    while (stage := stage_process(sweep.pid)) is None and time.monotonic() < deadline:
        pass
    os.kill(stage, signal.SIGTERM)
    _, stderr = sweep.communicate(timeout=60)
    assert sweep.returncode == 75, stderr
    assert [row["state"] for row in rows(run_dir, "table")] == ["waiting"]


def test_a_failed_run_is_marked_and_the_rest_goes_on(data, tmp_path):
    rates = {"optimizer.lr": [1e-3, 1e30]}
    content = lone_stage(data, grid=rates, baseline={"lr": 1e-3}, metrics=["loss"])
    file, run_dir = write_sweep(tmp_path, content), tmp_path / "run"
    done = run("sweep", "--config", file, "--run-dir", run_dir)
    assert done.returncode == 1
    own = [line for line in done.stderr.splitlines() if not line.startswith("[")]
    assert len(own) == 1 and "vmla: error: 1 of 2 runs failed" in own[0]
    good, bad = rows(run_dir, "table")
    assert good["state"] == "done" and float(good["loss"]) > 0
    assert bad["state"] == "failed" and "pretrain: " in bad["failure"] and "nan" in bad["failure"]
    assert bad["loss"] == ""
    page = (run_dir / "sweep.html").read_text()
    assert "Runs that failed" in page and "2 cells, 1 seed; 1 of 2 runs are done, 1 failed" in page
    # The folder of one stage's cell is the stage's. Under one seed both saw the same clips, noise and times.
    whole, broken = (metrics(run_dir / row["folder"]) for row in (good, bad))
    assert len(whole) == 3 and len(broken) < 3 and whole[0]["loss"] == broken[0]["loss"]


def test_a_rate_is_chosen_on_other_seeds(data, tmp_path):
    tune = {"key": "optimizer.lr", "values": [1e-6, 3e-3, 1e30], "seeds": [7], "per": [], "at": {"guess": "a"}}
    grid = {"guess": {"values": {"a": {"ema.decay": 0.5}, "b": {"ema.decay": 0.6}}}}
    content = lone_stage(data, grid=grid, tune=tune, metrics=["loss"])
    file, run_dir = write_sweep(tmp_path, content), tmp_path / "run"
    done = run("sweep", "--config", file, "--run-dir", run_dir, "--jobs", 2)
    assert done.returncode == 0, done.stderr
    choice = json.loads((run_dir / "sweep.json").read_text())["tune"]["choices"][0]
    tried = [list(figures) for figures in choice["tried"].values()]
    assert tried[2] == [None] and tried[0][0] > tried[1][0], "a rate that diverges is no candidate"
    assert float(choice["chosen"]) == 3e-3
    for row in rows(run_dir, "table"):
        config = yaml.safe_load((run_dir / row["folder"] / "config.yaml").read_text())
        assert config["optimizer"]["lr"] == 3e-3 and config["seed"] == 0 and float(row["lr"]) == 3e-3


@pytest.mark.parametrize(
    ("changes", "mentions"),
    [
        ({"grid": {"tf.model.kv_lora_rnk": [4]}}, ["unknown key model.kv_lora_rnk", "model.kv_lora_rank"]),
        ({"grid": {"tf.model.kv_lora_rank": [4, 65]}}, ["above the width", "cell kv_lora_rank=65"]),
        ({"grid": {"tf.model.kv_lora_rank": [1, 24]}}, ["only the sign", "cell kv_lora_rank=1"]),
        ({"grid": {"tf.model.kv_lora_rank": [24, 24]}}, ["24 is given twice"]),
        ({"grid": {"tf.model.num_frame_per_block": [2]}}, ["frames"]),
        ({"set": {"tf.data.make": {}, "tf.data.path": "no/clips.h5"}}, ["no/clips.h5"]),
        ({"name": "a b"}, ["'a b' is no name"]),
    ],
    ids=["unknown key", "rank above the width", "rank one", "value twice", "chunks", "no data", "name"],
)
def test_bad_grids_are_refused_before_anything_runs(data, tmp_path, changes, mentions):
    content = ranks(data)
    content["set"] = content["set"] | changes.pop("set", {})
    if "grid" in changes:
        del content["baseline"]
    file = write_sweep(tmp_path, content | changes)
    one_line_error(run("sweep", "--config", file, "--run-dir", tmp_path / "run"), *mentions)
    assert not (tmp_path / "run").exists()
