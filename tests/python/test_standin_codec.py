"""A codec with weights inside a step: DMD's rollouts that are longer than a clip, on the stand-in accelerator."""

import h5py
import pytest
from distilled_stage import settings as distilled
from program import VMLA, vmla
from standin import PROGRAM, largest_difference, memory_ratio, run_standin, succeeded, train_on_standin
from test_standin import LOSSES, NORMS, check_waits, symbols
from tiny_stage import train
from wan_vae import ON_LATENTS, random_vae, write_original


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Clips of nine latent frames, the VAE that encoded them, and a dense and a latent model of them."""
    folder = tmp_path_factory.mktemp("codec")
    weights = write_original(random_vae(base_dim=4), folder / "vae.safetensors")
    vmla("data", "synth", "--out", folder / "videos", "--count", 8, "--frames", 33)
    size = ["--frames", 33, "--height", 32, "--width", 32, "--codec", "wan-vae", "--codec-weights", weights]
    vmla("data", "encode", "--videos", folder / "videos", "--out", folder / "clips.h5", *size)
    few = ON_LATENTS | {"train__steps": 2}
    dense = train("pretrain", folder / "dense", folder / "clips.h5", **few)
    latent = train("teacher_forcing", folder / "latent", folder / "clips.h5", dense, **few)
    return folder / "clips.h5", weights, dense, latent


def test_front_frames_are_made_on_the_device(place, tmp_path):
    data, weights, dense, latent = place
    longer = {"objective__dmd__min_rollout_frames": 18, "objective__dmd__max_rollout_frames": 18}
    more = ON_LATENTS | longer | {"train__steps": 3, "checkpoint__every": 0, "data__codec_weights": str(weights)}
    settings = distilled("dmd", dense, **more)
    alone = train("dmd", tmp_path / "cpu", data, latent, **settings)
    standin = train_on_standin("dmd", tmp_path / "standin", data, latent, trace=tmp_path / "trace", **settings)
    check_waits("dmd, front frames by a VAE", tmp_path, (2,))
    assert largest_difference(alone, standin, "loss") < LOSSES
    assert largest_difference(alone, standin, "grad_norm") < NORMS
    # The device rounds each tensor up to 512 bytes, and this VAE has two hundred tensors of less.
    assert 0.99 <= memory_ratio(standin) <= 1.005, "the codec's part of a step is not what the plan says"


def test_a_video_is_decoded_beside_its_next_chunk(place, tmp_path):
    """In a stream and on a thread of its own, which the stand-in checks: each chunk comes once, whole and in order."""
    _, weights, _, latent = place

    def sample(program, device):
        folder = tmp_path / device
        command = [program, "sample", "--checkpoint", latent, "--prompt", "a red circle moves left", "--frames", 57]
        command += ["--sampler", "euler", "--steps", 2, "--device", device, "--decoder-weights", weights, "--out", folder]
        succeeded(run_standin(command, trace=tmp_path / f"trace_{device}"))
        pixels = ["--frames", 57, "--height", 32, "--width", 32, "--codec", "space_to_depth:1"]
        vmla("data", "encode", "--videos", folder, "--out", tmp_path / f"{device}.h5", *pixels)
        with h5py.File(tmp_path / f"{device}.h5") as file:
            (found,) = file["latents"][:]
        return (found.astype("uint32") << 16).view("float32")

    here, there = sample(VMLA, "cpu"), sample(PROGRAM, "cuda")
    assert abs(here - there).max() < 0.1  # two compressions of pictures that differ by less than a step of eight bits
    assert all(abs(here[i] - here[i - 1]).max() > 0.2 for i in range(4, 57, 4))
    (trace,) = tmp_path.glob("trace_cuda.*")
    lines = [line.split()[5:] for line in trace.read_text().splitlines()]
    chains = [[symbols().name(int(frame, 16)) for frame in frames] for frames in lines]
    decoding = [chain for chain in chains if "model::decode_frame" in chain]
    assert decoding and not any("main" in chain for chain in decoding), "the thread that samples has decoded"
