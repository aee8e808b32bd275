"""Several ranks train what one process trains: the same draws, losses and weights, however the work is shared."""

from __future__ import annotations

import json

import pytest
import yaml
from distilled_stage import settings as distilled
from program import VMLA, vmla
from ranks import run_ranks, start_ranks, train_on_ranks
from tiny_stage import CONFIGS, SHORT, last_checkpoint, metrics, train, train_arguments

# How the ranks share a stage: their number and the section `distributed`.
WAYS = {
    "replicate": (2, {}),
    "zero1": (2, {"sharding": "zero1"}),
    "zero2, accumulated": (2, {"sharding": "zero2", "train.micro_batch_size": 2}),
    "full, recomputed": (2, {"sharding": "full", "train.recompute": "block"}),
    "full over three": (3, {"sharding": "full"}),
    "sequence": (2, {"sequence_parallel_size": 2}),
    "sequence over four": (4, {"sequence_parallel_size": 4}),
    "hybrid": (4, {"sharding": "hybrid", "shard_size": 2}),
    "full and sequence": (4, {"sharding": "full", "sequence_parallel_size": 2, "train.recompute": "block"}),
    "scattered": (4, {"sharding": "hybrid", "shard_size": 2, "gradient_accumulation": "scattered"}),
}
TWENTY_STEPS = {"train__steps": 20, "train__batch_size": 12, "train__micro_batch_size": 12, "checkpoint__every": 0}


def shared(way: str) -> tuple[int, dict]:
    """The ranks and the settings of a way to share."""
    ranks, section = WAYS[way]
    keys = {key if "." in key else f"distributed.{key}": value for key, value in section.items()}
    return ranks, {key.replace(".", "__"): value for key, value in keys.items()}


def largest_difference(one: list[dict], other: list[dict], keys=("loss", "loss_fake_score", "grad_norm")) -> float:
    assert [line["step"] for line in one] == [line["step"] for line in other]
    return max(
        abs(a[key] - b[key]) / abs(a[key]) for a, b in zip(one, other) for key in keys if key in a
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory, dataset, dense_run):
    """Stages 0 and 1 in one process."""
    folder = tmp_path_factory.mktemp("alone")
    return {
        "pretrain": train("pretrain", folder / "pretrain", dataset, **TWENTY_STEPS),
        "teacher_forcing": train("teacher_forcing", folder / "teacher_forcing", dataset, dense_run, **TWENTY_STEPS),
    }


@pytest.mark.parametrize("way", WAYS)
def test_twenty_steps_of_stage_one(way, alone, dataset, dense_run, tmp_path):
    ranks, section = shared(way)
    run = train_on_ranks(ranks, "teacher_forcing", tmp_path / "run", dataset, dense_run, **(TWENTY_STEPS | section))
    assert largest_difference(metrics(alone["teacher_forcing"]), metrics(run), ("loss",)) < 1e-5
    # Norms go through the same sums twice, and follow twenty updates.
    assert largest_difference(metrics(alone["teacher_forcing"]), metrics(run), ("grad_norm",)) < 1e-4


@pytest.mark.parametrize("way", ["zero1", "full and sequence"])
def test_twenty_steps_of_stage_zero(way, alone, dataset, tmp_path):
    ranks, section = shared(way)
    run = train_on_ranks(ranks, "pretrain", tmp_path / "run", dataset, **(TWENTY_STEPS | section))
    assert largest_difference(metrics(alone["pretrain"]), metrics(run), ("loss",)) < 1e-5


@pytest.mark.parametrize("stage", ["consistency", "dmd"])
@pytest.mark.parametrize("way", ["zero2, accumulated", "full and sequence"])
def test_distillation_in_fp64(stage, way, dataset, dense_run, latent_run, tmp_path):
    ranks, section = shared(way)
    changed = distilled(stage, dense_run, train__precision="fp64", train__steps=7, checkpoint__every=0)
    if stage == "dmd":  # rollouts twice a clip's length, where the code that decodes is fp32
        changed |= {"objective__dmd__min_rollout_frames": 0, "objective__dmd__max_rollout_frames": 0}
    one = train(stage, tmp_path / "one", dataset, latent_run, **changed)
    many = train_on_ranks(ranks, stage, tmp_path / "many", dataset, latent_run, **(changed | section))
    assert largest_difference(metrics(one), metrics(many)) < 1e-9


