"""Bad input: one line on stderr that names the file, key or layer; status 2; what was there stays there."""

import json
import os
import shutil

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from parity import random_inputs
from program import model_section, one_line_error, overrides, run, vmla, write_tensors, write_yaml
from reference.model_config import ModelConfig, latent_config
from reference.weights import random_weights, write_export_folder, write_wan_folder
from tiny_stage import CONFIGS, last_checkpoint, metrics, start_training, train, train_arguments

DENSE = ModelConfig(num_layers=1)
LATENT = latent_config(DENSE, kv_rank=24, q_rank=40, nope=8, rope=8, value=16, num_frame_per_block=2)


def listing(folder):
    """Every file below a folder with its bytes."""
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# --- configuration ----------------------------------------------------------------------------------------------------

# settings of configs/tiny/teacher_forcing.yaml that must be refused, and what the message must name
WRONG_SETTINGS = {
    "unknown key": ({"optimizer.learning_rate": 1e-3}, ["optimizer.learning_rate"]),
    "unknown section": ({"optimiser.lr": 1e-3}, ["optimiser"]),
    "wrong type": ({"train.steps": "many"}, ["train.steps", "many"]),
    "a list for a number": ({"train.steps": [1, 2]}, ["train.steps"]),
    "negative": ({"train.steps": -3}, ["train.steps", "-3"]),
    "unknown objective": ({"objective.name": "teacher_force"}, ["objective.name", "teacher_force"]),
    "chunk does not divide the clip": ({"model.num_frame_per_block": 4}, ["num_frame_per_block", "4"]),
    "sink larger than window": ({"model.sink_size": 8}, ["sink_size", "8"]),
    "window leaves no room for a chunk": ({"model.local_attn_size": 3}, ["local_attn_size", "3"]),
    "odd rope dims": ({"model.qk_rope_head_dim": 7}, ["qk_rope_head_dim", "7"]),
    "rank above the width": ({"model.kv_lora_rank": 65}, ["kv_lora_rank", "65"]),
    "heads do not divide the width": ({"model.num_heads": 5}, ["num_heads", "5"]),
    "micro-batch does not divide the batch": ({"train.micro_batch_size": 3}, ["micro_batch_size", "3"]),
    "unknown init": ({"init.method": "svd"}, ["init.method", "svd"]),
    "missing dataset": ({"data.path": "/nowhere/clips.h5"}, ["/nowhere/clips.h5"]),
}


@pytest.mark.parametrize("case", WRONG_SETTINGS)
def test_configuration(case, dataset, dense_run, tmp_path):
    settings, mentions = WRONG_SETTINGS[case]
    # a missing dataset must not be made: the section that says how is taken out of the file
    text = (CONFIGS / "teacher_forcing.yaml").read_text()
    assert "make:" in text
    arguments = train_arguments("teacher_forcing", tmp_path / "run", dataset, dense_run)
    if case == "missing dataset":
        lines, keep, out = text.splitlines(), True, []
        for line in lines:
            indent = len(line) - len(line.lstrip())
            if line.strip().startswith("make:"):
                keep = False
            elif not keep and indent <= 2:
                keep = True
            if keep:
                out.append(line)
        file = tmp_path / "without_make.yaml"
        file.write_text("\n".join(out))
        arguments[arguments.index("--config") + 1] = file
    one_line_error(run(*arguments, *overrides(settings)), *mentions)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_error_in_a_file_names_line_and_file(dataset, dense_run, tmp_path):
    lines = (CONFIGS / "teacher_forcing.yaml").read_text().splitlines()
    line = next(i for i, text in enumerate(lines) if text.startswith("optimizer:")) + 1
    lines.insert(line, "  learning_rate: 1")
    file = tmp_path / "stage.yaml"
    file.write_text("\n".join(lines))
    message = one_line_error(run("train", "--config", file, "--run-dir", tmp_path / "run"), "stage.yaml", "learning_rate")
    assert str(line + 1) in message


@pytest.mark.parametrize("text", ["a: [1", "", "- 1\n- 2\n", "stage: [x]\n"], ids=["broken", "empty", "list", "type"])
def test_unusable_yaml(text, tmp_path):
    file = tmp_path / "stage.yaml"
    file.write_text(text)
    one_line_error(run("train", "--config", file, "--run-dir", tmp_path / "run"), "stage.yaml")


