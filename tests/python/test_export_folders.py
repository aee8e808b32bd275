"""`vmla export` of what is no checkpoint: folders of `vmla init`, `convert` and `export` itself, and single files."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import loader_rules as rules
from program import REPOSITORY, forward, model_section, one_line_error, run, vmla, write_yaml
from parity import TOLERANCE, deviation, double, random_inputs
from reference import network
from reference.model_config import ModelConfig, latent_config
from reference.weights import diffusers_name, random_weights, read_export_folder, to_double, write_wan_folder
from test_export_formats import engine, manifest_of, verify

DENSE = ModelConfig(text_len=512)
LATENT = latent_config(DENSE, kv_rank=24, q_rank=40, nope=8, rope=8, value=16, num_frame_per_block=3, local_attn_size=7,
                       sink_size=1)  # fmt: skip
FEW_STEP = {"name": "dmd", "dmd": {"timestep_shift": 5.0, "denoising_step_list": [1000, 750, 500, 250]}}


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wan") / "wan"
    weights = random_weights(DENSE, seed=31)
    return write_wan_folder(folder, DENSE, weights), weights


@pytest.fixture(scope="module")
def converted(wan, tmp_path_factory):
    """What `vmla init` writes."""
    folder = tmp_path_factory.mktemp("init")
    section = model_section(LATENT)
    del section["rope_pair_indices"]
    config = write_yaml(folder / "init.yaml", {"model": section, "init": {"method": "svd_weight"}})
    vmla("init", "--weights", wan[0], "--config", config, "--out", folder / "mla")
    return folder / "mla"


@pytest.fixture(scope="module")
def student(wan, tmp_path_factory):
    """A dense causal student as a file of torch.save, as another trainer leaves it, and the yaml that describes it."""
    folder = tmp_path_factory.mktemp("student")
    torch.save({"generator_ema": {f"model.{n}": t for n, t in wan[1].items()}}, folder / "student.pt")
    window = {"num_frame_per_block": 3, "local_attn_size": 7, "sink_size": 1, "num_heads": DENSE.num_heads}
    return folder / "student.pt", write_yaml(folder / "dmd.yaml", {"model": window, "objective": FEW_STEP})


def export(source, layout, out, *extra, dtype="fp32"):
    return vmla("export", "--checkpoint", source, "--format", layout, "--out", out, "--dtype", dtype, *extra)


def test_converted_weights_go_out_as_pt_and_come_back(converted, tmp_path):
    config, ours = read_export_folder(converted)
    done = export(converted, "pt", tmp_path / "pt")
    assert "nothing says how this model is sampled" in done.stdout + done.stderr
    read = rules.self_forcing(tmp_path / "pt" / "model.pt", ours, "generator")
    assert all(torch.equal(read[n], t) for n, t in ours.items())
    # A folder with one file of torch.save is a source like any other.
    export(tmp_path / "pt", "videomla", tmp_path / "back")
    again, back = read_export_folder(tmp_path / "back")
    assert again == config and all(torch.equal(back[n], t) for n, t in ours.items())
    assert not (tmp_path / "back" / "sampling.json").exists()
    inputs = random_inputs(config, batch=1, frames=3, height=4, width=4, text_rows=4, seed=8)
    flow = forward(tmp_path / "pt", inputs, "chunk_causal", tmp_path)
    assert deviation(flow, network.forward("chunk_causal", to_double(ours), config, double(inputs))) <= TOLERANCE
    for folder in ("pt", "back"):
        checked = verify(tmp_path / folder)
        assert checked.returncode == 0, checked.stderr


def test_a_stage_says_how_converted_weights_are_sampled(converted, tmp_path):
    yaml = write_yaml(tmp_path / "dmd.yaml", {"model": {"attention": "mla"}, "objective": FEW_STEP})
    export(converted, "videomla", tmp_path / "x", "--config", yaml, dtype="bf16")
    sampling = json.loads((tmp_path / "x" / "sampling.json").read_text())
    assert sampling["sampler"] == "few_step" and sampling["denoising_step_list"] == [1000, 750, 500, 250]
    assert manifest_of(tmp_path / "x")["sampling"] == sampling
    assert manifest_of(tmp_path / "x")["source"]["init_method"] == "svd_weight"
    fields = json.loads((tmp_path / "x" / "config.json").read_text())
    assert (fields["local_attn_size"], fields["sink_size"], fields["num_frame_per_block"]) == (7, 1, 3)


def test_layouts_hand_on_what_they_have_no_place_for(wan, student, tmp_path):
    """Wan's config.json knows neither window nor steps: the manifest of each export carries them to the next."""
    weights = wan[1]
    export(student[0], "pt", tmp_path / "a", "--config", student[1])
    export(tmp_path / "a", "wan", tmp_path / "b")
    export(tmp_path / "b", "diffusers_causal", tmp_path / "c")
    theirs = {diffusers_name(n): t for n, t in weights.items()}
    tensors, config = rules.pipeline_folder(tmp_path / "c", theirs)
    assert all(torch.equal(tensors[n], t) for n, t in theirs.items())
    assert (config["local_attn_size"], config["sink_size"], config["num_frames_per_block"]) == (7, 1, 3)
    vmla("convert", "--in", tmp_path / "c", "--out", tmp_path / "d")  # to Wan's names
    export(tmp_path / "d", "lightx2v", tmp_path / "e")
    ar = json.loads((tmp_path / "e" / "lightx2v.json").read_text())["ar_config"]
    assert (ar["local_attn_size"], ar["sink_size"], ar["num_frame_per_chunk"]) == (7, 1, 3)
    assert ar["denoising_step_list"] == pytest.approx([1000, 937.5, 2500 / 3, 625])
    assert engine(tmp_path / "e", "LightX2V")["exact_frames"] == 7
    assert all(torch.equal(rules.lightx2v(tmp_path / "e" / "model.safetensors", weights)[n], t) for n, t in weights.items())
    vmla("convert", "--in", tmp_path / "a", "--out", tmp_path / "x.safetensors")
    assert all(torch.equal(load_file(tmp_path / "x.safetensors")[n], t) for n, t in weights.items())


