"""modeling_videomla.py against the program on models that no stage of a few steps makes: other ranks, windows, biases."""

import json
import sys

import pytest
import torch
from safetensors.torch import save_file

from parity import TOLERANCE, deviation
from program import REPOSITORY, forward, run, write_tensors

sys.path.insert(0, str(REPOSITORY / "model" / "formats" / "python"))
from modeling_videomla import CausalWanMLATransformer3DModel  # noqa: E402

# Odd widths; the heads of 32 channels have 6 rotary pairs in time and 5 in height and width each.
LATENT = {
    "kv_lora_rank": 20, "q_lora_rank": 28, "qk_nope_head_dim": 10, "qk_rope_head_dim": 12, "v_head_dim": 14,
    "rope_pair_indices": [0, 1, 6, 7, 11, 12], "bias": True, "latent_norm_eps": 1e-6,
}  # fmt: skip
MODEL = {
    "attention": "mla", "dim": 96, "ffn_dim": 112, "freq_dim": 32, "in_dim": 4, "out_dim": 4, "num_heads": 3,
    "num_layers": 2, "text_len": 12, "text_dim": 24, "num_frame_per_block": 3, "local_attn_size": 7, "sink_size": 1,
    "patch_size": [1, 2, 2], "eps": 1e-6,
}  # fmt: skip
CASES = {
    "with bias": {},
    "without bias": {"bias": False},
    "a rank of its own for each layer": {"kv_lora_rank": [20, 13]},
    "pairs of its own for each layer": {"rope_pair_indices": [[0, 1, 6, 7, 11, 12], [2, 3, 4, 8, 9, 15]]},
    "large epsilons": {"eps": 1e-3, "latent_norm_eps": 1e-2},
    "first frame alone": {"independent_first_frame": True},
    "no window": {"local_attn_size": -1, "sink_size": 0},
    "a sink of a chunk": {"local_attn_size": 9, "sink_size": 3},
    "absolute positions": {"rope_cache_policy": "absolute"},
    "dense": {"attention": "dense"},
}


def config_of(case):
    changed = CASES[case]
    return MODEL | ({} if changed.get("attention") == "dense" else LATENT) | changed


def folder_of(config, place):
    """A videomla folder of random weights in which every tensor matters."""
    g = torch.Generator().manual_seed(3)
    tensors = {}
    for name, p in CausalWanMLATransformer3DModel(**config).named_parameters():
        if "norm" in name and name.endswith("weight"):
            tensors[name] = 1 + 0.3 * torch.randn(p.shape, generator=g)
        elif p.ndim > 1 and "modulation" not in name:
            tensors[name] = torch.randn(p.shape, generator=g) * p[0].numel() ** -0.5
        else:
            tensors[name] = 0.3 * torch.randn(p.shape, generator=g)
    place.mkdir()
    save_file(tensors, place / "diffusion_pytorch_model.safetensors")
    stated = {"_class_name": "CausalWanMLATransformer3DModel", "model_type": "t2v", **config}
    (place / "config.json").write_text(json.dumps(stated))
    return place


def inputs_of(config):
    g = torch.Generator().manual_seed(4)
    frames = 13 if config.get("independent_first_frame") else 12  # past every window
    shape = (2, frames, 4, 4, 6)
    return {
        "latents": torch.randn(shape, generator=g),
        "timesteps": torch.rand(2, frames, generator=g) * 1000,
        "text": torch.randn(2, 5, 24, generator=g),
        "clean_latents": torch.randn(shape, generator=g),
    }


def flow_of(model, inputs, mode):
    with torch.no_grad():
        return model(inputs["latents"], inputs["timesteps"], inputs["text"], mode, inputs["clean_latents"])


# What cached gives is teacher_forcing's by another way; chunk_causal and bidirectional differ in the groups alone.
@pytest.mark.parametrize("case, mode", [(c, m) for c in CASES for m in ("cached", "teacher_forcing")]
                         + [("with bias", "chunk_causal"), ("dense", "bidirectional")])  # fmt: skip
def test_every_kind_of_model_is_the_programs(case, mode, tmp_path):
    config = config_of(case)
    folder = folder_of(config, tmp_path / "model")
    model = CausalWanMLATransformer3DModel.from_pretrained(folder).eval()
    inputs = inputs_of(config)
    assert deviation(forward(folder, inputs, mode, tmp_path), flow_of(model, inputs, mode)) <= TOLERANCE


def relative(actual, exact):
    return float((actual.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("case", ["with bias", "dense"])
def test_bf16_is_as_exact_as_plain_pytorch_in_bf16(case, tmp_path):
    """Rounding errors of two programs in one precision are draws from one distribution: neither may be much the larger."""
    config = config_of(case)
    folder = folder_of(config, tmp_path / "model")
    inputs = inputs_of(config)
    exact = flow_of(CausalWanMLATransformer3DModel.from_pretrained(folder).double().eval(), inputs, "chunk_causal").double()
    model = CausalWanMLATransformer3DModel.from_pretrained(folder, torch_dtype=torch.bfloat16).eval()
    peer = relative(flow_of(model, inputs, "chunk_causal"), exact)
    given, out = write_tensors(tmp_path / "in.safetensors", inputs), tmp_path / "out.safetensors"
    done = run("forward", "--weights", folder, "--inputs", given, "--output", out, "--mode", "chunk_causal", "--precision", "bf16")
    assert done.returncode == 0, done.stderr
    from safetensors.torch import load_file

    ours = relative(load_file(out)["flow"], exact)
    print(f"bf16 relative L2: vmla {ours:.2e}, PyTorch {peer:.2e}")
    assert 2**-12 < ours <= 1.5 * peer
