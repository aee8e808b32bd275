"""Stage 2: regression of ODE endpoints and consistency distillation on given draws (docs/algorithms.md 9.4 and 9.5)."""

from __future__ import annotations

import torch

from . import network, schedule
from .roles import Role, frames_of, guided

Tensors = dict[str, torch.Tensor]


def ode_regression(generator: Role, inputs: Tensors, context: str = "teacher_forcing") -> tuple[Tensors, Role]:
    """mean (x0 predicted from the ODE's state at t - the ODE's endpoint)²; `grad.latents` is its gradient by the state."""
    role = generator.trained()
    state = inputs["state"].detach().clone().requires_grad_()
    t = frames_of(inputs["timesteps"], state)
    if context == "teacher_forcing":
        flow = role.causal(state, t, inputs["text"], inputs["clean_latents"])
    else:
        flow = network.chunk_causal(role.weights, role.config, state, t, inputs["text"])
    loss = (schedule.clean_from_flow(state, flow, t) - inputs["ode_target"]).square().mean()
    loss.backward()
    return {"loss": loss.detach(), "grad.latents": state.grad}, role


def consistency_distillation(
    generator: Role, teacher: Role, target_ema: Role, inputs: Tensors, *, shift, points=48, guidance=3.0
) -> tuple[Tensors, Role]:
    """One Euler step of the guided teacher from t_i to t_{i+1}; the student at t_i regresses the target network there.

    At the last index t' is 0, where f(x, 0) = x: the target is the teacher's endpoint itself.
    """
    grid = schedule.time_grid(points, shift)
    x0, text = inputs["clean_latents"], inputs["text"]
    t, t_next = (grid[inputs["index"].long() + i].to(x0.dtype) for i in (0, 1))
    xt = schedule.add_noise(x0, inputs["noise"], t)
    with torch.no_grad():
        flow = guided(
            teacher.causal(xt, t, text, x0), teacher.causal(xt, t, inputs["negative_text"], x0), guidance
        )
        x_next = xt - schedule.per_frame(t - t_next) * flow
        target = schedule.clean_from_flow(x_next, target_ema.causal(x_next, t_next, text, x0), t_next)
    role = generator.trained()
    prediction = schedule.clean_from_flow(xt, role.causal(xt, t, text, x0), t)
    prediction.retain_grad()
    loss = (prediction - target).square().mean()
    loss.backward()
    out = {"loss": loss, "x_next": x_next, "target": target, "prediction": prediction}
    return {n: x.detach() for n, x in out.items()} | {"grad.prediction": prediction.grad}, role
