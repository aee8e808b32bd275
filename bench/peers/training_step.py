"""Training steps of the tiny pipeline in Python: flow matching, or teacher forcing.

    python bench/peers/training_step.py SPEC.json [--threads 1] [--compile] [--exact-cuts] [--check INPUTS.safetensors]

SPEC.json is written by bench/compare_steps.py. Prints one JSON object: times of a step, in milliseconds. A step does
what the program's step does: draws, forward, loss, backward, gradient norm and clipping at 10, AdamW, and a moving
average when asked for.
"""

from __future__ import annotations

import json

from steady_state import arguments, measured


def main() -> None:
    args = arguments(__doc__)
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file

    from attention_plan import PeerConfig
    from video_dit import VideoDit

    spec = args.spec
    config = PeerConfig.of(spec["shape"], complex_rope=not args.compile, exact_cuts=args.exact_cuts)
    forcing = spec["objective"] == "teacher_forcing"
    network = VideoDit(config, "teacher_forcing" if forcing else "bidirectional")
    network.load_state_dict(load_file(spec["weights"]))
    if args.compile:
        network.compile_fixed()
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=spec["lr"], betas=spec["betas"], weight_decay=0.01, fused=True)
    average = [p.detach().clone() for p in parameters] if spec["ema"] else None

    batch, frames = spec["batch"], config.frames
    shape = (batch, frames, config.in_dim, config.height, config.width)
    data = torch.randn(4 * batch, *shape[1:])
    captions = torch.randn(4 * batch, config.text_len, config.text_dim)
    # The 1000 training timesteps after the shift, from noise on, and the weight of each: a bell about t = 500, mean 1.
    table = torch.arange(1000, 0, -1, dtype=torch.float32) / 1000
    table = 1000 * spec["shift"] * table / (1 + (spec["shift"] - 1) * table)
    bell = torch.exp(-2 * ((table - 500) / 1000) ** 2)
    weight_table = (bell - bell.min()) * 1000 / (bell - bell.min()).sum()

    def flow_matching_loss(clean, noise, index, text):
        """index [B] of the timesteps."""
        sigma = (table[index] / 1000).view(-1, 1, 1, 1, 1)
        return F.mse_loss(network(torch.lerp(clean, noise, sigma), table[index], text), noise - clean)

    def teacher_forcing_loss(clean, noise, index, text):
        """index [B, F], the same within a chunk."""
        sigma = (table[index] / 1000).view(batch, frames, 1, 1, 1)
        flow = network(torch.lerp(clean, noise, sigma), table[index], text, clean)
        error = (flow - (noise - clean)).square().mean((2, 3, 4))
        return (weight_table[index] * error).mean()

    def step(i: int) -> float:
        start = (i % 4) * batch
        clean, text, noise = data[start : start + batch], captions[start : start + batch], torch.randn(shape)
        if forcing:
            chunks = frames // config.num_frame_per_block
            index = torch.randint(1000, (batch, chunks)).repeat_interleave(config.num_frame_per_block, 1)
            loss = teacher_forcing_loss(clean, noise, index, text)
        else:
            keep = (torch.rand(batch, 1, 1) >= spec["caption_dropout"]).float()
            loss = flow_matching_loss(clean, noise, torch.randint(1000, (batch,)), text * keep)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if average:
            torch._foreach_lerp_(average, parameters, 1 - spec["ema"])
        return loss.item()

    if args.check:
        given = load_file(args.check)
        index = (table - given["timesteps"].unsqueeze(-1)).abs().argmin(-1)
        loss = teacher_forcing_loss if forcing else flow_matching_loss
        print(json.dumps({"generator": loss(given["clean_latents"], given["noise"], index, given["text"]).item()}))
        return
    _, times = measured(step, args.warmup, args.units)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
