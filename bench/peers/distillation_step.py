"""Steps of the distillation stages in eager Python: consistency distillation, or cycles of self-forcing DMD.

    python bench/peers/distillation_step.py SPEC.json [--threads 1] [--exact-cuts] [--check INPUTS.safetensors]

SPEC.json is written by bench/compare_distillation.py: shapes, weights, data and settings, read from the same yaml as
the program's. Prints one JSON object. A unit is one step of consistency distillation, or one cycle of DMD: an update of
the generator and `ratio` updates of the fake score. It does what the program's step does: draws, rollout, losses,
backward, gradient norm and clipping, AdamW, moving average.

With --check it prints the losses of the first step on the given draws instead.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--units", type=int, default=50)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--exact-cuts", action="store_true")
    parser.add_argument("--check", help="draws, under the names of `vmla step`")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    # Before torch loads: idle OpenMP threads sleep, so that a peer running beside is not slowed by spinning.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    import torch
    from distillation import Consistency, Dmd
    from exit_draws import exit_index
    from safetensors.torch import load_file
    from attention_plan import PeerConfig
    from video_dit import VideoDit

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    spec = json.load(open(args.spec))
    data = load_file(spec["data"])

    def network(role: str) -> VideoDit:
        fields = spec["networks"][role]
        config = PeerConfig.of(fields["shape"], exact_cuts=args.exact_cuts)
        model = VideoDit(config, "teacher_forcing" if config.attention == "mla" else "bidirectional")
        model.load_state_dict(load_file(fields["weights"]))
        return model

    class Player:
        """A trained network with its optimizer, and the averaged copy when it has one."""

        def __init__(self, model: VideoDit, lr: float, betas: list[float], average: VideoDit | None, decay: float):
            self.parameters = list(model.parameters())
            self.optimizer = torch.optim.AdamW(self.parameters, lr=lr, betas=betas, weight_decay=0.01, fused=True)
            self.average = None if average is None else [p.detach() for p in average.parameters()]
            self.decay = decay

        def update(self, loss: torch.Tensor) -> float:
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, 10.0, foreach=True)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            if self.average:
                torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - self.decay)
            return loss.item()

    batch, frames = spec["batch"], spec["networks"]["generator"]["shape"]["frames"]
    text_all, negative = data["text"], data["negative_text"].expand(batch, -1, -1)
    shape = (batch, frames, *data["latents"].shape[2:])

    def samples() -> torch.Tensor:
        return torch.randint(text_all.shape[0], (batch,))

    if spec["objective"] == "cd":
        student, target = network("generator"), network("generator")
        method = Consistency(student, network("generator"), target, spec["guidance"], spec["shift"], spec["points"])
        player = Player(student, spec["lr"], spec["betas"], target, spec["ema"])

        def unit(step: int) -> dict[str, float]:
            chosen = samples()
            index = torch.randint(spec["choices"], (batch,))
            loss = method.loss(data["latents"][chosen], torch.randn(shape), index, text_all[chosen], negative)
            return {"generator": player.update(loss)}

        def check(given: dict) -> dict[str, float]:
            loss = method.loss(
                *(given[n] for n in ("clean_latents", "noise", "index", "text")),
                given["negative_text"].expand(batch, -1, -1),
            )
            return {"generator": loss.item()}

    else:
        generator, fake = network("generator"), network("real_score")
        method = Dmd(generator, network("real_score"), fake, spec["guidance"], spec["shift"], spec["steps"])
        average = network("generator") if spec["ema"] else None
        players = {
            "generator": Player(generator, spec["lr"], spec["betas"], average, spec["ema"]),
            "fake_score": Player(fake, spec["lr_fake"], spec["betas_fake"], None, 0),
        }

        def draws(role: str, step: int) -> dict:
            return {
                "rollout_noise": torch.randn(shape),
                "renoise": lambda k, frames: torch.randn(batch, frames.stop - frames.start, *shape[2:]),
                "noise": torch.randn(shape),
                "tau": torch.randint(1000, (batch,)),
                "exit_index": exit_index(role, step, len(spec["steps"])),
            }

        def unit(cycle: int) -> dict[str, float]:
            losses, first = {}, cycle * spec["ratio"]
            loss = method.generator_loss(draws("generator", first), text_all[samples()], negative)
            losses["generator"] = players["generator"].update(loss)
            for step in range(first, first + spec["ratio"]):
                loss = method.fake_loss(draws("fake_score", step), text_all[samples()])
                losses["fake_score"] = losses.get("fake_score", 0) + players["fake_score"].update(loss) / spec["ratio"]
            return losses

        def check(given: dict) -> dict[str, float]:
            renoise = given["renoise"]
            given |= {"renoise": lambda k, frames: renoise[k][:, frames], "exit_index": int(given["exit_index"])}
            negative = given["negative_text"].expand(batch, -1, -1)
            return {
                "generator": method.generator_loss(given, given["text"], negative).item(),
                "fake_score": method.fake_loss(given, given["text"]).item(),
            }

    if args.check:
        print(json.dumps(check(load_file(args.check))))
        return
    wall_ms, cpu_ms, losses = [], [], []
    for i in range(args.warmup + args.units):
        begin, cpu = time.perf_counter(), time.process_time()
        losses.append(unit(i))
        if i >= args.warmup:
            wall_ms.append(1000 * (time.perf_counter() - begin))
            cpu_ms.append(1000 * (time.process_time() - cpu))
    print(
        json.dumps(
            {
                "threads": args.threads,
                "exact_cuts": args.exact_cuts,
                "torch": torch.__version__,
                "unit_ms": statistics.median(wall_ms),
                "cpu_ms": statistics.mean(cpu_ms),
                "mean_ms": statistics.mean(wall_ms),
                "loss": {role: statistics.mean(step[role] for step in losses) for role in losses[0]},
            }
        )
    )


if __name__ == "__main__":
    main()
