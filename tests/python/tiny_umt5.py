"""A small UMT5 encoder with random weights, in every layout it is found in, and a small tokenizer for it."""

from __future__ import annotations

import random
from pathlib import Path

import sentencepiece
import torch
from safetensors.torch import save_file
from transformers import UMT5Config, UMT5EncoderModel

LAYERS = 3
# transformers' names of a block's tensors and Wan's.
IN_BLOCK = {
    "layer.0.layer_norm": "norm1",
    "layer.0.SelfAttention.q": "attn.q",
    "layer.0.SelfAttention.k": "attn.k",
    "layer.0.SelfAttention.v": "attn.v",
    "layer.0.SelfAttention.o": "attn.o",
    "layer.0.SelfAttention.relative_attention_bias": "pos_embedding.embedding",
    "layer.1.layer_norm": "norm2",
    "layer.1.DenseReluDense.wi_0": "ffn.gate.0",
    "layer.1.DenseReluDense.wi_1": "ffn.fc1",
    "layer.1.DenseReluDense.wo": "ffn.fc2",
}


def tokenizer(folder: Path, byte_fallback: bool = False, pad_id: int = 0, eos_id: int = 1) -> Path:
    """Trains a unigram model, the same every time; returns folder/spiece.model."""
    draw = random.Random(5)
    words = ("a red blue green circle square triangle moves left right up down the camera pans slowly over mountain "
             "river cinematic lighting golden hour café naïve 猫 走 在 街道 日本 語 фильм кот한국 & < >").split()
    words += ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 6))) for _ in range(60)]
    lines = [" ".join(draw.choices(words, k=12)) for _ in range(1500)]
    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(folder / "spiece"), vocab_size=2000, hard_vocab_limit=False,
        model_type="unigram", pad_id=pad_id, eos_id=eos_id, unk_id=2, bos_id=-1, byte_fallback=byte_fallback,
        normalization_rule_name="nmt_nfkc", num_threads=1, minloglevel=2)
    return folder / "spiece.model"


def encoder(vocabulary: int = 512, dtype: torch.dtype = torch.float32) -> UMT5EncoderModel:
    """Random weights at which the output is neither dull nor saturated."""
    config = UMT5Config(vocab_size=vocabulary, d_model=48, d_kv=12, d_ff=80, num_layers=LAYERS, num_heads=5,
                        relative_attention_num_buckets=32, relative_attention_max_distance=128, dropout_rate=0.0,
                        feed_forward_proj="gated-gelu", layer_norm_epsilon=1e-6)
    torch.manual_seed(3)
    model = UMT5EncoderModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layer_norm" in name:
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            elif "relative_attention_bias" in name:
                parameter.copy_(torch.randn_like(parameter))
            elif "shared" in name or "embed_tokens" in name:
                parameter.copy_(torch.randn_like(parameter))
            else:
                # T5 does not scale its scores; without this softmax would be all or nothing.
                scale = 0.4 if ".q." in name else 1.0
                parameter.copy_(scale * torch.randn_like(parameter) / parameter.shape[1] ** 0.5)
    return model.to(dtype)


def wan_tensors(model: UMT5EncoderModel) -> dict[str, torch.Tensor]:
    """The weights under the names of models_t5_umt5-xxl-enc-bf16.pth."""
    state = model.state_dict()
    tensors = {"token_embedding.weight": state["shared.weight"],
               "norm.weight": state["encoder.final_layer_norm.weight"]}
    for layer in range(model.config.num_layers):
        for theirs, wans in IN_BLOCK.items():
            tensors[f"blocks.{layer}.{wans}.weight"] = state[f"encoder.block.{layer}.{theirs}.weight"]
    return {name: tensor.clone().contiguous() for name, tensor in tensors.items()}


def write_wan(model: UMT5EncoderModel, path: Path) -> Path:
    save_file(wan_tensors(model), path)
    return path


def embeddings(model: UMT5EncoderModel, ids: list[list[int]]) -> list[torch.Tensor]:
    """What transformers computes for prompts padded to one length, cut back to each prompt's own."""
    longest = max(map(len, ids))
    padded = torch.tensor([one + [0] * (longest - len(one)) for one in ids])
    mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids])
    with torch.no_grad():
        hidden = model(input_ids=padded, attention_mask=mask).last_hidden_state
    return [rows[: len(one)] for rows, one in zip(hidden, ids)]
