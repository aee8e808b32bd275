"""`vmla forward` against the reference in fp64 and against diffusers' own network: every mode, every kind of folder."""

import json

import pytest
import torch

from parity import TOLERANCE, deviation, double, random_inputs
from program import forward, model_section, overrides, write_yaml
from reference import network
from reference.model_config import ModelConfig, latent_config
from reference.weights import (
    diffusers_forward,
    diffusers_model,
    random_weights,
    to_double,
    write_export_folder,
    write_wan_folder,
)

MODES = ["bidirectional", "chunk_causal", "teacher_forcing", "cached"]
DENSE = ModelConfig()
WIDE_HEADS = DENSE.replace(dim=256, num_heads=2, num_layers=1, in_dim=16, out_dim=16, ffn_dim=320)
ODD_HEADS = DENSE.replace(dim=78, num_heads=3, ffn_dim=70, freq_dim=26, text_dim=20)  # 13 pairs: 5 + 4 + 4
LATENT = latent_config(DENSE, kv_rank=24, q_rank=40, nope=8, rope=8, value=16)
LATENT_CASES = {
    "square": LATENT,
    "odd sizes": latent_config(DENSE, kv_rank=13, q_rank=31, nope=6, rope=10, value=12, latent_norm_eps=1e-5),
    "without biases": LATENT.replace(bias=False),
    "chosen pairs": LATENT.replace(rope_pair_indices=(7, 1, 4, 6)),
    "heads of 128": latent_config(WIDE_HEADS, kv_rank=48, q_rank=64, nope=96, rope=32, value=128),
}
SHAPE = {"batch": 2, "frames": 6, "height": 6, "width": 10, "text_rows": 7}


def only(inputs, mode):
    """The tensors that a mode reads."""
    clean = mode in ("teacher_forcing", "cached")
    return {k: v for k, v in inputs.items() if k != "clean_latents" or clean}


def check(folder, config, weights, inputs, mode, tmp_path, *extra):
    expected = network.forward(mode, to_double(weights), config, double(inputs))
    actual = forward(folder, only(inputs, mode), mode, tmp_path, *extra)
    assert deviation(actual, expected) <= TOLERANCE


# --- bidirectional dense: diffusers and the reference -----------------------------------------------------------------

DIFFUSERS_CASES = {
    "rows and columns differ": (DENSE, {"batch": 2, "frames": 3, "height": 6, "width": 10, "text_rows": 12}),
    "one frame, one row": (DENSE, {"batch": 3, "frames": 1, "height": 2, "width": 6, "text_rows": 5}),
    "odd token count": (DENSE, {"batch": 1, "frames": 5, "height": 6, "width": 6, "text_rows": 1}),
    "heads of 128": (WIDE_HEADS, {"batch": 2, "frames": 2, "height": 6, "width": 4, "text_rows": 9}),
    "13 pairs a head": (ODD_HEADS, {"batch": 2, "frames": 3, "height": 4, "width": 6, "text_rows": 3}),
}


@pytest.mark.parametrize("case", DIFFUSERS_CASES)
@pytest.mark.parametrize("uniform", [True, False], ids=["one time a sample", "one time a frame"])
def test_bidirectional_dense(case, uniform, tmp_path):
    config, shape = DIFFUSERS_CASES[case]
    weights = random_weights(config, seed=11)
    inputs = random_inputs(config, **shape, uniform=uniform, seed=12)
    folder = write_wan_folder(tmp_path / "wan", config, weights)
    actual = forward(folder, only(inputs, "bidirectional"), "bidirectional", tmp_path)
    expected = network.forward("bidirectional", to_double(weights), config, double(inputs))
    assert deviation(actual, expected) <= TOLERANCE
    theirs = diffusers_forward(
        diffusers_model(config, weights), config, inputs["latents"], inputs["timesteps"], inputs["text"]
    )
    assert deviation(actual, theirs) <= TOLERANCE