COMMAND_LINES = {
    "no command": [],
    "unknown command": ["trian"],
    "unknown flag": ["train", "--confg", "x"],
    "missing file": ["train", "--config", "/nowhere/stage.yaml"],
    "set without value": ["train", "--config", str(CONFIGS / "pretrain.yaml"), "--set", "train.steps"],
    "two kinds of prompts": ["sample", "--checkpoint", "x", "--prompt", "a", "--prompts", "b", "--frames", "9", "--out", "o"],
    "no such checkpoint": ["sample", "--checkpoint", "/nowhere", "--prompt", "a", "--frames", "9", "--out", "o"],
    "missing videos": ["data", "encode", "--videos", "/nowhere", "--out", "x.h5"],
}  # fmt: skip


@pytest.mark.parametrize("case", COMMAND_LINES)
def test_command_line(case, tmp_path):
    arguments = [str(tmp_path / a) if a in ("o", "x.h5") else a for a in COMMAND_LINES[case]]
    one_line_error(run(*arguments))
    assert not list(tmp_path.iterdir())


# --- tensors of forward -----------------------------------------------------------------------------------------------


def forward_case(folder, change_inputs=None, mode="chunk_causal", change_weights=None, settings=None):
    """`vmla forward` on inputs and weights after a change; returns the ended process."""
    export = write_export_folder(folder / "export", LATENT, random_weights(LATENT, seed=91))
    if change_weights:
        change_weights(export)
    inputs = random_inputs(LATENT, batch=1, frames=4, height=4, width=6, text_rows=5, seed=92)
    if change_inputs:
        inputs = change_inputs(inputs)
    source = write_tensors(folder / "in.safetensors", inputs)
    arguments = ["forward", "--weights", export, "--inputs", source, "--output", folder / "out.safetensors"]
    done = run(*arguments, "--mode", mode, *overrides(settings or {}))
    assert not (folder / "out.safetensors").exists() or done.returncode == 0
    return done


INPUTS = {
    "text longer than text_len": (lambda t: {**t, "text": torch.zeros(1, 13, 24)}, ["text", "13", "12"]),
    "odd latent height": (lambda t: {**t, "latents": torch.zeros(1, 4, 4, 5, 6)}, ["latents", "5"]),
    "frames not a multiple of the chunk": (
        lambda t: {**t, "latents": torch.zeros(1, 3, 4, 4, 6), "timesteps": torch.zeros(1, 3)},
        ["num_frame_per_block"],
    ),
    "missing tensor": (lambda t: {n: x for n, x in t.items() if n != "timesteps"}, ["timesteps"]),
    "wrong channels": (lambda t: {**t, "latents": torch.zeros(1, 4, 5, 4, 6)}, ["latents", "5"]),
    "wrong text width": (lambda t: {**t, "text": torch.zeros(1, 5, 25)}, ["text", "25"]),
    "batches differ": (lambda t: {**t, "text": torch.zeros(2, 5, 24)}, ["text", "2"]),
    "wrong dtype": (lambda t: {**t, "latents": t["latents"].to(torch.int64)}, ["latents"]),
    "wrong rank": (lambda t: {**t, "latents": t["latents"][0]}, ["latents"]),
    "times out of range": (lambda t: {**t, "timesteps": t["timesteps"] + 1000}, ["timesteps"]),
    "NaN": (lambda t: {**t, "latents": t["latents"] * float("nan")}, ["latents"]),
}


@pytest.mark.parametrize("case", INPUTS)
def test_forward_inputs(case, tmp_path):
    change, mentions = INPUTS[case]
    one_line_error(forward_case(tmp_path, change), *mentions)


def test_forward_mode_without_its_tensor(tmp_path):
    done = forward_case(tmp_path, lambda t: {n: x for n, x in t.items() if n != "clean_latents"}, "teacher_forcing")
    one_line_error(done, "clean_latents")


def rewrite(change):
    def apply(export):
        (file,) = export.glob("*.safetensors")
        save_file(change(load_file(file)), file)

    return apply


