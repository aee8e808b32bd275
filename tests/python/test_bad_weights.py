"""Bad weights, and bad tensors given to them: one line on stderr that names the file or tensor; status 2; no output."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from parity import random_inputs
from program import model_section, one_line_error, overrides, run, write_tensors, write_yaml
from reference.model_config import ModelConfig, latent_config
from reference.weights import random_weights, write_export_folder, write_wan_folder

DENSE = ModelConfig(num_layers=1)
LATENT = latent_config(DENSE, kv_rank=24, q_rank=40, nope=8, rope=8, value=16, num_frame_per_block=2)


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
