"""Every stage trains on the stand-in accelerator as on the CPU (docs/operations.md "The stand-in accelerator").

What is compared: the network's products run in the CPU's kernels on both sides, the fused operations in the CPU's loops.
Attention does not: on the CPU one pass over all keys in fp32, here CUDA's contract, part by part and merged, each part exact
to its rounding. An element of a part is within 2e-6 (kernels/attention/head_attention_cpu.h); a loss is a mean over them
and follows a handful of updates: 1e-5, as for sums in another order (test_ranks.py), ten times that for norms.
"""

import functools
import json
import os
import shutil
import sys

import pytest
import test_step
from distilled_stage import settings as distilled
from foreign_dataset import write_dataset
from program import REPOSITORY, VMLA
from reference.weights import random_weights
from safetensors.torch import load_file
from standin import FOLDER, PROGRAM, largest_difference, memory_ratio, run_standin, succeeded, train_on_standin
from test_golden import ODE_TIMES
from test_resume import assert_same_bits
from tiny_stage import metrics, train, train_arguments

sys.path.append(str(REPOSITORY / "tests" / "standin"))
import report  # noqa: E402

WAITS = REPOSITORY / "tests" / "standin" / "waits.json"

LOSSES = 1e-5
NORMS = 1e-4


@pytest.fixture(scope="module")
def standin_run(tmp_path_factory, dataset, dense_run):
    return train_on_standin("teacher_forcing", tmp_path_factory.mktemp("standin") / "run", dataset, dense_run)


# name: stage, what it starts from, settings
STAGES = {
    "pretrain": ("pretrain", None, {}),
    "teacher forcing": ("teacher_forcing", "dense", {}),
    "teacher forcing, fp64": ("teacher_forcing", "dense", {"train__precision": "fp64"}),
    # Two moments, of which one unit is on the device at a time, and what blocks keep for their backward.
    "teacher forcing, offloaded, selective": (
        "teacher_forcing",
        "dense",
        {"distributed__offload": ["optimizer", "activations"], "train__recompute": "selective"},
    ),
    "diffusion forcing": ("diffusion_forcing", "dense", {}),
    "consistency, recomputed": ("consistency", "latent", {"train__recompute": "block"}),
    # The average is on the device for two things: an update moves it there, and every step computes with it.
    "consistency, offloaded": (
        "consistency",
        "latent",
        {"distributed__offload": ["optimizer", "teacher", "target_ema"], "checkpoint__every": 2},
    ),
    "dmd, averaged": ("dmd", "latent", {"ema__decay": 0.5, "train__steps": 6}),
    "dmd, offloaded, accumulated": (
        "dmd",
        "latent",
        {
            "ema__decay": 0.5,
            "train__micro_batch_size": 2,
            "train__steps": 6,
            "distributed__offload": ["optimizer", "generator_ema", "real_score"],
        },
    ),
    "validated, sampled, ranked": (
        "teacher_forcing",
        "dense",
        {"validation__every": 3, "sample__every": 3, "rank__every": 3, "ema__decay": 0.5},
    ),
}


def memory_is_as_planned(run):
    """The most that any step had on the device, beside the plan. These models are so small that what no tensor of theirs
    is, such as a report's numbers, can be half a percent."""
    assert 0.995 <= memory_ratio(run) <= 1.005


@pytest.mark.parametrize("name", STAGES)
def test_losses_are_those_of_the_cpu(name, dataset, dense_run, latent_run, tmp_path):
    stage, start, settings = STAGES[name]
    weights = {"dense": dense_run, "latent": latent_run, None: None}[start]
    settings = distilled(stage, dense_run, **{"train__steps": 3, "checkpoint__every": 0, **settings})
    alone = train(stage, tmp_path / "cpu", dataset, weights, **settings)
    standin = train_on_standin(stage, tmp_path / "standin", dataset, weights, trace=tmp_path / "trace", **settings)
    # Of step 2, when the plans of attention are kept; of DMD also of step 6, which updates both networks.
    check_waits(name, tmp_path, (2, 6) if settings["train__steps"] == 6 else (2,))
    if settings.get("train__precision") != "fp64":  # attention is made of products there, whose scores no plan has
        memory_is_as_planned(tmp_path / "standin")
    for kind in ("loss", "validation_loss") if "validation__every" in settings else ("loss",):
        assert largest_difference(alone, standin, kind) < LOSSES
    assert largest_difference(alone, standin, "grad_norm") < NORMS