def test_repeats_are_equal_to_the_bit(dataset, dense_run, tmp_path):
    ranks, section = shared("full and sequence")
    runs = [
        train_on_ranks(ranks, "teacher_forcing", tmp_path / name, dataset, dense_run, **section) for name in ("a", "b")
    ]
    files = [sorted(last_checkpoint(run).glob("*.safetensors")) for run in runs]
    assert files[0] and [file.name for file in files[0]] == [file.name for file in files[1]]
    for a, b in zip(*files):
        assert a.read_bytes() == b.read_bytes(), a.name


def test_one_curve_over_four_one_two_and_three_ranks(alone, dataset, dense_run, tmp_path):
    """Stopped every five steps and gone on by another number of ranks, cut another way."""
    parts = [("hybrid", 5), (None, 10), ("zero2, accumulated", 15), ("full over three", 20)]
    for way, steps in parts:
        changed = TWENTY_STEPS | {"train__steps": steps, "optimizer__lr_schedule": "constant"}
        if way is None:
            train("teacher_forcing", tmp_path / "run", dataset, dense_run, **changed)
        else:
            ranks, section = shared(way)
            train_on_ranks(ranks, "teacher_forcing", tmp_path / "run", dataset, dense_run, **(changed | section))
    whole = train(
        "teacher_forcing",
        tmp_path / "whole",
        dataset,
        dense_run,
        **(TWENTY_STEPS | {"optimizer__lr_schedule": "constant"}),
    )
    assert largest_difference(metrics(whole), metrics(tmp_path / "run"), ("loss",)) < 1e-5


def test_observers_see_what_one_process_sees(dataset, dense_run, tmp_path):
    """Validation, ranks, samples and the averaged weights, with weights and tokens spread."""
    watched = dict(
        rank__every=3, validation__every=3, sample__every=6, ema__decay=0.5, sample__measure_clips=20, sample__long_frames=18
    )
    ranks, section = shared("full and sequence")
    one = train("teacher_forcing", tmp_path / "one", dataset, dense_run, **watched)
    many = train_on_ranks(ranks, "teacher_forcing", tmp_path / "many", dataset, dense_run, **(watched | section))
    lines = [metrics(run)[-1] for run in (one, many)]
    assert lines[1]["validation_loss"] == pytest.approx(lines[0]["validation_loss"], rel=1e-5)
    assert {"comm_bytes", "time_comm_exposed", "time_comm_hidden", "step_time_spread"} <= lines[1].keys()
    assert lines[1]["comm_bytes"] > 0
    figures = [json.loads((run / "summary.json").read_text()) for run in (one, many)]
    assert figures[1]["rank"]["r99_fractional"] == pytest.approx(figures[0]["rank"]["r99_fractional"], rel=1e-4)
    names = [sorted(file.name for file in (run / "samples/step_6").iterdir()) for run in (one, many)]
    assert names[0] == names[1]
    lists = [json.loads((run / "samples/step_6/samples.json").read_text()) for run in (one, many)]
    for key in ("file", "prompt", "seed", "frames", "cache_bytes"):
        assert [entry[key] for entry in lists[0]] == [entry[key] for entry in lists[1]]
    for section in ("adherence", "motion", "retention"):
        for way in (None, "without_cache", "few_step", "long_rollout"):
            found = [(figure[way] if way else figure)[section] for figure in figures]
            assert found[1] == pytest.approx(found[0], rel=1e-3), (way, section)
    assert figures[1]["drift"]["shift"] == pytest.approx(figures[0]["drift"]["shift"], rel=1e-3)
    assert (many / "report.html").exists()


