"""One training step of the tiny pipeline in eager Python: stage 0 (flow matching) or stage 1 (teacher forcing).

    python bench/peers/training_step.py --stage 1 --threads 1 [--compile] [--exact-cuts] [--shape shape.json]

Prints one JSON object: the times of every measured step and their median, in milliseconds. A step does what the C++
program's step does: draws, forward, loss, backward, gradient norm and clipping at 10, AdamW, and EMA when asked for.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import time


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", type=int, choices=(0, 1), required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--timestep-shift", type=float, default=5.0)
    parser.add_argument("--ema", type=float, default=0.0, help="decay of an averaged copy; 0 keeps none")
    parser.add_argument("--beta1", type=float, default=0.9)
    parser.add_argument("--caption-dropout", type=float, default=0.1)
    parser.add_argument("--optimizer", choices=("fused", "foreach"), default="fused")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--exact-cuts", action="store_true")
    parser.add_argument("--shape", help="JSON file with fields of PeerConfig")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    # Before torch loads: idle OpenMP threads sleep, so that a peer running beside is not slowed by spinning.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    import torch
    import torch.nn.functional as F

    from attention_plan import PeerConfig
    from video_dit import VideoDit

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    fields = json.load(open(args.shape)) if args.shape else {}
    fields.setdefault("attention", "dense" if args.stage == 0 else "mla")
    config = PeerConfig.of(fields, complex_rope=not args.compile, exact_cuts=args.exact_cuts)
    model = VideoDit(config, "bidirectional" if args.stage == 0 else "teacher_forcing")
    network = torch.compile(model) if args.compile else model
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=1e-3, betas=(args.beta1, 0.999), weight_decay=0.01, **{args.optimizer: True}
    )
    average = [p.detach().clone() for p in parameters] if args.ema else None

    batch, frames = args.batch, config.frames
    shape = (batch, frames, config.in_dim, config.height, config.width)
    data = torch.randn(4 * batch, *shape[1:])
    captions = torch.randn(4 * batch, config.text_len, config.text_dim)
    # The 1000 training timesteps after the shift, from noise on, and the weight of each: a bell about t = 500, mean 1.
    table = torch.arange(1000, 0, -1, dtype=torch.float32) / 1000
    table = 1000 * args.timestep_shift * table / (1 + (args.timestep_shift - 1) * table)
    bell = torch.exp(-2 * ((table - 500) / 1000) ** 2)
    weight_table = (bell - bell.min()) * 1000 / (bell - bell.min()).sum()

    def step(i: int) -> float:
        start = (i % 4) * batch
        clean, text = data[start : start + batch], captions[start : start + batch]
        noise = torch.randn(shape)
        if args.stage == 0:
            index = torch.randint(1000, (batch,))
            times = table[index]
            keep = (torch.rand(batch, 1, 1) >= args.caption_dropout).float()
            sigma = (times / 1000).view(-1, 1, 1, 1, 1)
            flow = network(torch.lerp(clean, noise, sigma), times, text * keep)
            loss = F.mse_loss(flow, noise - clean)
        else:
            chunks = frames // config.num_frame_per_block
            index = torch.randint(1000, (batch, chunks)).repeat_interleave(config.num_frame_per_block, 1)
            times = table[index]
            sigma = (times / 1000).view(batch, frames, 1, 1, 1)
            flow = network(torch.lerp(clean, noise, sigma), times, text, clean)
            error = (flow - (noise - clean)).square().mean((2, 3, 4))
            loss = (weight_table[index] * error).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if average:
            torch._foreach_lerp_(average, parameters, 1 - args.ema)
        return loss.item()

    times_ms = []
    for i in range(args.warmup + args.steps):
        begin = time.perf_counter()
        loss = step(i)
        if i >= args.warmup:
            times_ms.append(1000 * (time.perf_counter() - begin))
    print(
        json.dumps(
            {
                "peer": "compiled" if args.compile else "eager",
                "stage": args.stage,
                "threads": args.threads,
                "exact_cuts": args.exact_cuts,
                "optimizer": args.optimizer,
                "torch": torch.__version__,
                "parameters": sum(p.numel() for p in parameters),
                "loss": loss,
                "step_ms": statistics.median(times_ms),
                "step_ms_all": [round(t, 3) for t in times_ms],
                "config": dataclasses.asdict(config),
            }
        )
    )


if __name__ == "__main__":
    main()
