"""`vmla text encode` against transformers: the ids of the tokenizer, and what UMT5 computes from them."""

from __future__ import annotations

import html
import re
import subprocess
import sys

import pytest
import tiny_umt5
import torch
from program import REPOSITORY, one_line_error, run, vmla
from safetensors.torch import load_file, save_file
from transformers import T5Tokenizer

PROMPTS = [
    "a red circle moves left",
    "",
    "ｆｕｌｌ ｗｉｄｔｈ ﬁre ﬂow Ⅷ ½ ™",
    "😀 unknown ☃☃ x",
    "猫走在街道 日本語 фильм",
    "cafe\u0301 café naïve\u200b zero\u00ad width",
    "  a\u3000blue \t square\u00a0\u2003 ",
    "salt &amp; pepper &lt;b&gt; &amp;lt; &#233;&#x4e00; caf&eacute &notit; &unknown; &#0; &#150; &",
    "…dots “quotes” – dash",
    "한국어",
    "the camera pans slowly over the mountain " * 30,
]


def cleaned(prompt: str) -> str:
    """Wan's cleaning, without ftfy (docs/algorithms.md 18.3)."""
    return re.sub(r"\s+", " ", html.unescape(html.unescape(prompt))).strip()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("umt5")
    prompts = folder / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS) + "\n")
    model = tiny_umt5.encoder()
    model.save_pretrained(folder / "encoder")
    return {
        "folder": folder,
        "prompts": prompts,
        "tokenizer": tiny_umt5.tokenizer(folder / "tokenizer"),
        "bytes": tiny_umt5.tokenizer(folder / "bytes", byte_fallback=True),
        "model": model,
        "hf": folder / "encoder",
        "wan": tiny_umt5.write_wan(model, folder / "wan.safetensors"),
    }


def encode(files, weights, output="out.safetensors", tokenizer="tokenizer", *extra):
    """`vmla text encode`: ids and embeddings of each prompt."""
    target = files["folder"] / output
    vmla("text", "encode", "--weights", weights, "--tokenizer", files[tokenizer], "--prompts", files["prompts"],
         "--output", target, *extra)
    out = load_file(target)
    assert out["embeddings"].dtype == torch.float32 and out["token_ids"].dtype == out["offsets"].dtype == torch.int64
    cuts = out["offsets"].tolist()
    spans = list(zip(cuts, cuts[1:]))
    return [out["token_ids"][a:b].tolist() for a, b in spans], [out["embeddings"][a:b] for a, b in spans]


@pytest.mark.parametrize("kind", ["tokenizer", "bytes"])
def test_ids_are_those_of_transformers(files, kind):
    theirs = T5Tokenizer.from_pretrained(files[kind].parent, extra_ids=0)
    for text_len in (512, 17):
        ids, _ = encode(files, files["wan"], "ids.safetensors", kind, "--text-len", text_len)
        expected = [theirs(cleaned(p), max_length=text_len, truncation=True).input_ids for p in PROMPTS]
        assert ids == expected
        assert ids[1] == [1], "the empty prompt is </s> alone"
        assert max(map(len, ids)) <= text_len
    # The comparison is of something: unknown characters, several scripts, a cut prompt.
    assert ids[3].count(2) >= 2 and len(ids[-1]) == 17 and ids[-1][-1] == 1


def rms(tensors):
    return torch.cat([t.flatten() for t in tensors]).double().pow(2).mean().sqrt().item()


def difference(ours, theirs):
    return max((a.double() - b.double()).abs().max().item() for a, b in zip(ours, theirs)) / rms(theirs)


def test_embeddings_are_those_of_transformers_in_both_layouts(files):
    ids, ours = encode(files, files["hf"])
    theirs = tiny_umt5.embeddings(files["model"], ids)
    # fp32 against fp32: three layers of sums with 80 terms.
    assert difference(ours, theirs) <= 1e-4
    _, wan = encode(files, files["wan"])
    for a, b in zip(ours, wan):
        assert torch.equal(a, b)
    # Prompts longer than a bucket's range were among them.
    assert max(map(len, ids)) > 128