@pytest.mark.parametrize("hold_weights", [True, False])
def test_a_rank_that_has_no_clip_or_video_left_takes_part(hold_weights, dataset, dense_run, tmp_path):
    """Seven validation clips, four samples and two long videos over three ranks, which gather each block together."""
    watched = dict(validation__every=3, validation__clips=7, sample__every=6, sample__long_frames=18, sample__long_clips=2)
    watched |= {"train__batch_size": 6, "train__micro_batch_size": 2}
    one = train("teacher_forcing", tmp_path / "one", dataset, dense_run, **watched)
    watched |= {"distributed__sharding": "full", "distributed__hold_weights": hold_weights}
    many = train_on_ranks(3, "teacher_forcing", tmp_path / "many", dataset, dense_run, **watched)
    losses = [metrics(run)[-1]["validation_loss"] for run in (one, many)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    figures = [json.loads((run / "summary.json").read_text()) for run in (one, many)]
    assert figures[1]["drift"]["shift"] == pytest.approx(figures[0]["drift"]["shift"], rel=1e-3)
    lists = [json.loads((run / "samples/step_6/samples.json").read_text()) for run in (one, many)]
    assert [entry["prompt"] for entry in lists[0]] == [entry["prompt"] for entry in lists[1]]


def test_any_program_reads_what_ranks_wrote(dataset, dense_run, tmp_path):
    ranks, section = shared("zero1")
    run = train_on_ranks(ranks, "teacher_forcing", tmp_path / "run", dataset, dense_run, **section)
    vmla("export", "--checkpoint", run, "--format", "videomla", "--out", tmp_path / "export")
    vmla("sample", "--checkpoint", run, "--prompt", "a red circle moves left", "--frames", 9, "--out", tmp_path / "s")


@pytest.mark.parametrize(
    "ranks, changed, key",
    [
        (3, {}, "train.batch_size"),  # 4 clips over 3 ranks
        (2, {"distributed__sequence_parallel_size": 3}, "distributed.sequence_parallel_size"),
        (2, {"distributed__sharding": "hybrid", "distributed__shard_size": 3}, "distributed.shard_size"),
        (2, {"distributed__sharding": "zero3"}, "distributed.sharding"),
    ],
)
def test_a_world_that_does_not_fit_is_refused_once(ranks, changed, key, dataset, dense_run, tmp_path):
    done = run_ranks(ranks, train_arguments("teacher_forcing", tmp_path / "run", dataset, dense_run, **changed))
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if "vmla: error" in line and not line.startswith("vmla-launch")]
    assert len(said) == 1 and key in said[0], done.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_folder_in_use_is_said_once(dataset, dense_run, tmp_path):
    arguments = train_arguments("teacher_forcing", tmp_path / "run", dataset, dense_run, train__steps=100000)
    first = start_ranks(2, arguments)
    try:
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            assert first.poll() is None, first.communicate()
        done = run_ranks(2, arguments)
        assert done.returncode == 2, done.stderr
        said = [line for line in done.stderr.splitlines() if line.startswith("[")]
        assert len(said) == 1 and "in use" in said[0], done.stderr
    finally:
        first.terminate()
        first.communicate(timeout=60)
    assert first.returncode == 75


def test_ranks_with_different_configurations_are_named(dataset, dense_run, tmp_path):
    """Rank 1 trains with another seed."""
    arguments = train_arguments("teacher_forcing", tmp_path / "run", dataset, dense_run)
    script = 'if [ "$RANK" = 1 ]; then exec "$@" --set seed=7; else exec "$@"; fi'
    done = run_ranks(2, arguments, program=["sh", "-c", script, "sh", VMLA])
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert len(said) == 1 and "rank 1" in said[0] and "seed" in said[0], done.stderr


def test_other_commands_say_once_that_they_take_one_process(tmp_path):
    done = run_ranks(3, ["data", "synth", "--out", tmp_path / "videos", "--count", 1])
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert len(said) == 1 and "3 ranks" in said[0], done.stderr
    assert not (tmp_path / "videos").exists()


def test_a_pipeline_starts_its_stages_on_ranks(dataset, tmp_path):
    stages = [
        {"name": "pretrain", "config": str(CONFIGS / "pretrain.yaml"), "set": {}},
        {
            "name": "tf",
            "config": str(CONFIGS / "teacher_forcing.yaml"),
            "set": {"init_from.generator": {"stage": "pretrain"}},
        },
    ]
    for stage in stages:
        stage["set"] |= SHORT | {"data.path": str(dataset), "data.validation_path": str(dataset)}
    file = tmp_path / "pipeline.yaml"
    file.write_text(yaml.safe_dump({"name": "ranks", "stages": stages}))
    done = vmla("pipeline", "--config", file, "--run-dir", tmp_path / "run", "--nproc-per-node", 2)
    assert "2 ranks" in done.stdout
    for name in ("pretrain", "tf"):
        assert (tmp_path / "run" / name / "summary.json").exists()
    assert (tmp_path / "run" / "report.html").exists()