def test_what_is_missing_is_said(wan, student, converted, tmp_path):
    def refused(source, layout, *words, extra=()):
        done = run("export", "--checkpoint", source, "--format", layout, "--out", tmp_path / "no", *extra)
        one_line_error(done, *words)
        assert not (tmp_path / "no").exists()

    for layout in ("lightx2v", "diffusers_causal"):
        refused(wan[0], layout, "nothing says how this model is sampled", "--config", layout)
    refused(converted, "diffusers", "no exact dense form")
    latent = write_yaml(tmp_path / "mla.yaml", {"model": model_section(LATENT), "objective": FEW_STEP})
    refused(wan[0], "wan", "model.attention is mla", "dense", extra=("--config", latent))
    refused(student[0], "wan", "--set train.steps=3 needs --config", extra=("--set", "train.steps=3"))
    refused(wan[0], "wan", "nobody", extra=("--config", tmp_path / "nobody.yaml"))


def test_a_checkpoint_says_it_itself(dense_run, student, tmp_path):
    done = run("export", "--checkpoint", dense_run, "--format", "wan", "--out", tmp_path / "x", "--config", student[1])
    one_line_error(done, "a checkpoint says itself", "--config")


def test_the_yaml_of_a_latent_stage_serves_a_dense_student(dense_run, tmp_path):
    """As the help has it: of the sizes only those that a dense model has count."""
    export(dense_run, "wan", tmp_path / "a")
    (tmp_path / "a" / "export_manifest.json").unlink()  # as another program's folder
    yaml = REPOSITORY / "configs" / "tiny" / "dmd.yaml"
    export(tmp_path / "a", "lightx2v", tmp_path / "b", "--config", yaml, "--set", "model.attention=dense")
    ar = json.loads((tmp_path / "b" / "lightx2v.json").read_text())["ar_config"]
    assert (ar["local_attn_size"], ar["sink_size"], len(ar["denoising_step_list"])) == (7, 1, 4)


def test_an_export_remembers_its_checkpoint(dense_run, tmp_path):
    export(dense_run, "wan", tmp_path / "a")
    export(tmp_path / "a", "diffusers", tmp_path / "b")
    first, second = (manifest_of(tmp_path / name) for name in "ab")
    assert {k: second["source"][k] for k in ("step", "stage", "role")} == {k: first["source"][k] for k in ("step", "stage", "role")}
    assert second["sampling"] == first["sampling"] and second["sampling"]["causal"] is False
    assert second["engines"] and second["model"] == first["model"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(format="other"), "no manifest of vmla export"),
        (lambda m: m["sampling"].update(sampler="magic"), "sampler: few_step, unipc or euler"),
        (lambda m: m["sampling"].update(denoising_step_list=[2000]), "denoising_step_list"),
        (lambda m: m["sampling"].update(timestep_shift=-1), "timestep_shift"),
        (lambda m: m["sampling"].update(causal=1), "causal"),
        (lambda m: m["model"].update(local_attn_size="x"), "local_attn_size"),
        (lambda m: m["files"].update({"model.pt": m["files"].pop("model.pt")}) or m.update(gone=1), None),
    ],
)
def test_damaged_manifests_are_named(change, words, student, tmp_path):
    export(student[0], "pt", tmp_path / "a", "--config", student[1])
    manifest = manifest_of(tmp_path / "a")
    change(manifest)
    (tmp_path / "a" / "export_manifest.json").write_text(json.dumps(manifest))
    done = run("export", "--checkpoint", tmp_path / "a", "--format", "wan", "--out", tmp_path / "b")
    if words is None:
        assert done.returncode == 0
        (tmp_path / "a" / "model.pt").unlink()
        done = run("export", "--checkpoint", tmp_path / "a", "--format", "wan", "--out", tmp_path / "c")
        words = "'model.pt' is missing"
    one_line_error(done, words)


def test_a_name_in_a_manifest_leads_nowhere_else(student, tmp_path):
    """Only a file of the folder itself is taken."""
    export(student[0], "pt", tmp_path / "a", "--config", student[1])
    manifest = manifest_of(tmp_path / "a")
    manifest["files"] = {"../model.pt": manifest["files"]["model.pt"]}
    (tmp_path / "a" / "model.pt").rename(tmp_path / "model.pt")
    (tmp_path / "a" / "export_manifest.json").write_text(json.dumps(manifest))
    done = run("export", "--checkpoint", tmp_path / "a", "--format", "wan", "--out", tmp_path / "b")
    one_line_error(done, "no weights found")


def test_bare_files_are_exported(wan, tmp_path):
    save_file(wan[1], tmp_path / "model.safetensors")
    heads = ("--set", f"model.num_heads={DENSE.num_heads}")
    export(tmp_path / "model.safetensors", "diffusers", tmp_path / "x", *heads)
    assert verify(tmp_path / "x").returncode == 0
