"""The Python files of a videomla export: from_pretrained gives the program's network, the pipeline its stream."""

import json
import sys

import pytest
import torch
from safetensors.torch import load_file

from parity import TOLERANCE, deviation, random_inputs
from program import forward, vmla, write_tensors
from test_sample import prompts  # noqa: F401  (a fixture)

MODES = ("bidirectional", "chunk_causal", "teacher_forcing", "cached")
FRAMES = 15  # the window is 7: frames are evicted


@pytest.fixture(scope="module")
def export(latent_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "videomla"
    vmla("export", "--checkpoint", latent_run, "--format", "videomla", "--out", folder, "--dtype", "fp32", "--weights", "raw")
    return folder


@pytest.fixture(scope="module")
def modules(export):
    """The files as the model card says to import them."""
    sys.path.insert(0, str(export))
    try:
        import modeling_videomla
        import pipeline_videomla
    finally:
        sys.path.remove(str(export))
    return modeling_videomla, pipeline_videomla


@pytest.fixture(scope="module")
def model(export, modules):
    return modules[0].CausalWanMLATransformer3DModel.from_pretrained(export).eval()


def inputs_for(config, frames):
    return random_inputs(config, batch=2, frames=frames, height=6, width=10, text_rows=5, seed=21)


@pytest.mark.parametrize("mode", MODES)
def test_from_pretrained_is_our_forward(mode, export, model, tmp_path):
    inputs = inputs_for(model.config, 12)
    with torch.no_grad():
        theirs = model(inputs["latents"], inputs["timesteps"], inputs["text"], mode, inputs["clean_latents"])
    assert deviation(theirs, forward(export, inputs, mode, tmp_path)) <= TOLERANCE


def test_any_tensor_moves_the_output(export, model, tmp_path):
    inputs = inputs_for(model.config, 6)
    args = (inputs["latents"], inputs["timesteps"], inputs["text"])
    with torch.no_grad():
        before = model(*args)
        for name, parameter in model.named_parameters():
            kept = parameter.clone()
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            assert not torch.equal(model(*args), before), name
            parameter.copy_(kept)


@pytest.mark.parametrize("flags, options", [
    (("--sampler", "few_step", "--denoising-steps", "1000,500"), {"sampler": "few_step", "denoising_step_list": [1000, 500]}),
    (("--sampler", "few_step", "--denoising-steps", "750", "--first-chunk-denoising-steps", "1000,500"),
     {"sampler": "few_step", "denoising_step_list": [750], "first_chunk_denoising_step_list": [1000, 500]}),
    (("--sampler", "euler", "--steps", "3", "--guidance", "2"), {"sampler": "euler", "steps": 3, "guidance_scale": 2.0}),
    (("--sampler", "unipc", "--steps", "1"), {"sampler": "unipc", "steps": 1}),
    (("--sampler", "unipc", "--steps", "5", "--guidance", "2"), {"sampler": "unipc", "steps": 5, "guidance_scale": 2.0}),
])  # fmt: skip
def test_the_pipeline_streams_as_the_program(flags, options, latent_run, export, modules, prompts, tmp_path):  # noqa: F811
    g = torch.Generator().manual_seed(31)
    noise, renoise = torch.randn(FRAMES, 12, 8, 8, generator=g), torch.randn(1, FRAMES, 12, 8, 8, generator=g)
    given = write_tensors(tmp_path / "noise.safetensors", {"noise": noise, "renoise": renoise})
    (text, embedding), empty = prompts[0][0], prompts[1]
    vmla("sample", "--checkpoint", latent_run, "--weights", "raw", "--prompt", text, "--frames", FRAMES, "--out",
         tmp_path / "v", "--noise", given, "--save-latents", *flags)  # fmt: skip
    ours = load_file(tmp_path / "v" / "000.safetensors")["latents"][None]
    pipeline = modules[1].VideoMLAPipeline.from_folder(export)
    chunks = list(pipeline.stream(embedding[None], FRAMES, negative_text=empty[None], noise=noise[None],
                                  renoise=renoise[:, None], **options))  # fmt: skip
    assert len(chunks) == 5
    # As in test_sample.py: a step multiplies the network's fp32 error by at most a few, guidance doubles it.
    assert deviation(torch.cat(chunks, 1), ours) <= 5e-4


def test_a_bidirectional_model_makes_all_frames_at_once(dense_run, modules, prompts, tmp_path):  # noqa: F811
    vmla("export", "--checkpoint", dense_run, "--format", "videomla", "--out", tmp_path / "x", "--dtype", "fp32", "--weights", "raw")
    stated = json.loads((tmp_path / "x" / "sampling.json").read_text())
    assert stated["causal"] is False
    noise = torch.randn(6, 12, 8, 8, generator=torch.Generator().manual_seed(33))
    given = write_tensors(tmp_path / "noise.safetensors", {"noise": noise})
    (text, embedding), empty = prompts[0][0], prompts[1]
    vmla("sample", "--checkpoint", dense_run, "--weights", "raw", "--prompt", text, "--frames", 6, "--out",
         tmp_path / "v", "--noise", given, "--save-latents", "--steps", 4, "--guidance", 2)  # fmt: skip
    ours = load_file(tmp_path / "v" / "000.safetensors")["latents"][None]
    pipeline = modules[1].VideoMLAPipeline.from_folder(tmp_path / "x")
    chunks = list(pipeline.stream(embedding[None], 6, negative_text=empty[None], noise=noise[None], steps=4, guidance_scale=2.0))
    assert len(chunks) == 1
    assert deviation(chunks[0], ours) <= 5e-4


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
def test_unipc_is_diffusers_scheduler(steps, modules):
    """On a velocity that changes much from step to step: that of a small network hardly does, and hides a wrong order."""
    from diffusers import UniPCMultistepScheduler

    g = torch.Generator().manual_seed(8)
    start, weight = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((2, 3, 4, 6, 6), (6, 6)))

    def velocity(x, sigma):
        return torch.tanh(x @ weight) * (1 + sigma) + 0.3 * x

    sigmas = [modules[1].shifted(0.999 * (1 - i / steps), 5.0) for i in range(steps)]
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0)
    scheduler.set_timesteps(steps)
    assert torch.allclose(scheduler.sigmas.double()[:-1], torch.tensor(sigmas).double(), atol=1e-6)
    scheduler.sigmas = torch.tensor([*sigmas, 0.0], dtype=torch.float64)  # its own are rounded to fp32
    x = start
    for i, t in enumerate(scheduler.timesteps):
        x = scheduler.step(velocity(x, sigmas[i]), t, x, return_dict=False)[0]
    assert deviation(modules[1].unipc(sigmas, start, velocity), x) <= 1e-12


