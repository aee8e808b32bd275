"""Steps of the distillation stages in Python: consistency distillation, or cycles of self-forcing DMD.

    python bench/peers/distillation_step.py SPEC.json [--threads 1] [--exact-cuts] [--compile] [--check FILE]

SPEC.json is written by bench/compare_distillation.py: shapes, weights, data and settings, read from the same yaml as
the program's. Prints one JSON object. A unit is one step of consistency distillation, or one cycle of DMD: an update of
the generator and `ratio` updates of the fake score. It does what the program's step does: draws, rollout, losses,
backward, gradient norm and clipping, AdamW, moving average.

With --check it prints the losses of the first step on the given draws instead.
"""

from __future__ import annotations

import json
import statistics

from steady_state import arguments, measured


def main() -> None:
    args = arguments(__doc__)
    import torch
    from safetensors.torch import load_file

    from attention_plan import PeerConfig
    from distillation import Consistency, Dmd
    from exit_draws import exit_index
    from video_dit import VideoDit

    spec = args.spec
    data = load_file(spec["data"])

    def network(role: str) -> VideoDit:
        fields = spec["networks"][role]
        config = PeerConfig.of(fields["shape"], exact_cuts=args.exact_cuts, complex_rope=not args.compile)
        model = VideoDit(config, "teacher_forcing" if config.attention == "mla" else "bidirectional")
        model.load_state_dict(load_file(fields["weights"]))
        if args.compile:
            model.compile_fixed()
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
        if args.compile:
            method.rollout.compile_fixed()
        average = network("generator") if spec["ema"] else None
        players = {
            "generator": Player(generator, spec["lr"], spec["betas"], average, spec["ema"]),
            "fake_score": Player(fake, spec["lr_fake"], spec["betas_fake"], None, 0),
        }

        def draws(exit_step: int) -> dict:
            return {
                "rollout_noise": torch.randn(shape),
                "renoise": lambda k, frames: torch.randn(batch, frames.stop - frames.start, *shape[2:]),
                "noise": torch.randn(shape),
                "tau": torch.randint(1000, (batch,)),
                "exit_index": exit_step,
            }

        def prepare() -> None:
            """Both losses with every exit step, of which the warm-up may not draw all: each has graphs of its own."""
            for exit_step in range(len(spec["steps"])):
                method.generator_loss(draws(exit_step), text_all[samples()], negative).backward()
                method.fake_loss(draws(exit_step), text_all[samples()]).backward()
            for player in players.values():
                player.optimizer.zero_grad(set_to_none=True)

        def exit_of(role: str, step: int) -> int:
            return exit_index(role, step, len(spec["steps"]))

        def unit(cycle: int) -> dict[str, float]:
            losses, first = {}, cycle * spec["ratio"]
            loss = method.generator_loss(draws(exit_of("generator", first)), text_all[samples()], negative)
            losses["generator"] = players["generator"].update(loss)
            for step in range(first, first + spec["ratio"]):
                loss = method.fake_loss(draws(exit_of("fake_score", step)), text_all[samples()])
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
    if args.compile and spec["objective"] == "dmd":
        prepare()
    losses, times = measured(unit, args.warmup, args.units)
    print(json.dumps(times | {"loss": {role: statistics.mean(step[role] for step in losses) for role in losses[0]}}))


if __name__ == "__main__":
    main()