def test_bf16_is_as_close_to_fp64_as_transformers_is(files):
    model = tiny_umt5.encoder(dtype=torch.bfloat16)
    path = tiny_umt5.write_wan(model, files["folder"] / "bf16.safetensors")
    ids, ours = encode(files, path, "bf16_out.safetensors", "tokenizer", "--precision", "bf16")
    exact = tiny_umt5.embeddings(model.double(), ids)
    theirs = tiny_umt5.embeddings(tiny_umt5.encoder(dtype=torch.bfloat16), ids)

    def error(found):
        gap = torch.cat([(a.double() - b.double()).flatten() for a, b in zip(found, exact)])
        return gap.norm() / torch.cat([b.flatten() for b in exact]).double().norm()

    assert error(ours) <= 1.5 * error(theirs)
    # bf16 weights computed in fp32: the same bound as for fp32 weights.
    _, wide = encode(files, path, "bf16_wide.safetensors")
    assert difference(wide, exact) <= 1e-4
    assert error(ours) > 10 * error(wide), "--precision bf16 computes in bf16"


def test_every_tensor_moves_the_output(files):
    tensors = load_file(files["wan"])
    _, before = encode(files, files["wan"])
    folder = files["folder"]
    # Through the program, some of them; tests/model/text/umt5_encoder_test.cpp moves every one.
    for name in ["token_embedding.weight", "norm.weight", "blocks.0.pos_embedding.embedding.weight"]:
        moved = dict(tensors)
        moved[name] = tensors[name] * 1.01
        save_file(moved, folder / "moved.safetensors")
        _, after = encode(files, folder / "moved.safetensors", "moved_out.safetensors")
        assert difference(after, before) > 1e-4, name


def refused(files, *mentions, weights=None, tokenizer=None, prompts=None):
    output = files["folder"] / "never.safetensors"
    done = run("text", "encode", "--weights", weights or files["wan"], "--tokenizer", tokenizer or files["tokenizer"],
               "--prompts", prompts or files["prompts"], "--output", output)
    one_line_error(done, *mentions)
    assert not output.exists()


def test_what_does_not_fit_is_one_line(files):
    folder, tensors = files["folder"], load_file(files["wan"])

    def broken(name, change):
        other = dict(tensors)
        change(other)
        save_file(other, folder / name)
        return folder / name

    refused(files, "norm.weight is missing", weights=broken("a.safetensors", lambda t: t.pop("norm.weight")))
    refused(files, "blocks.2.ffn.fc2.weight", "[48, 79]", weights=broken(
        "b.safetensors", lambda t: t.update({"blocks.2.ffn.fc2.weight": t["blocks.2.ffn.fc2.weight"][:, :79].clone()})))
    refused(files, "'other'", weights=broken("c.safetensors", lambda t: t.update(other=torch.zeros(2))))
    refused(files, "blocks.1.attn.q.weight", "Char", weights=broken(
        "d.safetensors", lambda t: t.update({"blocks.1.attn.q.weight": t["blocks.1.attn.q.weight"].to(torch.int8)})))
    refused(files, "blocks.1.norm2.weight", "NaN", weights=broken(
        "e.safetensors", lambda t: t["blocks.1.norm2.weight"].fill_(float("nan"))))
    small = tiny_umt5.encoder(vocabulary=40)
    refused(files, "pieces", "40", weights=tiny_umt5.write_wan(small, folder / "small.safetensors"))
    refused(files, "spiece.model", tokenizer=folder)
    other = tiny_umt5.tokenizer(folder / "other", pad_id=1, eos_id=0)
    refused(files, "piece 0", "<pad>", tokenizer=other)


def test_a_damaged_tokenizer_is_one_line(files):
    whole = files["tokenizer"].read_bytes()
    target = files["folder"] / "damaged.model"
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - 3):
        target.write_bytes(whole[:cut])
        refused(files, "damaged.model", tokenizer=target)
    # The table that normalises characters begins with its size, behind 12 bytes of field names and lengths.
    at = whole.index(b"nmt_nfkc") + len("nmt_nfkc")
    for offset, byte in ((8, 0xFF), (4000, 0xFF), (4002, 0x7F)):
        changed = bytearray(whole)
        changed[at + offset : at + offset + 400] = bytes([byte]) * 400
        target.write_bytes(changed)
        refused(files, "damaged.model", tokenizer=target)


def test_the_table_of_entities_is_the_generators():
    script = REPOSITORY / "model/text/generate_html5_entities.py"
    made = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    assert made == (REPOSITORY / "model/text/html5_entities.h").read_text()