def test_where_no_pages_can_be_locked_a_line_says_so(dataset, dense_run, latent_run, tmp_path):
    """The same numbers come out."""
    offloaded = {"distributed__offload": ["optimizer", "real_score"], "train__steps": 2, "checkpoint__every": 1}
    settings = distilled("dmd", dense_run, **offloaded)
    locked = train_on_standin("dmd", tmp_path / "locked", dataset, latent_run, **settings)
    arguments = train_arguments("dmd", tmp_path / "other", dataset, latent_run, train__device="cuda", **settings)
    done = succeeded(run_standin([PROGRAM, *arguments], STANDIN_LOCKABLE="0"))
    assert_same_bits(locked, tmp_path / "other")
    assert "moments on the host are not page-locked" in done.stderr
    assert "for checkpoints is not page-locked" in done.stderr
    assert done.stderr.count("cannot be page-locked where they lie") == 1


@pytest.mark.parametrize("calls", [4000, 10000, 18000, 24000])  # of some 27000
def test_where_a_kernel_faults_the_run_ends_with_a_line(calls, dataset, dense_run, latent_run, tmp_path):
    """Every call fails from then on, those of destructors too: an error that leaves one would end the process unsaid."""
    offload = {"distributed__offload": ["optimizer", "generator_ema", "real_score"], "ema__decay": 0.5}
    settings = distilled("dmd", dense_run, **offload, train__steps=1, train__device="cuda")
    arguments = train_arguments("dmd", tmp_path / "run", dataset, latent_run, **settings)
    done = run_standin([PROGRAM, *arguments], STANDIN_FAILS_AFTER=str(calls))
    assert done.returncode == 1, done.stderr[-2000:]
    last = done.stderr.splitlines()[-1]
    assert last.startswith("vmla: error: CUDA error: an illegal memory access"), done.stderr[-2000:]


def test_what_is_checked_on_a_gpu_is_right_here():
    done = run_standin([FOLDER / "gpu_tests"])
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("ok", "FAILED"))]
    assert [line for line in said if line.startswith("FAILED")] == []
    assert "ok     weights in the host's memory" in said


@pytest.mark.parametrize("precision", ["fp32", "bf16"])  # by the memory-efficient kernel, by flash
def test_a_run_repeats_bit_for_bit_where_that_is_asked_for(precision, dataset, dense_run, tmp_path):
    """Where attention's backward adds in another order at each call."""

    def run(name, order, deterministic):
        settings = {"train__steps": 3, "train__precision": precision, "train__deterministic": deterministic}
        arguments = train_arguments("teacher_forcing", tmp_path / name, dataset, dense_run, train__device="cuda", **settings)
        succeeded(run_standin([PROGRAM, *arguments], STANDIN_ANY_ORDER=str(order)))
        return [line["grad_norm"] for line in metrics(tmp_path / name)]

    assert run("one", 1, True) == run("two", 2, True)
    assert_same_bits(tmp_path / "one", tmp_path / "two")
    assert run("three", 1, False) != run("four", 2, False)


def test_phases_are_timed_on_the_device(standin_run):
    for line in metrics(standin_run):
        phases = [line[f"time_{name}"] for name in ("data", "forward", "backward", "optimizer")]
        assert all(seconds >= 0 for seconds in phases) and sum(phases) <= line["time_step"]


