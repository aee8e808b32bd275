"""A text encoder with weights where data are made: prompt sets of umt5, their negative prompt, and missing files."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tiny_umt5
from program import one_line_error, run, vmla
from safetensors.torch import load_file

PROMPTS = ["a red circle moves left", "", "猫走在街道"]
NEGATIVE = "blurry square"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("umt5_data")
    (folder / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")
    (folder / "negative.txt").write_text(NEGATIVE + "\n")
    return {"folder": folder, "tokenizer": tiny_umt5.tokenizer(folder / "tokenizer"),
            "weights": tiny_umt5.write_wan(tiny_umt5.encoder(), folder / "wan.safetensors")}


def encoded(files, prompts):
    out = files["folder"] / "encoded.safetensors"
    vmla("text", "encode", "--weights", files["weights"], "--tokenizer", files["tokenizer"], "--prompts",
         files["folder"] / prompts, "--output", out)
    return load_file(out)["embeddings"].numpy()


def test_a_prompt_set_holds_what_text_encode_computes(files):
    out = files["folder"] / "set.h5"
    vmla("data", "prompts", "--prompts", files["folder"] / "prompts.txt", "--out", out, "--text", "umt5",
         "--text-weights", files["weights"], "--tokenizer", files["tokenizer"], "--negative-prompt", NEGATIVE)
    with h5py.File(out) as file:
        # The same sums in products of another number of rows.
        assert np.allclose(file["text/embeddings"][:], encoded(files, "prompts.txt"), atol=1e-4)
        assert np.allclose(file["text/negative"][:], encoded(files, "negative.txt"), atol=1e-4)
        assert file["text/empty"].shape == (1, 48)
        assert file.attrs["negative_prompt"] == NEGATIVE and file.attrs["text_encoder"] == "umt5"
        assert len(file.attrs["text_encoder_hash"]) == 64
    vmla("data", "inspect", out)


def test_missing_files_are_named(files):
    command = ["data", "prompts", "--prompts", files["folder"] / "prompts.txt", "--out", files["folder"] / "no.h5",
               "--text", "umt5"]
    one_line_error(run(*command), "--text-weights")
    one_line_error(run(*command, "--text-weights", files["weights"]), "--tokenizer")
    assert not (files["folder"] / "no.h5").exists()
