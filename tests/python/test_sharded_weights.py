"""Weights in several safetensors files: what is damaged, missing or elsewhere than its index says is named in one line."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from program import one_line_error, run, vmla
from reference.model_config import ModelConfig
from reference.weights import random_weights, write_wan_folder

CONFIG = ModelConfig(dim=128, num_heads=1, num_layers=2, text_len=512)
WEIGHTS = random_weights(CONFIG, seed=311)
SECOND = "diffusion_pytorch_model-00002-of-00003.safetensors"
INDEX = "diffusion_pytorch_model.safetensors.index.json"


def edit_index(change):
    def apply(folder):
        index = json.loads((folder / INDEX).read_text())
        change(index["weight_map"])
        (folder / INDEX).write_text(json.dumps(index))

    return apply


def edit_shard(change):
    return lambda folder: (folder / SECOND).write_bytes(change((folder / SECOND).read_bytes()))


def move_offsets(by):
    """Moves the range of the last tensor in the file."""
    def change(data):
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        last = max((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"])
        header[last]["data_offsets"] = [offset + by for offset in header[last]["data_offsets"]]
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + data[8 + length :]

    return change


def retype(dtype):
    def apply(folder):
        tensors = load_file(folder / SECOND)
        name = min(tensors)
        tensors[name] = tensors[name].to(dtype)
        save_file(tensors, folder / SECOND)

    return apply


FIRST_OF_SECOND = sorted(WEIGHTS)[1]
DAMAGED = {
    "truncated": (edit_shard(lambda d: d[:-4]), [SECOND, "truncated"]),
    "empty": (edit_shard(lambda d: b""), [SECOND, "0 bytes"]),
    "overlapping": (edit_shard(move_offsets(-4)), [SECOND, "overlaps"]),
    "out of range": (edit_shard(move_offsets(4)), [SECOND, "hole"]),
    "missing": (lambda f: (f / SECOND).unlink(), [SECOND, "No such file"]),
    "a folder": (lambda f: ((f / SECOND).unlink(), (f / SECOND).mkdir()), [SECOND, "folder"]),
    "elsewhere": (edit_index(lambda m: m.update({FIRST_OF_SECOND: m[sorted(WEIGHTS)[0]]})), [FIRST_OF_SECOND, INDEX]),
    "not in the index": (edit_index(lambda m: m.pop(FIRST_OF_SECOND)), [FIRST_OF_SECOND, "does not name it"]),
    "out of the folder": (edit_index(lambda m: m.update({FIRST_OF_SECOND: "../w.safetensors"})), ["'../w.safetensors'"]),
    "no such file": (edit_index(lambda m: m.update({FIRST_OF_SECOND: "none.safetensors"})), ["none.safetensors"]),
    "deep index": (lambda f: (f / INDEX).write_text("[" * 10000), [INDEX, "64 levels"]),
    "int8": (retype(torch.int8), [f"'{FIRST_OF_SECOND}'", "I8"]),
    "fp8": (retype(torch.float8_e4m3fn), [f"'{FIRST_OF_SECOND}'", "F8_E4M3"]),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged(case, tmp_path):
    folder = write_wan_folder(tmp_path / "wan", CONFIG, WEIGHTS, shards=3)
    change, mentions = DAMAGED[case]
    change(folder)
    one_line_error(run("convert", "--in", folder, "--out", tmp_path / "out", "--to", "wan"), *mentions)
    assert not (tmp_path / "out").exists()


def test_shards_are_read(tmp_path):
    folder = write_wan_folder(tmp_path / "wan", CONFIG, WEIGHTS, shards=3)
    vmla("convert", "--in", folder, "--out", tmp_path / "one.safetensors", "--to", "wan")
    written = load_file(tmp_path / "one.safetensors")
    assert set(written) == set(WEIGHTS) and all(torch.equal(written[n], t) for n, t in WEIGHTS.items())