def reshape_one(tensors):
    name = "blocks.0.self_attn.kv_b_proj.weight"
    return {**tensors, name: tensors[name][:-1].contiguous()}


def patch_bytes(change):
    def apply(export):
        (file,) = export.glob("*.safetensors")
        file.write_bytes(change(file.read_bytes()))

    return apply


def edit_config(**fields):
    def apply(export):
        file = export / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    return apply


def overlong_header(data):
    return (10**12).to_bytes(8, "little") + data[8:]


def overlapping(data):
    """Moves the second tensor's range onto the first's."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    names = [n for n in header if n != "__metadata__"]
    names.sort(key=lambda n: header[n]["data_offsets"])
    begin, end = header[names[1]]["data_offsets"]
    header[names[1]]["data_offsets"] = [begin - 4, end - 4]
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


FILE = "diffusion_pytorch_model.safetensors"
WEIGHTS = {
    "truncated": (patch_bytes(lambda d: d[:-10]), [FILE]),
    "empty": (patch_bytes(lambda d: b""), [FILE]),
    "not safetensors": (patch_bytes(lambda d: b"hello world, this is text" * 10), [FILE]),
    "header longer than the file": (patch_bytes(overlong_header), [FILE]),
    "overlapping tensors": (patch_bytes(overlapping), [FILE]),
    "bytes after the last tensor": (patch_bytes(lambda d: d + b"1234"), [FILE]),
    "wrong shape": (rewrite(reshape_one), ["blocks.0.self_attn.kv_b_proj.weight"]),
    "missing tensor": (
        rewrite(lambda t: {n: x for n, x in t.items() if n != "blocks.0.norm3.weight"}),
        ["blocks.0.norm3.weight"],
    ),
    "unknown tensor": (rewrite(lambda t: {**t, "blocks.0.stranger": torch.ones(2)}), ["blocks.0.stranger"]),
    "broken config.json": (lambda e: (e / "config.json").write_text("{"), ["config.json"]),
    "config of another model": (edit_config(kv_lora_rank=20), ["kv_a_layernorm"]),
    "pair out of range": (edit_config(rope_pair_indices=[0, 1, 2, 8]), ["rope_pair_indices", "8"]),
    "pair twice": (edit_config(rope_pair_indices=[0, 1, 2, 2]), ["rope_pair_indices"]),
    "number of pairs": (edit_config(rope_pair_indices=[0, 1, 2]), ["rope_pair_indices"]),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights(case, tmp_path):
    change, mentions = WEIGHTS[case]
    one_line_error(forward_case(tmp_path, change_weights=change), *mentions)


IMPOSSIBLE = {
    "rank above the width": (LATENT.replace(kv_lora_rank=70), ["kv_lora_rank", "70"]),
    "odd rope dims": (LATENT.replace(qk_rope_head_dim=7, rope_pair_indices=(0, 1, 4)), ["qk_rope_head_dim", "7"]),
    "sink larger than window": (LATENT.replace(local_attn_size=3, sink_size=4), ["sink_size", "4"]),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_model(case, tmp_path):
    """Weights and config agree with each other on something that is no model."""
    config, mentions = IMPOSSIBLE[case]
    export = write_export_folder(tmp_path / "export", config, random_weights(config, seed=97))
    inputs = random_inputs(LATENT, batch=1, frames=4, height=4, width=6, text_rows=5)
    source = write_tensors(tmp_path / "in.safetensors", inputs)
    target = tmp_path / "out.safetensors"
    done = run("forward", "--weights", export, "--inputs", source, "--output", target, "--mode", "chunk_causal")
    one_line_error(done, *mentions)
    assert not target.exists()


SETTINGS = {
    "sink larger than window": ({"model.local_attn_size": 3, "model.sink_size": 4}, ["sink_size"]),
    "window smaller than sink and chunk": ({"model.local_attn_size": 3, "model.sink_size": 2}, ["local_attn_size"]),
    "unknown key": ({"model.local_attention_size": 3}, ["local_attention_size"]),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_forward_settings(case, tmp_path):
    settings, mentions = SETTINGS[case]
    one_line_error(forward_case(tmp_path, settings=settings), *mentions)


def test_missing_shard(tmp_path):
    folder = write_wan_folder(tmp_path / "wan", DENSE, random_weights(DENSE, seed=93), shards=3)
    gone = sorted(folder.glob("*-of-00003.safetensors"))[1]
    gone.unlink()
    inputs = random_inputs(DENSE, batch=1, frames=2, height=4, width=4, text_rows=3)
    del inputs["clean_latents"]
    source = write_tensors(tmp_path / "in.safetensors", inputs)
    target = tmp_path / "out.safetensors"
    done = run("forward", "--weights", folder, "--inputs", source, "--output", target, "--mode", "bidirectional")
    one_line_error(done, gone.name)


def test_shard_outside_the_folder(tmp_path):
    """An index must not lead out of its folder."""
    folder = write_wan_folder(tmp_path / "wan", DENSE, random_weights(DENSE, seed=94), shards=2)
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    content = json.loads(index.read_text())
    shutil.copy(folder / content["weight_map"]["head.head.bias"], tmp_path / "outside.safetensors")
    content["weight_map"]["head.head.bias"] = "../outside.safetensors"
    index.write_text(json.dumps(content))
    inputs = random_inputs(DENSE, batch=1, frames=2, height=4, width=4, text_rows=3)
    source = write_tensors(tmp_path / "in.safetensors", inputs)
    target = tmp_path / "out.safetensors"
    done = run("forward", "--weights", folder, "--inputs", source, "--output", target, "--mode", "bidirectional")
    one_line_error(done, "outside.safetensors")


def test_init_of_latent_weights(tmp_path):
    """Only dense weights can be converted."""
    export = write_export_folder(tmp_path / "export", LATENT, random_weights(LATENT, seed=95))
    file = write_yaml(tmp_path / "init.yaml", {"model": model_section(LATENT), "init": {"method": "svd_weight"}})
    one_line_error(run("init", "--weights", export, "--config", file, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_output_that_cannot_be_written(tmp_path):
    """A file stands where a folder would have to be."""
    inputs = random_inputs(DENSE, batch=1, frames=2, height=4, width=4, text_rows=3)
    folder = write_wan_folder(tmp_path / "wan", DENSE, random_weights(DENSE, seed=96))
    source = write_tensors(tmp_path / "in.safetensors", inputs)
    (tmp_path / "file").write_text("in the way")
    target = tmp_path / "file" / "out.safetensors"
    done = run("forward", "--weights", folder, "--inputs", source, "--output", target, "--mode", "bidirectional")
    assert done.returncode in (1, 2)  # the user's path, or a fault of the disk
    one_line_error(done, tmp_path / "file", status=done.returncode)
    assert (tmp_path / "file").read_text() == "in the way"


# --- videos and datasets ----------------------------------------------------------------------------------------------


@pytest.fixture()
def videos(tmp_path):
    folder = tmp_path / "videos"
    vmla("data", "synth", "--out", folder, "--count", 4)
    return folder


def encoded(folder, target, *flags):
    done = run("data", "encode", "--videos", folder, "--out", target, *flags)
    return done


def video_files(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in (".mp4", ".avi", ".webm", ".mkv", ".y4m"))


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "missing"])
def test_unreadable_video_is_skipped_and_listed(damage, videos, tmp_path):
    """The job goes on; the count and the name are said, and stay in a list beside the dataset."""
    victim = video_files(videos)[1]
    data = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes({"empty": b"", "truncated": data[: len(data) // 3], "text": b"not a video " * 99}[damage])
    done = encoded(videos, tmp_path / "x.h5")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert victim.name in said and "1" in said
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["latents"].shape[0] == 3
    listed = (tmp_path / "x.skipped.csv").read_text()
    assert victim.name in listed and not any(p.name in listed for p in video_files(videos) if p != victim)


def test_video_shorter_than_the_clip(videos, tmp_path):
    """Nothing is encoded, so nothing is written."""
    done = encoded(videos, tmp_path / "x.h5", "--frames", 90)
    assert done.returncode == 2 and "90" in done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x.h5").exists()


def test_folder_without_videos(tmp_path):
    (tmp_path / "videos").mkdir()
    one_line_error(encoded(tmp_path / "videos", tmp_path / "x.h5"), "videos")
    assert not (tmp_path / "x.h5").exists()


def test_unknown_codec(videos, tmp_path):
    one_line_error(encoded(videos, tmp_path / "x.h5", "--codec", "h266"), "h266")
    one_line_error(encoded(videos, tmp_path / "x.h5", "--text", "bert"), "bert")
    assert not (tmp_path / "x.h5").exists()


def damaged_dataset(source, target, change):
    shutil.copy(source, target)
    with h5py.File(target, "r+") as file:
        change(file)
    return target


def drop(name):
    def change(file):
        del file[name]

    return change


def bad_offsets(file):
    values = file["text/offsets"][:]
    values[3] = values[-1] + 50
    file["text/offsets"][:] = values


def nan_latents(file):
    values = file["latents"][:]
    values[:] = np.uint16(0x7FC0)
    file["latents"][:] = values


DATASETS = {
    "no text": (drop("text/embeddings"), ["text/embeddings"]),
    "no offsets": (drop("text/offsets"), ["text/offsets"]),
    "no latents": (drop("latents"), ["latents"]),
    "offsets beyond the rows": (bad_offsets, ["text/offsets"]),
}


@pytest.mark.parametrize("case", DATASETS)
def test_damaged_dataset(case, dataset, tmp_path):
    change, mentions = DATASETS[case]
    file = damaged_dataset(dataset, tmp_path / "damaged.h5", change)
    done = run(*train_arguments("pretrain", tmp_path / "run", file))
    one_line_error(done, "damaged.h5", *mentions)


@pytest.mark.parametrize("content", [b"", b"not hdf5 at all" * 100, None], ids=["empty", "text", "truncated"])
def test_dataset_that_is_no_hdf5(content, dataset, tmp_path):
    file = tmp_path / "damaged.h5"
    data = dataset.read_bytes()
    file.write_bytes(data[: len(data) // 2] if content is None else content)
    one_line_error(run(*train_arguments("pretrain", tmp_path / "run", file)), "damaged.h5")


def test_dataset_of_another_shape(dataset, tmp_path):
    """The model's channels and the data's must agree before anything starts."""
    done = run(*train_arguments("pretrain", tmp_path / "run", dataset, model__in_dim=16, model__out_dim=16))
    one_line_error(done, "16", "12")


# --- training ---------------------------------------------------------------------------------------------------------


def test_nan_in_the_loss(dataset, tmp_path):
    """A fault, not a wrong setting: status 1, the step is named, no checkpoint of broken weights."""
    file = damaged_dataset(dataset, tmp_path / "nan.h5", nan_latents)
    done = run(*train_arguments("pretrain", tmp_path / "run", file))
    assert done.returncode in (1, 2) and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "step" in done.stderr or "nan.h5" in done.stderr
    checkpoints = tmp_path / "run" / "checkpoints"
    assert not checkpoints.exists() or not list(checkpoints.glob("step_*"))


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


def test_full_disk_while_saving(dataset, dense_run, tmp_path):
    """A file-size limit stands in for a full disk: a save fails in the middle, the good checkpoint stays usable."""
    import resource
    import subprocess

    from program import ENVIRONMENT, VMLA

    folder = train("pretrain", tmp_path / "run", dataset)
    before = listing(last_checkpoint(folder))
    arguments = train_arguments("pretrain", folder, dataset, train__steps=9)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    # SIGXFSZ stays ignored, as Python has it, so that a write beyond the limit fails like one on a full disk
    done = subprocess.run(
        [str(VMLA), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        preexec_fn=limit,
        restore_signals=False,
        timeout=120,
    )
    one_line_error(done, "checkpoints", status=1)
    assert listing(last_checkpoint(folder)) == before
    leftovers = [p.name for p in (folder / "checkpoints").iterdir() if p.name not in ("latest", "step_3", "step_6")]
    train("pretrain", folder, dataset, train__steps=9)
    assert last_checkpoint(folder).name == "step_9", f"goes on after the disk has room again ({leftovers} were left)"


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