def test_the_cache_does_not_grow(model):
    cache = sys.modules["modeling_videomla"].LatentCache()
    x, text = torch.randn(1, 3, model.config.in_dim, 4, 4), torch.randn(1, 2, model.config.text_dim)
    sizes = []
    for chunk in model.chunks(21):
        with torch.no_grad():
            model.keep_chunk(x, torch.zeros(1, 3), text, chunk, cache)
        sizes.append(len(cache.frames))
    assert max(sizes) == sizes[-1] == model.config.local_attn_size - model.config.num_frame_per_block
    latent, key = cache.layers[0]
    assert latent.shape[-1] == model.config.kv_lora_rank and key.shape[-1] == model.config.qk_rope_head_dim


def test_sampling_and_origin_are_stated(export):
    stated = json.loads((export / "sampling.json").read_text())
    assert stated["causal"] and stated["timestep_shift"] == 5.0
    assert json.loads((export / "config.json").read_text())["init_method"] == "svd_weight"
    assert "sampling.json" in json.loads((export / "export_manifest.json").read_text())["files"]


def test_the_origin_survives_later_stages(latent_run, dataset, tmp_path):
    """A stage that starts from latent weights still says how they were initialised, in its rank log and its export."""
    import h5py

    from tiny_stage import train

    settings = {"init__method": "", "train__steps": 2, "checkpoint__every": 2, "rank__every": 1}
    later = train("teacher_forcing", tmp_path / "later", dataset, latent_run, **settings)
    with h5py.File(later / "rank.h5") as file:
        assert file.attrs["init"] in ("svd_weight", b"svd_weight")
    again = train("teacher_forcing", tmp_path / "again", dataset, later, **settings)
    vmla("export", "--checkpoint", again, "--format", "videomla", "--out", tmp_path / "x")
    assert json.loads((tmp_path / "x" / "config.json").read_text())["init_method"] == "svd_weight"
    manifest = json.loads((tmp_path / "x" / "export_manifest.json").read_text())
    assert manifest["source"]["init_method"] == "svd_weight"