def test_ode_regression_is_that_of_the_cpu(latent_run, tmp_path):
    pairs = write_dataset(tmp_path / "ode.h5", clips=8, ode_times=ODE_TIMES)
    settings = {"train__steps": 3, "checkpoint__every": 0}
    alone = train("ode_regression", tmp_path / "cpu", pairs, latent_run, **settings)
    standin = train_on_standin("ode_regression", tmp_path / "standin", pairs, latent_run, **settings)
    assert largest_difference(alone, standin, "loss") < LOSSES
    assert largest_difference(alone, standin, "grad_norm") < NORMS


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_a_step_is_that_of_the_cpu(precision, tmp_path):
    config = test_step.LATENT.replace(num_frame_per_block=2)
    here = test_step.step(
        tmp_path, config, random_weights(config, seed=1), "teacher_forcing", test_step.draws(config, frames=6, seed=2)
    )
    words = ["--set", "train.device=cuda", "--set", f"train.precision={precision}", "--output", tmp_path / "there"]
    command = [PROGRAM, "step", "--config", tmp_path / "step.yaml", "--inputs", tmp_path / "in.safetensors", *words]
    succeeded(run_standin(command))
    there = load_file(tmp_path / "there")
    assert here.keys() == there.keys()
    for name, tensor in here.items():
        # A gradient that is small beside the whole carries the whole's rounding, as in test_step.
        bound = NORMS * tensor.abs().max() + 1e-6 * here["grad_norm"]
        assert (tensor - there[name]).abs().max() <= bound, name


def test_bf16(dataset, dense_run, tmp_path):
    """Both sides round to 8 bits of mantissa, in other places: a loss moves by a part of 2^-8."""
    settings = {"train__steps": 3, "train__precision": "bf16", "checkpoint__every": 0}
    alone = train("teacher_forcing", tmp_path / "cpu", dataset, dense_run, **settings)
    standin = train_on_standin("teacher_forcing", tmp_path / "standin", dataset, dense_run, **settings)
    assert largest_difference(alone, standin, "loss") < 2**-8


# name: stage, what it starts from, what is offloaded, settings
OFFLOADED = {
    "consistency": ("consistency", "latent", ["optimizer", "teacher", "target_ema"], {}),
    # Validation and samples leave copies behind that the next step has no room for.
    "validated": (
        "teacher_forcing",
        "dense",
        ["generator_ema"],
        {"validation__every": 1, "sample__every": 1, "ema__decay": 0.5, "train__micro_batch_size": 1},
    ),
    # Rollouts are replayed chunk by chunk, so that activations leave and come back seven times an update.
    "dmd": ("dmd", "latent", ["activations"], {"train__recompute": "block", "train__micro_batch_size": 2}),
    # One graph over all chunks of a rollout, whose backward goes through the cache.
    "dmd, straight through": (
        "dmd",
        "latent",
        ["activations"],
        {"train__recompute": "selective", "objective__dmd__kv_grad": "straight_through"},
    ),
    "pretrain": ("pretrain", None, ["activations"], {"train__recompute": "selective"}),
}


@pytest.mark.parametrize("name", OFFLOADED)
def test_what_is_offloaded_has_the_same_bits(name, dataset, dense_run, latent_run, tmp_path):
    stage, start, offload, settings = OFFLOADED[name]
    weights = {"dense": dense_run, "latent": latent_run, None: None}[start]
    settings |= {"train__steps": 3, "train__precision": "bf16", "checkpoint__every": 3}
    settings = distilled(stage, dense_run, **settings)
    runs = [
        train_on_standin(stage, tmp_path / place, dataset, weights, **settings, distributed__offload=what)
        for place, what in {"beside": [], "offloaded": offload}.items()
    ]
    assert_same_bits(*runs)
    memory_is_as_planned(runs[1])


