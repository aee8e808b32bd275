"""`vmla sample --layout vbench`, several samples of a prompt, and --device/--precision."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file

from program import REPOSITORY, forward, one_line_error, run, vmla
from test_export_formats import TOLERANCE, random_inputs

SHORT = ("--frames", 3, "--sampler", "euler", "--steps", 1)


def vbench_list(path, entries):
    path.write_text(json.dumps([{"prompt_en": p, "dimension": d} for p, d in entries]))
    return path


def sample(run_dir, out, *flags):
    return vmla("sample", "--checkpoint", run_dir, "--out", out, *SHORT, *flags)


def records(folder):
    return json.loads((folder / "samples.json").read_text())


def videos(folder):
    return sorted(p.stem for p in folder.iterdir() if p.suffix in (".mp4", ".y4m"))


def test_vbench_names_counts_and_seeds(latent_run, tmp_path):
    prompts = vbench_list(tmp_path / "info.json", [
        ("a red circle", ["color"]), ("a still façade", ["temporal_flickering"]), ("a red circle", ["object_class"])])  # fmt: skip
    extended = tmp_path / "extended.txt"
    extended.write_text("a large red circle moves left\na facade at noon, nothing moves\nnever used\n")
    out = tmp_path / "v"
    flags = ("--layout", "vbench", "--prompts", prompts, "--generate-with", extended)
    sample(latent_run, out, *flags)
    assert videos(out) == sorted([f"a red circle-{i}" for i in range(5)] + [f"a still façade-{i}" for i in range(25)])
    listed = {r["file"].rsplit(".", 1)[0]: r for r in records(out)}
    assert set(listed) == set(videos(out))
    assert listed["a red circle-3"]["prompt"] == "a large red circle moves left"
    assert listed["a red circle-3"]["prompt_en"] == "a red circle"
    assert len({r["seed"] for r in records(out)}) == 30, "a seed for each video"

    # What is there stays; what is missing is made again, and is the same.
    gone = next(p for p in out.iterdir() if p.stem == "a red circle-2")
    before, others = gone.read_bytes(), {p: p.stat().st_mtime_ns for p in out.iterdir() if p.suffix == gone.suffix}
    gone.unlink()
    sample(latent_run, out, *flags)
    assert gone.read_bytes() == before and len(records(out)) == 30
    assert all(p.stat().st_mtime_ns == t for p, t in others.items() if p != gone)

    # Another seed in the same folder would mix two sets.
    done = run("sample", "--checkpoint", latent_run, "--out", out, *SHORT, *flags, "--seed", 1)
    one_line_error(done, "another seed, text")


def test_vbench_folders_know_what_made_them(latent_run, tmp_path):
    """Resumed with other weights, steps, guidance or window, a folder would hold two sets of videos."""
    prompts = vbench_list(tmp_path / "info.json", [("a", ["color"]), ("b", ["color"])])
    out = tmp_path / "v"
    flags = ("--layout", "vbench", "--prompts", prompts, "--samples-per-prompt", 1)
    sample(latent_run, out, *flags)
    made_by = records(out)[0]["made_by"]
    assert (made_by["role"], made_by["sampler"], made_by["steps"]) == ("generator_ema", "euler", "1")
    next(p for p in out.iterdir() if p.stem == "b-0").unlink()
    before = (out / "samples.json").read_bytes()
    for changed, words in [
        (("--weights", "raw"), ("another weights", made_by["weights"])),
        (("--sampler", "unipc"), ("another sampler", "'euler'", "'unipc'")),
        (("--steps", 2), ("another steps", "'1'", "'2'")),
        (("--guidance", 2), ("another guidance_scale", "'2'")),
        (("--local-attn-size", 6), ("another window", "local_attn_size 6")),
        (("--precision", "bf16"), ("another precision",)),
    ]:
        given = dict(zip(SHORT[::2], SHORT[1::2])) | {changed[0]: changed[1]}  # an option is given once
        options = [part for pair in given.items() for part in pair]
        done = run("sample", "--checkpoint", latent_run, "--out", out, *options, *flags)
        assert done.returncode == 2
        problem = done.stderr.splitlines()[-1]  # a warning of another window stands before it
        assert all(word in problem for word in ("a-0", *words)), problem
    assert (out / "samples.json").read_bytes() == before and videos(out) == ["a-0"]
    # The same weights in another place are the same.
    shutil.copytree(latent_run, tmp_path / "moved")
    sample(tmp_path / "moved", out, *flags)
    assert videos(out) == ["a-0", "b-0"]


@pytest.mark.parametrize("prompt, problem", [("a_b", "'_'"), ("a/b", "'/'"), ("x" * 254, "255 bytes"), ("", "empty")])
def test_names_that_vbench_cannot_find_are_refused(prompt, problem, latent_run, tmp_path):
    prompts = vbench_list(tmp_path / "info.json", [(prompt, ["color"])])
    done = run("sample", "--checkpoint", latent_run, "--out", tmp_path / "v", "--layout", "vbench", "--prompts", prompts)
    one_line_error(done, problem, "info.json")
    assert not (tmp_path / "v").exists()


def test_bad_lists_and_flags_are_refused(latent_run, tmp_path):
    prompts = vbench_list(tmp_path / "info.json", [("a", ["color"]), ("b", ["color"])])
    short = tmp_path / "short.txt"
    short.write_text("one line\n")
    base = ("sample", "--checkpoint", latent_run, "--out", tmp_path / "v")
    vbench = (*base, "--layout", "vbench")
    one_line_error(run(*vbench, "--prompts", prompts, "--generate-with", short), "short.txt", "1 lines", "2 prompts")
    one_line_error(run(*vbench, "--prompts", short), "short.txt")
    one_line_error(run(*vbench, "--prompt", "a"), "VBench_full_info.json")
    one_line_error(run(*base, "--prompt", "a", "--generate-with", short), "--layout vbench")
    assert not (tmp_path / "v").exists()


def test_prompts_that_differ_by_case_are_told(latent_run, tmp_path):
    prompts = vbench_list(tmp_path / "info.json", [("A fantasy", ["color"]), ("a fantasy", ["color"])])
    done = sample(latent_run, tmp_path / "v", "--layout", "vbench", "--prompts", prompts, "--samples-per-prompt", 1)
    assert videos(tmp_path / "v") == ["A fantasy-0", "a fantasy-0"] and "differ by case" in done.stderr


def test_samples_of_a_prompt_are_those_of_other_seeds(latent_run, tmp_path):
    flags = ("--prompt", "a red circle moves left", "--save-latents")
    sample(latent_run, tmp_path / "both", *flags, "--samples-per-prompt", 2, "--seed", 5)
    assert videos(tmp_path / "both") == ["000-0", "000-1"]
    assert [r["seed"] for r in records(tmp_path / "both")] == [5, 6]
    sample(latent_run, tmp_path / "one", *flags, "--seed", 6)
    first, second = (load_file(tmp_path / "both" / f"000-{k}.safetensors")["latents"] for k in (0, 1))
    assert torch.equal(second, load_file(tmp_path / "one" / "000.safetensors")["latents"])
    assert not torch.equal(first, second)
    # An earlier call's videos are removed, whatever their names were.
    sample(latent_run, tmp_path / "both", *flags)
    assert videos(tmp_path / "both") == ["000"]


def test_precision_and_device(latent_run, tmp_path):
    vmla("export", "--checkpoint", latent_run, "--format", "videomla", "--out", tmp_path / "x", "--dtype", "fp32")
    sys.path.insert(0, str(REPOSITORY / "model" / "formats" / "python"))
    from modeling_videomla import CausalWanMLATransformer3DModel
    from reference.weights import read_export_folder

    config, _ = read_export_folder(tmp_path / "x")
    inputs = random_inputs(config, batch=1, frames=3, height=6, width=8, text_rows=4, seed=3)
    peer = CausalWanMLATransformer3DModel.from_pretrained(tmp_path / "x", torch_dtype=torch.bfloat16).eval()
    with torch.no_grad():
        theirs = peer(inputs["latents"], inputs["timesteps"], inputs["text"])
    exact = forward(tmp_path / "x", inputs, "chunk_causal", tmp_path)
    rounded = forward(tmp_path / "x", inputs, "chunk_causal", tmp_path, "--precision", "bf16")
    error, their_error = (float((x - exact).norm() / exact.norm()) for x in (rounded, theirs))
    # Two programs that round to bf16 in the same places have errors of one size.
    assert TOLERANCE < error <= 1.5 * their_error
    sample(latent_run, tmp_path / "v", "--prompt", "a", "--precision", "bf16")
    if not torch.cuda.is_available():
        for command in (("forward", "--weights", tmp_path / "x", "--inputs", tmp_path / "in.safetensors", "--output",
                         tmp_path / "o", "--mode", "cached"),
                        ("sample", "--checkpoint", latent_run, "--out", tmp_path / "w", "--prompt", "a")):  # fmt: skip
            one_line_error(run(*command, "--device", "cuda"), "--device", "cuda")
        assert not (tmp_path / "w").exists()