@pytest.mark.parametrize("place", ["transformer folder", "pipeline root"])
@pytest.mark.parametrize("shard_size", ["5GB", "100KB"])
def test_diffusers_folder(place, shard_size, tmp_path):
    """What `save_pretrained` wrote, whole or in shards with an index; its config has no text_len, so 512 holds."""
    config = DENSE.replace(text_len=512)
    weights = random_weights(config, seed=13)
    model = diffusers_model(config, weights)
    root = tmp_path / "diffusers"
    model.save_pretrained(root / "transformer", max_shard_size=shard_size)
    (root / "model_index.json").write_text(
        json.dumps({"_class_name": "WanPipeline", "transformer": ["diffusers", "WanTransformer3DModel"]})
    )
    inputs = random_inputs(config, **SHAPE, uniform=True, seed=14)
    folder = root / "transformer" if place == "transformer folder" else root
    actual = forward(folder, only(inputs, "bidirectional"), "bidirectional", tmp_path)
    theirs = diffusers_forward(model, config, inputs["latents"], inputs["timesteps"], inputs["text"])
    assert deviation(actual, theirs) <= TOLERANCE


# --- causal modes -----------------------------------------------------------------------------------------------------

# (num_frame_per_block, local_attn_size, sink_size, independent_first_frame, frames)
WINDOWS = [
    (3, -1, 0, False, 6),
    (2, 4, 0, False, 8),
    (2, 4, 1, False, 8),
    (1, 3, 2, False, 7),
    (3, 5, 1, True, 10),
    (2, -1, 0, True, 5),
    (6, -1, 0, False, 6),
]


def windowed(config, window):
    block, attended, sink, first_alone, frames = window
    shape = {**SHAPE, "frames": frames, "height": 4, "width": 6}
    config = config.replace(
        num_frame_per_block=block, local_attn_size=attended, sink_size=sink, independent_first_frame=first_alone
    )
    return config, shape