@pytest.mark.parametrize("offload", [[], ["optimizer"]])
def test_stopped_after_three_steps_it_goes_on_to_the_same_bits(offload, standin_run, dataset, dense_run, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(standin_run, run_dir, symlinks=True)
    shutil.rmtree(run_dir / "checkpoints" / "step_6")
    (run_dir / "checkpoints" / "latest").unlink()
    (run_dir / "checkpoints" / "latest").symlink_to("step_3")
    train_on_standin("teacher_forcing", run_dir, dataset, dense_run, distributed__offload=offload)
    assert_same_bits(standin_run, run_dir)


# ranks and GPUs, the section `distributed`, and what blocks keep
RANKS = {
    "zero1 on one GPU": (2, 1, {"sharding": "zero1"}, "none"),
    "zero1, offloaded": (2, 1, {"sharding": "zero1", "offload": ["optimizer"]}, "none"),
    "full on two GPUs": (2, 2, {"sharding": "full"}, "none"),
    "full, activations offloaded": (2, 2, {"sharding": "full", "offload": ["activations"]}, "selective"),
    "hybrid and scattered on four": (
        4,
        4,
        {"sharding": "hybrid", "shard_size": 2, "gradient_accumulation": "scattered"},
        "none",
    ),
    "sequence on two": (2, 2, {"sequence_parallel_size": 2}, "none"),
    "sequence, activations offloaded": (2, 2, {"sequence_parallel_size": 2, "offload": ["activations"]}, "selective"),
}


def devices_with_context(trace):
    rows = (line.split(" ") for line in trace.read_text().splitlines())
    return [what for _, _, _, kind, what, *_ in rows if kind == "context"]


@pytest.mark.parametrize("way", RANKS)
def test_ranks_that_meet_through_the_host(way, standin_run, dataset, dense_run, tmp_path):
    ranks, devices, section, recompute = RANKS[way]
    settings = {"train__device": "cuda", "distributed__backend": "host_staged", "checkpoint__every": 0}
    settings |= {"train__recompute": recompute}
    settings |= {f"distributed__{key}": value for key, value in section.items()}
    arguments = train_arguments("teacher_forcing", tmp_path / "run", dataset, dense_run, **settings)
    launch = [FOLDER / "vmla-launch", "--standalone", "--nproc-per-node", ranks, "--", PROGRAM]
    succeeded(run_standin([*launch, *arguments], devices=devices, trace=tmp_path / "trace"))
    # A context takes some hundred MB of a GPU: a rank has one where it works, and none besides on the first.
    contexts = sorted(devices_with_context(trace) for trace in tmp_path.glob("trace.*"))
    assert [used for used in contexts if used] == sorted([str(rank % devices)] for rank in range(ranks))
    assert largest_difference(standin_run, tmp_path / "run", "loss") < LOSSES
    assert largest_difference(standin_run, tmp_path / "run", "grad_norm") < NORMS


def average_follows(run):
    """What a checkpoint holds of target_ema has moved from the one before it towards the generator beside it."""

    def parts(step, role):
        """By rank and tensor."""
        files = sorted((run / "checkpoints" / f"step_{step}").glob(f"{role}*.safetensors"))
        ranks = [load_file(file) for file in files if "optimizer" not in file.name]
        return {(rank, name): part.double() for rank, held in enumerate(ranks) for name, part in held.items()}

    for step in (2, 3):
        before, after, weights = parts(step - 1, "target_ema"), parts(step, "target_ema"), parts(step, "generator")
        assert after
        for key, part in after.items():
            expected = 0.99 * before[key] + 0.01 * weights[key]
            # A product and two sums, each rounded once.
            assert (part - expected).abs().max() <= 4 * 2**-24 * expected.abs().max(), (step, key)
        assert any((part != before[key]).any() for key, part in after.items())


def test_an_average_in_the_hosts_memory_is_there_when_it_is_saved(dataset, dense_run, latent_run, tmp_path):
    settings = {"train__steps": 3, "checkpoint__every": 1, "checkpoint__keep_last": 3}
    settings = distilled("consistency", dense_run, distributed__offload=["target_ema"], **settings)
    average_follows(train_on_standin("consistency", tmp_path / "run", dataset, latent_run, **settings))


@pytest.mark.parametrize("sharding", ["zero1", "full"])
def test_ranks_whose_parts_are_in_the_hosts_memory(sharding, dataset, dense_run, latent_run, tmp_path):
    settings = distilled("consistency", dense_run, **{"train__steps": 3, "checkpoint__every": 1, "checkpoint__keep_last": 3})
    alone = train("consistency", tmp_path / "cpu", dataset, latent_run, **settings)
    settings |= {"train__device": "cuda", "distributed__backend": "host_staged", "distributed__sharding": sharding}
    settings |= {"distributed__offload": ["optimizer", "teacher", "target_ema"]}
    arguments = train_arguments("consistency", tmp_path / "run", dataset, latent_run, **settings)
    launch = [FOLDER / "vmla-launch", "--standalone", "--nproc-per-node", 2, "--", PROGRAM]
    succeeded(run_standin([*launch, *arguments], devices=2))
    assert largest_difference(alone, tmp_path / "run", "loss") < LOSSES
    assert largest_difference(alone, tmp_path / "run", "grad_norm") < NORMS
    average_follows(tmp_path / "run")


def test_samples_are_those_of_the_cpu(latent_run, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle moves left\na blue square moves up\n")

    def sample(program, device, batch, folder):
        command = [program, "sample", "--checkpoint", latent_run, "--prompts", prompts, "--frames", 18, "--batch", batch]
        command += ["--sampler", "euler", "--steps", 2, "--save-latents", "--device", device, "--out", folder]
        succeeded(run_standin(command))
        return [load_file(folder / f"00{i}.safetensors")["latents"] for i in range(2)]

    # One after another here, both at once there, where they are decoded beside the next chunk.
    here, there = sample(VMLA, "cpu", 1, tmp_path / "cpu"), sample(PROGRAM, "cuda", 2, tmp_path / "standin")
    for one, other in zip(here, there, strict=True):
        assert (one - other).abs().max() / one.square().mean().sqrt() < 1e-4


def test_attention_by_cudnn_trains_and_samples_as_flash_does(dataset, dense_run, tmp_path):
    runs = {}
    for kernel in ("flash", "cudnn"):
        settings = {"train__precision": "bf16", "train__steps": 3, "kernels__attention": kernel}
        runs[kernel] = train_on_standin(
            "teacher_forcing", tmp_path / kernel, dataset, dense_run, trace=tmp_path / f"trace_{kernel}", **settings
        )
        command = [PROGRAM, "sample", "--checkpoint", runs[kernel], "--prompt", "a", "--frames", 9, "--device", "cuda"]
        command += ["--precision", "bf16", "--steps", 1, "--out", tmp_path / f"sampled_{kernel}"]
        succeeded(run_standin(command, trace=tmp_path / f"sampling_{kernel}"))
    for kind in ("loss", "grad_norm"):
        assert largest_difference(runs["flash"], runs["cudnn"], kind) < 1e-3
    for trace in ("trace", "sampling"):
        launched = {
            kernel: " ".join(file.read_text() for file in tmp_path.glob(f"{trace}_{kernel}.*")) for kernel in runs
        }
        assert "launch cudnn" not in launched["flash"] and "launch flash" in launched["flash"]
        assert "launch flash" not in launched["cudnn"] and "launch cudnn" in launched["cudnn"]


def test_where_cudnn_does_not_attend_flash_does_and_a_line_says_so(dataset, dense_run, tmp_path):
    settings = {"train__precision": "bf16", "train__steps": 1, "train__device": "cuda", "kernels__attention": "cudnn"}
    arguments = train_arguments("teacher_forcing", tmp_path / "run", dataset, dense_run, **settings)
    done = succeeded(run_standin([PROGRAM, *arguments], trace=tmp_path / "trace", STANDIN_NO_CUDNN="1"))
    line = "kernels.attention: cudnn: cuDNN Frontend error: no execution plan supports the graph (stand-in); flash runs instead"
    assert done.stderr.count(line) == 1
    assert any("launch flash" in file.read_text() for file in tmp_path.glob("trace.*"))


@functools.cache
def symbols():
    return report.Symbols(FOLDER / "vmla-core")


def check_waits(name, folder, steps):
    """The host's waits in these steps are those written down. This writes them again:
    VMLA_WRITE_WAITS=1 python -m pytest tests/python/test_standin.py -k losses
    """
    # The largest: helpers of the program leave a trace of their own.
    trace = max(folder.glob("trace.*"), key=lambda file: file.stat().st_size)
    rows = list(report.read([trace], symbols()))
    found = {str(step): report.waits_of_step(rows, step) for step in steps}
    table = json.loads(WAITS.read_text()) if WAITS.exists() else {}
    if os.environ.get("VMLA_WRITE_WAITS"):
        WAITS.write_text(json.dumps(table | {name: found}, indent=2, sort_keys=True) + "\n")
        return
    assert found == table[name]
