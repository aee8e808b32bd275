"""`vmla init` with `svd_weight`: what the method fixes, computed here from the dense weights in fp64."""

import json

import pytest
import torch

from parity import TOLERANCE, deviation, double, random_inputs
from program import forward, model_section, vmla, write_yaml
from reference import network
from reference.model_config import ModelConfig, latent_config
from reference.svd_weight import dense_operators, fitted_scale, latent_operators, tail_energy, truncate
from reference.weights import random_weights, read_export_folder, to_double, write_wan_folder

DENSE = ModelConfig()
# The factors are stored in fp32: an entry of the product carries about 1e-7 of its row's size.
OPTIMUM = 1e-5


def convert(folder, dense, latent, weights):
    """`vmla init` of the dense weights; returns what the export says and holds."""
    source = write_wan_folder(folder / "wan", dense, weights)
    section = model_section(latent)
    del section["rope_pair_indices"]  # the default rule chooses the pairs
    file = write_yaml(folder / "init.yaml", {"model": section, "init": {"method": "svd_weight"}})
    vmla("init", "--weights", source, "--config", file, "--out", folder / "export")
    config, converted = read_export_folder(folder / "export")
    assert config.rope_pair_indices == latent.rope_pair_indices
    for name in ("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "dim"):
        assert getattr(config, name) == getattr(latent, name)
    return config, converted


def both_operators(dense, weights, latent, converted, layer):
    return (
        dense_operators(weights, dense, layer, latent.rope_pair_indices),
        latent_operators(converted, latent, layer),
    )


LATENTS = {
    "heads of 16": (DENSE, latent_config(DENSE, kv_rank=24, q_rank=40, nope=8, rope=8, value=16)),
    "six rope channels": (DENSE, latent_config(DENSE, kv_rank=24, q_rank=48, nope=10, rope=6, value=16)),
    "heads of 32": (
        DENSE.replace(num_heads=2),
        latent_config(DENSE.replace(num_heads=2), kv_rank=17, q_rank=33, nope=20, rope=12, value=32),
    ),
}


@pytest.fixture(params=LATENTS)
def case(request):
    return LATENTS[request.param]


def test_weight_error_is_the_optimum(case, tmp_path):
    """|| [diag(norm_k) W_K content; W_V] - kv_b diag(g) kv_a || over the scale constants = the tail of the spectrum."""
    dense, latent = case
    weights = random_weights(dense, seed=61)
    latent, converted = convert(tmp_path, dense, latent, weights)
    for layer in range(dense.num_layers):
        operators, made = both_operators(dense, weights, latent, converted, layer)
        joint, nope = operators.joint, latent.qk_nope_head_dim
        best = truncate(joint, latent.kv_lora_rank).unflatten(0, (dense.num_heads, -1))
        parts = []
        for actual, target in ((made.key, best[:, :nope]), (made.value, best[:, nope:])):
            scale = fitted_scale(actual, target)
            assert scale > 0
            parts.append(actual / scale)
        error = float((torch.cat(parts, dim=1).flatten(0, 1) - joint).norm())
        optimum = tail_energy(joint, latent.kv_lora_rank)
        assert abs(error - optimum) <= OPTIMUM * optimum


def test_full_rank_keeps_content_keys_and_values(tmp_path):
    dense = DENSE
    latent = latent_config(dense, kv_rank=64, q_rank=64, nope=8, rope=8, value=16)
    weights = random_weights(dense, seed=62)
    latent, converted = convert(tmp_path, dense, latent, weights)
    x = torch.randn(200, dense.dim, generator=torch.Generator().manual_seed(63), dtype=torch.float64)
    for layer in range(dense.num_layers):
        operators, made = both_operators(dense, weights, latent, converted, layer)
        content = operators.content_channels
        for actual, target in (
            (made.key, operators.key[:, content]),
            (made.value, operators.value),
            (made.query_content, operators.query[:, content]),
        ):
            actual, target = actual @ x.T, target @ x.T
            assert deviation(actual / fitted_scale(actual, target), target) <= OPTIMUM


def test_biases(case, tmp_path):
    """b_v moves into the output bias exactly; o.weight stays; the query's content bias stays up to its scale."""
    dense, latent = case
    weights = random_weights(dense, seed=64)
    latent, converted = convert(tmp_path, dense, latent, weights)
    wide = to_double(weights)
    for layer in range(dense.num_layers):
        name = f"blocks.{layer}.self_attn"
        moved = wide[f"{name}.o.bias"] + wide[f"{name}.o.weight"] @ wide[f"{name}.v.bias"]
        assert torch.equal(converted[f"{name}.o.weight"], weights[f"{name}.o.weight"])
        assert deviation(converted[f"{name}.o.bias"], moved) <= 1e-6
        operators, _ = both_operators(dense, weights, latent, converted, layer)
        bias = converted[f"{name}.q_b_proj.bias"].double().view(dense.num_heads, -1)[:, : latent.qk_nope_head_dim]
        target = operators.query_bias[:, operators.content_channels]
        scale = fitted_scale(bias, target)
        assert scale > 0 and deviation(bias / scale, target) <= OPTIMUM


def test_everything_else_is_copied(case, tmp_path):
    dense, latent = case
    weights = random_weights(dense, seed=65)
    _, converted = convert(tmp_path, dense, latent, weights)
    kept = [n for n in weights if ".self_attn." not in n]
    assert all(torch.equal(converted[n], weights[n]) for n in kept)
    assert {n for n in converted if ".self_attn." not in n} == set(kept)


def test_one_head_loses_no_rope_energy(tmp_path):
    """With one head the shared key is the head's own: conj(q) k of every rotary pair is kept up to one factor."""
    dense = DENSE.replace(dim=32, num_heads=1)
    latent = latent_config(dense, kv_rank=16, q_rank=32, nope=20, rope=12, value=32)
    weights = random_weights(dense, seed=66)
    latent, converted = convert(tmp_path, dense, latent, weights)

    def complex_rows(rows):
        return torch.complex(rows[0::2], rows[1::2])

    def products(query, key):
        return torch.einsum("pd,pe->pde", complex_rows(query).conj(), complex_rows(key))

    for layer in range(dense.num_layers):
        operators, made = both_operators(dense, weights, latent, converted, layer)
        rope = operators.rope_channels
        target = products(operators.query[0, rope], operators.key[0, rope])
        actual = products(made.query_rope[0], made.key_rope)
        scale = (actual * target.conj()).sum() / (target * target.conj()).sum()
        assert scale.real > 0 and abs(scale.imag) <= OPTIMUM * scale.real
        assert float((actual / scale - target).abs().max() / target.abs().square().mean().sqrt()) <= OPTIMUM


def test_shared_key_keeps_the_bias_of_its_rows(tmp_path):
    """One head: the rotary key's bias is made from the head's bias by the same complex factor as its rows."""
    dense = DENSE.replace(dim=32, num_heads=1)
    latent = latent_config(dense, kv_rank=16, q_rank=32, nope=20, rope=12, value=32)
    weights = random_weights(dense, seed=67)
    latent, converted = convert(tmp_path, dense, latent, weights)
    operators, made = both_operators(dense, weights, latent, converted, 0)
    rope = operators.rope_channels

    def as_complex(t):
        return torch.complex(t[0::2], t[1::2])

    factor = as_complex(made.key_rope)[:, 0] / as_complex(operators.key[0, rope])[:, 0]
    expected = factor * as_complex(operators.key_bias[0, rope])
    assert float((as_complex(made.key_rope_bias) - expected).abs().max() / expected.abs().max()) <= OPTIMUM


def test_values_have_the_dense_scale(tmp_path):
    """The scale constants: on inputs of unit variance the latent layer's values are as large as the dense ones.

    The constants are expectations over inputs, so a band is all that can be asked; without them V would be off by
    1 / rms(latent), a factor between 2 and 10 here.
    """
    dense = DENSE
    latent = latent_config(dense, kv_rank=48, q_rank=64, nope=8, rope=8, value=16)
    weights = random_weights(dense, seed=68)
    for layer in range(dense.num_layers):
        weights[f"blocks.{layer}.self_attn.v.weight"] *= 0.2
    latent, converted = convert(tmp_path, dense, latent, weights)
    x = torch.randn(1, 1, 500, dense.dim, generator=torch.Generator().manual_seed(69), dtype=torch.float64)
    for layer in range(dense.num_layers):
        name = f"blocks.{layer}.self_attn"
        without_bias = {n: torch.zeros_like(t) if n.endswith("v.bias") else t for n, t in to_double(weights).items()}
        _, theirs = network.project(without_bias, dense, name, x)
        _, ours = network.project(to_double(converted), latent, name, x)
        ratio = float(ours.value.square().mean().sqrt() / theirs.value.square().mean().sqrt())
        assert 0.7 <= ratio <= 1.4
        ratio = float(ours.plain.square().mean().sqrt() / theirs.rotary[..., 8:].square().mean().sqrt())
        assert 0.6 <= ratio <= 1.7


def test_dropped_biases_are_said(tmp_path):
    """`bias: false` has no place for the query's and the rotary key's biases: one line, and figures in the report."""
    dense, latent = LATENTS["heads of 16"]
    source = write_wan_folder(tmp_path / "wan", dense, random_weights(dense, seed=73))
    file = write_yaml(tmp_path / "init.yaml", {"model": model_section(latent), "init": {"method": "svd_weight"}})
    for bias in (True, False):
        out = tmp_path / f"bias_{bias}"
        done = vmla("init", "--weights", source, "--config", file, "--set", f"model.bias={bias}".lower(), "--out", out)
        said = [line for line in (done.stdout + done.stderr).splitlines() if "biases are dropped" in line]
        report = json.loads((out / "init_report.json").read_text())
        assert len(said) == (0 if bias else 1)
        assert ("note" in report) == (not bias)
        for layer in report["layers"]:
            assert (layer["query_bias_lost"] > 0) == (layer["rope_key_bias_lost"] > 0) == (not bias)


@pytest.mark.parametrize("mode", ["bidirectional", "teacher_forcing", "cached"])
def test_forward_of_the_export(mode, tmp_path):
    dense = DENSE
    latent = latent_config(
        dense, kv_rank=24, q_rank=40, nope=8, rope=8, value=16, num_frame_per_block=2, local_attn_size=4, sink_size=1
    )
    config, converted = convert(tmp_path, dense, latent, random_weights(dense, seed=70))
    assert (config.num_frame_per_block, config.local_attn_size, config.sink_size) == (2, 4, 1)
    inputs = random_inputs(config, batch=2, frames=6, height=4, width=6, text_rows=5, seed=71)
    expected = network.forward(mode, to_double(converted), config, double(inputs))
    if mode == "bidirectional":
        del inputs["clean_latents"]
    assert deviation(forward(tmp_path / "export", inputs, mode, tmp_path), expected) <= TOLERANCE


def test_config_of_the_export_is_complete(tmp_path):
    """The fields an engine reads (docs/formats.md "Weights: names and conventions")."""
    dense, latent = LATENTS["heads of 16"]
    convert(tmp_path, dense, latent, random_weights(dense, seed=72))
    fields = json.loads((tmp_path / "export" / "config.json").read_text())
    wan = {"dim", "ffn_dim", "freq_dim", "in_dim", "out_dim", "num_heads", "num_layers", "text_len", "eps"}
    ours = {"text_dim", "patch_size", "bias", "kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim"}
    ours |= {"v_head_dim", "rope_pairs", "rope_pair_indices", "latent_norm_eps", "local_attn_size", "sink_size"}
    ours |= {"num_frame_per_block", "init_method", "_class_name"}
    assert wan | ours <= set(fields)
    assert fields["init_method"] == "svd_weight" and fields["_class_name"] == "CausalWanMLATransformer3DModel"
