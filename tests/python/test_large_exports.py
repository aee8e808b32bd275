"""Files beyond 4 GiB: zip64 archives for torch.load, shards of the default size. The source is sparse, the exports are not."""

import json
import math
import shutil
import struct

import pytest
import torch
from safetensors import safe_open

from program import run, vmla
from reference.model_config import ModelConfig
from reference.weights import wan_config_json, weight_shapes

pytestmark = pytest.mark.soak

GIB = 1 << 30
# Both matrices of the feed-forward part have 4.27 GiB in fp32: an entry above 4 GiB, and two shards of 5 GB.
SIZES = {"dim": 2048, "ffn_dim": 560_000, "num_heads": 16, "num_layers": 1}


def last_value(name):
    """Of the tensor's last element; all others are zero. A reader that is wrong by 2^32 bytes does not find it."""
    return float(1 + sum(name.encode()) % 251)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder of one model, 9.2 GB of which are holes."""
    folder = tmp_path_factory.mktemp("large") / "wan"
    config = ModelConfig(text_len=512, **SIZES)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(wan_config_json(config)))
    header, at = {}, 0
    for name, shape in weight_shapes(config).items():
        end = at + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "diffusion_pytorch_model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, entry in header.items():
            file.seek(8 + len(text) + entry["data_offsets"][1] - 4)
            file.write(struct.pack("<f", last_value(name)))
    yield folder, weight_shapes(config)
    shutil.rmtree(folder.parent)


def check(name, tensor, shape):
    assert tuple(tensor.shape) == tuple(shape), name
    flat = tensor.reshape(-1)
    assert flat[-1] == last_value(name) and flat[0] == (0 if len(flat) > 1 else flat[-1]), name


def test_torch_maps_a_file_with_entries_above_4_gib(source, tmp_path):
    folder, shapes = source
    file = tmp_path / "x.pt"
    vmla("convert", "--in", folder, "--out", file, timeout=540)
    assert file.stat().st_size > 8 * GIB
    tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
    assert set(tensors) == set(shapes)
    assert max(t.nbytes for t in tensors.values()) > 4 * GIB
    for name, tensor in tensors.items():
        check(name, tensor, shapes[name])
    del tensors
    # Our own reader follows the same records.
    back = tmp_path / "back.safetensors"
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    vmla("convert", "--in", file, "--out", back, timeout=540)
    with safe_open(back, "pt") as opened:
        for name, shape in shapes.items():
            if math.prod(shape) < GIB // 4:
                check(name, opened.get_tensor(name), shape)
            else:
                assert opened.get_slice(name)[-1, -1:].item() == last_value(name), name
    shutil.rmtree(tmp_path)


def test_shards_have_at_most_5_gb(source, tmp_path):
    folder, shapes = source
    out = tmp_path / "shards"
    vmla("convert", "--in", folder, "--out", out, "--to", "wan", timeout=540)
    shards = sorted(out.glob("*-of-*.safetensors"))
    assert len(shards) == 2 and all(s.stat().st_size <= 5_000_000_000 + 100_000 for s in shards)
    index = json.loads((out / "diffusion_pytorch_model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 4 * sum(math.prod(shape) for shape in shapes.values())
    assert set(index["weight_map"]) == set(shapes)
    for name, file in index["weight_map"].items():
        with safe_open(out / file, "pt") as opened:
            part = opened.get_slice(name)
            assert part.get_shape() == list(shapes[name])
            if math.prod(shapes[name]) > GIB // 4:
                assert part[-1, -1:].item() == last_value(name), name
            else:
                check(name, opened.get_tensor(name), shapes[name])
    # A shard that is missing is named.
    shards[1].unlink()
    done = run("convert", "--in", out, "--out", tmp_path / "y.safetensors", "--to", "diffusers")
    assert done.returncode == 2 and shards[1].name in done.stderr
    shutil.rmtree(tmp_path)