@pytest.mark.parametrize("mode", ["chunk_causal", "teacher_forcing", "cached"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_dense_windows(window, mode, tmp_path):
    """The window of a Wan folder comes from the configuration file."""
    config, shape = windowed(DENSE, window)
    weights = random_weights(config, seed=15)
    folder = write_wan_folder(tmp_path / "wan", config, weights)
    file = write_yaml(tmp_path / "forward.yaml", {"model": model_section(config)})
    inputs = random_inputs(config, **shape, seed=16)
    check(folder, config, weights, inputs, mode, tmp_path, "--config", file)


@pytest.mark.parametrize("mode", ["chunk_causal", "teacher_forcing", "cached"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_latent_windows(window, mode, tmp_path):
    """The window of an export comes from its own `config.json`."""
    config, shape = windowed(LATENT, window)
    weights = random_weights(config, seed=17)
    folder = write_export_folder(tmp_path / "export", config, weights)
    inputs = random_inputs(config, **shape, seed=18)
    check(folder, config, weights, inputs, mode, tmp_path)


@pytest.mark.parametrize("mode", ["chunk_causal", "teacher_forcing", "cached"])
@pytest.mark.parametrize("attention", ["dense", "mla"])
def test_absolute_positions(attention, mode, tmp_path):
    """With a window and a sink they differ from ranks once frames are evicted."""
    config, shape = windowed({"dense": DENSE, "mla": LATENT}[attention], (2, 4, 1, False, 8))
    config = config.replace(rope_cache_policy="absolute")
    weights = random_weights(config, seed=15)
    folder = write_wan_folder(tmp_path / "wan", config, weights) if attention == "dense" else None
    folder = folder or write_export_folder(tmp_path / "export", config, weights)
    file = write_yaml(tmp_path / "forward.yaml", {"model": model_section(config)})
    inputs = random_inputs(config, **shape, seed=16)
    check(folder, config, weights, inputs, mode, tmp_path, "--config", file)
    absolute, ranks = (network.forward(mode, weights, c, only(inputs, mode))
                       for c in (config, config.replace(rope_cache_policy="relativistic")))  # fmt: skip
    assert torch.equal(absolute[:, :4], ranks[:, :4]) and deviation(absolute[:, 4:], ranks[:, 4:]) > 100 * TOLERANCE


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", LATENT_CASES)
def test_latent_shapes(case, mode, tmp_path):
    config = LATENT_CASES[case].replace(num_frame_per_block=2, local_attn_size=4, sink_size=1)
    weights = random_weights(config, seed=19)
    folder = write_export_folder(tmp_path / "export", config, weights)
    inputs = random_inputs(config, **SHAPE, seed=20)
    check(folder, config, weights, inputs, mode, tmp_path)


def test_settings_on_the_command_line_override_the_folder(tmp_path):
    config = LATENT.replace(num_frame_per_block=3)
    weights = random_weights(config, seed=21)
    folder = write_export_folder(tmp_path / "export", config, weights)
    inputs = random_inputs(config, **SHAPE, seed=22)
    changed = {"num_frame_per_block": 2, "local_attn_size": 4, "sink_size": 1}
    settings = overrides({f"model.{name}": value for name, value in changed.items()})
    check(folder, config.replace(**changed), weights, inputs, "chunk_causal", tmp_path, *settings)


def test_exports_with_the_other_spelling_of_the_chunk_key(tmp_path):
    """FastVideo writes num_frames_per_block."""
    config = LATENT.replace(num_frame_per_block=2)
    weights = random_weights(config, seed=23)
    folder = write_export_folder(tmp_path / "export", config, weights)
    fields = json.loads((folder / "config.json").read_text())
    fields["num_frames_per_block"] = fields.pop("num_frame_per_block")
    (folder / "config.json").write_text(json.dumps(fields))
    check(folder, config, weights, random_inputs(config, **SHAPE, seed=24), "chunk_causal", tmp_path)


# --- kinds of weight folders ------------------------------------------------------------------------------------------


def test_sharded_wan_folder(tmp_path):
    weights = random_weights(DENSE, seed=25)
    folder = write_wan_folder(tmp_path / "wan", DENSE, weights, shards=3)
    check(folder, DENSE, weights, random_inputs(DENSE, **SHAPE, seed=26), "bidirectional", tmp_path)


def test_wan_folder_without_config(tmp_path):
    """With neither config.json nor --config: text_len is 512, num_heads is dim / 128, eps is Wan's 1e-6."""
    config = WIDE_HEADS.replace(text_len=512)
    weights = random_weights(config, seed=27)
    folder = write_wan_folder(tmp_path / "wan", config, weights, config_json=False)
    check(folder, config, weights, random_inputs(config, **SHAPE, seed=28), "bidirectional", tmp_path)


def test_eps_comes_from_the_config(tmp_path):
    config = DENSE.replace(eps=1e-2)
    weights = random_weights(config, seed=29)
    folder = write_wan_folder(tmp_path / "wan", config, weights)
    check(folder, config, weights, random_inputs(config, **SHAPE, seed=30), "bidirectional", tmp_path)


def test_latent_eps_is_its_own(tmp_path):
    config = LATENT.replace(eps=1e-2, latent_norm_eps=3e-2)
    weights = random_weights(config, seed=31)
    folder = write_export_folder(tmp_path / "export", config, weights)
    check(folder, config, weights, random_inputs(config, **SHAPE, seed=32), "bidirectional", tmp_path)


# --- causality --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["dense", "mla"])
def test_a_change_in_a_chunk_changes_nothing_before_it(attention, tmp_path):
    config = (DENSE if attention == "dense" else LATENT).replace(num_frame_per_block=2)
    weights = random_weights(config, seed=33)
    write = write_wan_folder if attention == "dense" else write_export_folder
    folder = write(tmp_path / "weights", config, weights)
    settings = overrides({"model.num_frame_per_block": 2})
    inputs = random_inputs(config, **SHAPE, seed=34)
    before = forward(folder, only(inputs, "chunk_causal"), "chunk_causal", tmp_path, *settings)
    inputs["latents"][:, 4:] += 1
    after = forward(folder, only(inputs, "chunk_causal"), "chunk_causal", tmp_path, *settings)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4:], after[:, 4:])
