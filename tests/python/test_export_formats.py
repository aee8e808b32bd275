"""Every layout of `vmla export` is opened by the programs that it is for, or by their rules for names and headers."""

import contextlib
import hashlib
import importlib.util
import io
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

import loader_rules as rules
from parity import TOLERANCE, deviation, double, random_inputs
from program import REPOSITORY, VMLA, one_line_error, run, vmla
from reference import network
from reference.weights import diffusers_forward, diffusers_name
from test_checkpoint_format import generator_weights, model_of, read_manifest
from tiny_stage import last_checkpoint

FORMATS = ("pt", "wan", "wan_single", "lightx2v", "diffusers", "diffusers_causal", "videomla")


@pytest.fixture(scope="module")
def causal_run(tmp_path_factory, dataset, dense_run):
    """A dense model trained chunk by chunk, with a window: what the engines are made for."""
    from tiny_stage import train

    settings = {"model__attention": "dense", "init__method": "", "rank__every": 0}
    return train("teacher_forcing", tmp_path_factory.mktemp("causal") / "run", dataset, dense_run, **settings)


@pytest.fixture(scope="module")
def exports(causal_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    for name in FORMATS:
        vmla("export", "--checkpoint", causal_run, "--format", name, "--out", folder / name, "--dtype", "fp32")
    return folder


@pytest.fixture(scope="module")
def weights(causal_run):
    checkpoint = last_checkpoint(causal_run)
    roles = read_manifest(checkpoint)["roles"]
    return generator_weights(checkpoint, "generator_ema" if "generator_ema" in roles else "generator")


def same(tensors, weights):
    assert set(tensors) == set(weights)
    return all(torch.equal(tensors[n], weights[n]) for n in weights)


def manifest_of(folder):
    return json.loads((folder / "export_manifest.json").read_text())


def engine(folder, name):
    return next(e for e in manifest_of(folder)["engines"] if name in e["engine"])


def test_torch_reads_the_pt_file(exports, weights):
    whole = rules.torch_dict(exports / "pt" / "model.pt")
    assert list(whole) == ["generator_ema", "generator"]
    for key in whole:
        assert same(rules.self_forcing(exports / "pt" / "model.pt", weights, key), weights)
    first = next(iter(weights))
    shared = {whole[key][f"model.{first}"].untyped_storage().data_ptr() for key in whole}
    assert len(shared) == 1, "both dicts refer to one copy of the weights"
    # As torch.save does: a reader that maps the file finds every storage at a multiple of 64 bytes.
    mapped = torch.load(exports / "pt" / "model.pt", mmap=True, weights_only=True)
    assert all(t.data_ptr() % 64 == 0 for t in mapped["generator"].values())


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_pt_holds_latent_models(latent_run, dtype, tmp_path):
    vmla("export", "--checkpoint", latent_run, "--format", "pt", "--out", tmp_path / "x", "--dtype", dtype)
    ours = generator_weights(last_checkpoint(latent_run), "generator_ema")
    kind = {"bf16": torch.bfloat16, "fp32": torch.float32}[dtype]
    read = rules.self_forcing(tmp_path / "x" / "model.pt", ours, "generator")
    assert same(read, {n: t.to(kind) for n, t in ours.items()})
    assert manifest_of(tmp_path / "x")["engines"] == [], "no engine has a class for latent attention"


def test_loader_rules_of_the_engines(exports, weights):
    pt, single, prefixed = exports / "pt" / "model.pt", exports / "wan_single" / "model.safetensors", exports / "lightx2v"
    assert same(rules.lightx2v(pt, weights), weights)
    assert same(rules.lightx2v(prefixed / "model.safetensors", weights), weights)
    assert same(rules.flashdreams(pt, weights), weights) and same(rules.flashdreams(single, weights), weights)
    assert same(rules.scope(pt, weights), weights) and same(rules.scope(single, weights), weights)
    tensors, causal = rules.comfyui(single, weights)
    assert same(tensors, weights) and causal
    theirs = {diffusers_name(n): t for n, t in weights.items()}
    tensors, config = rules.pipeline_folder(exports / "diffusers_causal", theirs)
    assert same(tensors, theirs)
    assert (config["local_attn_size"], config["sink_size"], config["num_frames_per_block"]) == (7, 1, 3)
    assert config["sliding_window_num_frames"] == 7 and config["rope_cache_policy"] == "relativistic"
    with pytest.raises(rules.LoaderError):
        rules.lightx2v(single, weights)


def test_each_engine_gets_its_own_meaning_of_the_window(exports):
    flash = engine(exports / "pt", "FlashDreams")
    assert flash["settings"] == {"window_size_t": 6, "sink_size_t": 1, "len_t": 3} and flash["exact_frames"] is None
    light = engine(exports / "lightx2v", "LightX2V")
    assert light["settings"]["local_attn_size"] == 7
    assert light["exact_frames"] == 0 and "few-step" in light["why"], "a stage of teacher forcing is sampled in many steps"
    assert engine(exports / "pt", "Scope")["exact_frames"] == 7
    stated = json.loads((exports / "lightx2v" / "lightx2v.json").read_text())["ar_config"]
    assert {n: stated[n] for n in light["settings"]} == light["settings"]
    assert engine(exports / "diffusers_causal", "FastVideo")["exact_frames"] is None
    assert engine(exports / "diffusers_causal", "SGLang")["exact_frames"] == 7
    assert engine(exports / "wan_single", "ComfyUI")["exact_frames"] == 7
    assert engine(exports / "diffusers", "diffusers")["exact_frames"] == 0  # it sees all frames at once


def test_a_bidirectional_model_is_none_for_streaming_engines(dense_run, tmp_path):
    vmla("export", "--checkpoint", dense_run, "--format", "wan_single", "--out", tmp_path / "x")
    assert engine(tmp_path / "x", "ComfyUI")["exact_frames"] == 0
    assert engine(tmp_path / "x", "diffusers")["exact_frames"] > 0
    from safetensors import safe_open

    with safe_open(tmp_path / "x" / "model.safetensors", "pt") as file:
        assert "config" not in file.metadata()


def test_every_file_is_in_the_manifest(exports):
    for name in FORMATS:
        folder = exports / name
        listed = manifest_of(folder)["files"]
        there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {"export_manifest.json"}
        assert set(listed) == there and "README.md" in listed
        for file, entry in listed.items():
            assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == entry["sha256"]


def test_diffusers_opens_the_single_file(exports, weights, causal_run):
    """from_single_file recognises the names; the configuration of the shape is the diffusers export's."""
    from diffusers import WanTransformer3DModel

    model = WanTransformer3DModel.from_single_file(
        str(exports / "wan_single" / "model.safetensors"), config=str(exports / "diffusers"), torch_dtype=torch.float32
    ).eval()
    state = model.state_dict()
    assert all(torch.equal(state[diffusers_name(n)], t) for n, t in weights.items())
    config = model_of(read_manifest(last_checkpoint(causal_run)))
    inputs = random_inputs(config, batch=2, frames=3, height=6, width=8, text_rows=4, seed=7, uniform=True)
    theirs = diffusers_forward(model, config, inputs["latents"], inputs["timesteps"], inputs["text"])
    exact = {n: t.double() for n, t in weights.items()}
    assert deviation(theirs, network.forward("bidirectional", exact, config, double(inputs))) <= TOLERANCE


@pytest.mark.parametrize("layout", ["wan", "wan_single", "lightx2v", "diffusers", "diffusers_causal"])
def test_latent_models_are_refused_in_dense_layouts(latent_run, layout, tmp_path):
    done = run("export", "--checkpoint", latent_run, "--format", layout, "--out", tmp_path / "x")
    one_line_error(done, "no exact dense form", "videomla")
    assert not (tmp_path / "x").exists()


def load_verifier():
    spec = importlib.util.spec_from_file_location("verify_export", REPOSITORY / "launch" / "verify_export.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VERIFIER = load_verifier()


def verify(folder):
    """In this process: to import diffusers takes longer than all the checks."""
    problem = io.StringIO()
    with contextlib.redirect_stderr(problem):
        status = VERIFIER.main([str(folder), "--vmla", str(VMLA)])
    return subprocess.CompletedProcess([], status, "", problem.getvalue())


def test_the_verifier_is_a_program(exports, tmp_path):
    command = [sys.executable, REPOSITORY / "launch" / "verify_export.py", tmp_path, "--vmla", VMLA]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2 and "no export_manifest.json" in done.stderr


@pytest.mark.parametrize("name, verifier", [("pt", "torch"), ("wan", "diffusers"), ("wan_single", "diffusers"),
                                            ("lightx2v", "diffusers"), ("diffusers", "diffusers"),
                                            ("diffusers_causal", "diffusers"), ("videomla", "modeling_videomla")])  # fmt: skip
def test_foreign_programs_verify_the_export(name, verifier, exports):
    done = verify(exports / name)
    assert done.returncode == 0, done.stderr
    checks = [c for c in manifest_of(exports / name)["checks"] if c["verifier"] != "self"]
    assert {c["name"] for c in checks if verifier in c["verifier"]} == {"tensors", "forward"}
    assert all(c["error"] <= TOLERANCE for c in checks)


def test_latent_pt_is_verified_by_plain_pytorch(latent_run, tmp_path):
    vmla("export", "--checkpoint", latent_run, "--format", "pt", "--out", tmp_path / "x")
    done = verify(tmp_path / "x")
    assert done.returncode == 0, done.stderr
    checks = [c for c in manifest_of(tmp_path / "x")["checks"] if c["verifier"] != "self"]
    assert {c["name"] for c in checks} == {"tensors", "forward"}
    assert all(c["verifier"].startswith("modeling_videomla, torch") for c in checks)


def test_every_layout_is_read_back_the_same(exports, weights, tmp_path):
    """`vmla convert` makes one file of every layout, and the files are equal; `vmla forward` is compared by verify."""
    for name in FORMATS:
        if name == "videomla":  # what it holds of a dense model are Wan's names
            continue
        source = exports / name / "model.pt" if name == "pt" else exports / name
        vmla("convert", "--in", source, "--out", tmp_path / f"{name}.safetensors", "--to", "wan")
        assert same(load_file(tmp_path / f"{name}.safetensors"), weights), name


def test_shards_are_cut_at_the_given_size(causal_run, weights, tmp_path):
    for name, inner in (("wan", ""), ("diffusers_causal", "transformer"), ("videomla", "")):
        folder = tmp_path / name
        vmla("export", "--checkpoint", causal_run, "--format", name, "--out", folder, "--dtype", "fp32",
             "--shard-bytes", 200_000)  # fmt: skip
        shards = sorted((folder / inner).glob("*-of-*.safetensors"))
        assert len(shards) > 2
        tensors = [load_file(file) for file in shards]
        sizes = [sum(t.nbytes for t in part.values()) for part in tensors]
        assert all(size <= 200_000 or len(part) == 1 for size, part in zip(sizes, tensors))
        index = json.loads(next((folder / inner).glob("*.index.json")).read_text())
        assert index["metadata"]["total_size"] == sum(sizes)
        assert {n: file.name for file, part in zip(shards, tensors) for n in part} == index["weight_map"]
        done = verify(folder)
        assert done.returncode == 0, done.stderr
    one_line_error(run("export", "--checkpoint", causal_run, "--format", "wan", "--out", tmp_path / "x", "--shard-bytes", 0),
                   "--shard-bytes")  # fmt: skip


def test_the_pipeline_names_the_diffusers_that_it_is_tested_with(exports):
    import diffusers

    index = json.loads((exports / "diffusers_causal" / "model_index.json").read_text())
    assert index["_diffusers_version"] == diffusers.__version__


@pytest.mark.parametrize("name", ["diffusers", "wan_single", "videomla"])
def test_exports_in_bf16_are_verified(name, causal_run, tmp_path):
    """The values in the file are rounded, the flow of both programs with them is not."""
    vmla("export", "--checkpoint", causal_run, "--format", name, "--out", tmp_path / "x", "--dtype", "bf16")
    done = verify(tmp_path / "x")
    assert done.returncode == 0, done.stderr


def test_verification_finds_a_changed_tensor(exports, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(exports / "diffusers", tmp_path / "x")
    file = tmp_path / "x" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["proj_out.bias"][0] += 0.5
    save_file(tensors, file, {"format": "pt"})
    before = (tmp_path / "x" / "export_manifest.json").read_text()
    done = verify(tmp_path / "x")
    assert done.returncode == 1 and "proj_out.bias" in done.stderr
    assert (tmp_path / "x" / "export_manifest.json").read_text() == before
