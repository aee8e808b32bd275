"""The Python peers of the benchmarks compute what the reference computes: a comparison with anything else is worthless."""

import pytest
import torch

from parity import TOLERANCE, deviation, double, random_inputs
from program import REPOSITORY
from reference import network
from reference.model_config import ModelConfig
from reference.weights import random_weights, to_double

import sys  # isort: skip

sys.path.insert(0, str(REPOSITORY / "bench" / "peers"))
from video_dit import PeerConfig, VideoDit  # noqa: E402


def reference_config(peer: PeerConfig) -> ModelConfig:
    fields = {n: getattr(peer, n) for n in ModelConfig.__dataclass_fields__ if hasattr(peer, n)}
    return ModelConfig(**fields, out_dim=peer.in_dim)


@pytest.mark.parametrize("attention", ["dense", "mla"])
@pytest.mark.parametrize("mode", ["bidirectional", "teacher_forcing", "teacher_forcing with exact cuts"])
@pytest.mark.parametrize("complex_rope", [True, False], ids=["complex", "real"])
def test_peer_equals_reference(attention, mode, complex_rope):
    peer = PeerConfig(attention=attention, complex_rope=complex_rope, exact_cuts=mode.endswith("cuts"))
    mode = mode.split()[0]
    config = reference_config(peer)
    weights = random_weights(config, seed=41)
    inputs = random_inputs(
        config,
        batch=2,
        frames=peer.frames,
        height=peer.height,
        width=peer.width,
        text_rows=peer.text_len,
        uniform=mode == "bidirectional",
        seed=42,
    )
    model = VideoDit(peer, mode)
    model.load_state_dict(weights, strict=True)
    times = inputs["timesteps"]
    with torch.no_grad():
        if mode == "bidirectional":
            actual = model(inputs["latents"], times[:, 0], inputs["text"])
        else:
            actual = model(inputs["latents"], times, inputs["text"], inputs["clean_latents"])
    expected = network.forward(mode, to_double(weights), config, double(inputs))
    assert deviation(actual, expected) <= TOLERANCE
