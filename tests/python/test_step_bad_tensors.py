"""Bad tensors and scores given to `vmla step` of a distillation stage: one line that names them, nothing written."""

import pytest
import torch

from program import one_line_error, run
from step_case import FP64, LATENT, WIDE, Draws, cd_inputs, dmd_inputs, dmd_roles, role, step_arguments, windowed

BAD_CD = {
    "index without the endpoint": ("index", torch.tensor([3, 47]), "0..46"),
    "index of another batch": ("index", torch.tensor([3, 4, 5]), "[2]"),
    "noise of other frames": ("noise", torch.zeros(2, 4, 4, 4, 6), "[2, 10, 4, 4, 6]"),
    "no negative text": ("negative_text", None, "negative_text"),
}
BAD_DMD = {
    "exit beyond the list": ("exit_index", torch.tensor(4), "4 steps"),
    "too few draws": ("renoise", torch.zeros(1, 2, 10, 4, 4, 6), "1 draws"),
    "rising steps": ("denoising_steps", torch.tensor([500.0, 600.0, 1000.0]), "decrease"),
    "tau of another batch": ("tau", torch.tensor([1, 2, 3]), "[2]"),
    "a clip longer than the rollout": ("noise", torch.zeros(2, 12, 4, 4, 6), "12 frames"),
    "latents of another codec": ("noise", torch.zeros(2, 10, 3, 4, 6), "4, 4, 6]"),
}


@pytest.mark.parametrize("case", [*BAD_CD, *BAD_DMD])
def test_bad_tensors(case, tmp_path):
    """One line that names the tensor and what it must be, and nothing written."""
    config, frames = windowed(LATENT, "chunk-wise, evicting, with a sink")
    if case in BAD_CD:
        objective, roles = "consistency_distillation", {n: role(config, 1) for n in ("generator", "teacher")}
        inputs = cd_inputs(Draws(2, frames), [3, 4])
    else:
        objective, roles, inputs = "dmd", dmd_roles(config), dmd_inputs(Draws(2, frames), 4, 2)
    name, tensor, mention = (BAD_CD | BAD_DMD)[case]
    inputs = {n: t for n, t in inputs.items() if n != name} | ({} if tensor is None else {name: tensor})
    arguments = step_arguments(tmp_path, FP64, objective, roles, {}, inputs)
    one_line_error(run(*arguments), name, mention)
    assert not (tmp_path / "out.safetensors").exists()


def test_bad_scores(tmp_path):
    """A score may be of any size, but must see the student's latents and texts."""
    config, frames = windowed(LATENT, "chunk-wise")
    for field, value in {"in_dim": 8, "text_dim": 20}.items():
        changes = {field: value} | ({"out_dim": value} if field == "in_dim" else {})
        roles = dmd_roles(config) | {"real_score": role(WIDE.replace(**changes), 1)}
        folder = tmp_path / field
        folder.mkdir()
        done = run(*step_arguments(folder, FP64, "dmd", roles, {}, dmd_inputs(Draws(2, frames), 4, 0)))
        one_line_error(done, "init_from.real_score", field, value)
