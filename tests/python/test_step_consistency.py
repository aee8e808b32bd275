"""`vmla step` of consistency distillation against plain PyTorch: loss, latents on the way, every gradient's norm."""

import pytest

from parity import double
from reference import consistency
from step_case import (
    BARE,
    DENSE,
    FP32,
    FP64,
    LATENT,
    SHIFT,
    Draws,
    case_name,
    cd_inputs,
    check,
    exact,
    role,
    step,
    windowed,
)

CD = [
    (LATENT, "frame-wise", {}, [0, 46], FP64),
    (LATENT, "frame-wise, evicting, with a sink", {"guidance_scale": 1.0}, [12, 13], FP64),
    (LATENT, "chunk-wise, evicting, with a sink", {}, [23, 40], FP64),
    (BARE, "evicting without a sink", {"discrete_cd_n": 24, "guidance_scale": 6.0}, [0, 22], FP64),
    (LATENT, "chunk-wise", {"include_endpoint": True}, [47, 7], FP64),
    (LATENT, "frame-wise", {"include_endpoint": True}, [47, 47], FP64),
    (DENSE, "chunk-wise", {}, [3, 31], FP64),
    (LATENT, "chunk-wise, evicting, with a sink", {}, [0, 45], FP32),
]


@pytest.mark.parametrize("config, window, settings, index, precision", CD, ids=case_name)
def test_consistency_distillation(config, window, settings, index, precision, tmp_path):
    config, frames = windowed(config, window)
    names = ("generator", "teacher", "target_ema")
    roles = {name: role(config, 5 + i, precision) for i, name in enumerate(names)}
    inputs = cd_inputs(Draws(8, frames, precision), index)
    written = step(tmp_path, precision, "consistency_distillation", roles, settings, inputs)
    expected, trained = consistency.consistency_distillation(
        *(exact(roles[name]) for name in names),
        double(inputs),
        shift=SHIFT,
        points=settings.get("discrete_cd_n", 48),
        guidance=settings.get("guidance_scale", 3.0),
    )
    check(written, expected, trained, precision)


def test_the_target_starts_as_the_generator(tmp_path):
    """Without weights of its own, target_ema is a copy."""
    config, frames = windowed(LATENT, "chunk-wise")
    student, teacher = role(config, 5), role(config, 6)
    inputs = cd_inputs(Draws(9, frames), [5, 44])
    written = step(
        tmp_path, FP64, "consistency_distillation", {"generator": student, "teacher": teacher}, {}, inputs
    )
    expected, trained = consistency.consistency_distillation(
        exact(student), exact(teacher), exact(student), double(inputs), shift=SHIFT
    )
    check(written, expected, trained, FP64)


def test_a_constant_field_is_consistent(tmp_path):
    """Three networks with one constant flow: no loss, whatever the index."""
    config, frames = windowed(LATENT, "chunk-wise, evicting, with a sink")
    roles = {name: role(config, 10 + i) for i, name in enumerate(("generator", "teacher", "target_ema"))}
    for r in roles.values():
        r.weights["head.head.weight"].zero_()
        r.weights["head.head.bias"].copy_(roles["generator"].weights["head.head.bias"])
    inputs = cd_inputs(Draws(11, frames, batch=5), [0, 1, 24, 46, 47])
    settings = {"include_endpoint": True}
    written = step(tmp_path, FP64, "consistency_distillation", roles, settings, inputs)
    # f = x_t - sigma v on both sides: the difference is rounding of numbers of order 1
    assert 0 <= float(written["loss"]) <= 1e-28
    assert float(written["grad_norm"]) <= 1e-12
