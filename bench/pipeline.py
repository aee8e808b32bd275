"""The tiny pipeline: what its stages and its samples take, in the program and in Python, interleaved in one run.

    .venv/bin/python bench/pipeline.py [--pairs 5] [--threads 1] [--compiled] [--json pipeline.json]

A whole pipeline in Python would be half an hour a pair on this machine, most of it the same step again. So a unit of
each kind is measured on both sides, as bench/compare_steps.py, compare_distillation.py and sampling.py do, and taken as
often as configs/tiny/pipeline.yaml runs it: the steps of every stage, and the chunks of the videos that are measured
after stages 1 to 3, in four steps each. A ratio is of two sums within one pair, of processor time; above 1 the program
is faster.

Not in it: data, validation, ranks, reading videos back and the report, which both sides would do alike; samples in 16
steps, of whole clips, and with the cache zeroed. DMD's rollouts are one clip long on both sides, where the pipeline's
are two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import yaml

import compare_distillation
import compare_steps
from measure import ROOT, Report, spread
from results_page import pipeline_seconds
from sampling import Student
from widened_stages import TINY, Workplace

PIPELINE = ROOT / "configs" / "tiny" / "pipeline.yaml"
OBJECTIVES = {
    "flow_matching": "pretrain",
    "teacher_forcing": "teacher_forcing",
    "consistency_distillation": "cd",
    "dmd": "dmd",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs=1, default=[1])
    parser.add_argument("--compiled", action="store_true", help="also the peers through torch.compile")
    parser.add_argument("--json", type=Path, help="write every measurement here")
    return parser.parse_args()


def units_of_the_pipeline() -> dict[str, int]:
    """How often each unit is run: steps, cycles, and chunks of latent frames."""
    count = dict.fromkeys([*OBJECTIVES.values(), "sampling"], 0)
    for listed in yaml.safe_load(PIPELINE.read_text())["stages"]:
        stage = yaml.safe_load((PIPELINE.parent / listed["config"]).read_text())
        objective = stage["objective"]["name"]
        section = stage["objective"][objective]
        count[OBJECTIVES[objective]] += stage["train"]["steps"] // section.get("dfake_gen_update_ratio", 1)
        if objective == "flow_matching":  # its samples are of whole clips
            continue
        sample, block = stage["sample"], stage["model"]["num_frame_per_block"]
        frames = sample["frames"] * sample["measure_clips"] + sample["long_frames"] * sample["long_clips"]
        count["sampling"] += frames // block
    return count


class Units:
    """What measures a unit of each kind: `sides(name, pair)` gives a row's sides."""

    def __init__(self, place: Workplace, args: argparse.Namespace):
        self.place, self.threads = place, args.threads[0]
        steps = argparse.Namespace(steps=50, compiled=args.compiled, peers=None)
        distillation = argparse.Namespace(units=None, runs=None, compiled=args.compiled, peers=None)
        chunks = argparse.Namespace(frames=240, compiled=args.compiled)
        data = compare_distillation.peer_data(place)
        self.benches = {name: compare_steps.Bench(i, TINY, place, steps) for i, name in compare_steps.STAGES.items()}
        for bench in self.benches.values():
            bench.check()
        for name in compare_distillation.CONFIGS:
            self.benches[name] = compare_distillation.Bench(name, TINY, place, distillation)
            self.benches[name].check(data)
        self.student = Student(place, TINY, chunks)

    def sides(self, name: str, pair: int) -> dict[str, dict]:
        if name == "sampling":
            sides = {"vmla": self.student.ours(self.threads)}
            return sides | {peer: self.student.theirs(peer, self.threads) for peer in self.student.peers}
        bench = self.benches[name]
        sides = {"vmla": bench.ours(self.threads, self.place.folder / f"{name}_{pair}")}
        return sides | {peer: bench.theirs(peer, self.threads) for peer in bench.peers if "cuts" not in peer}


def main() -> None:
    args = arguments()
    count = units_of_the_pipeline()
    with tempfile.TemporaryDirectory() as temporary:
        units = Units(Workplace(Path(temporary)), args)
        report = Report("a step (dmd: a cycle; sampling: a chunk)", args.threads, args.json)
        report.about["units"] = count
        for pair in range(args.pairs):
            for name in count:
                case = {"stage": name, "width": TINY, "threads": args.threads[0], "pair": pair}
                report.add(case | {"sides": units.sides(name, pair)})
        report.finish()
    print(f"units of the pipeline: {json.dumps(count)}")
    sums = pipeline_seconds(report.rows, count)
    for peer in [side for side in sums if side != "vmla"]:
        ours, theirs = (statistics.median(sums[side]) for side in ("vmla", peer))
        ratios = spread([b / a for a, b in zip(sums["vmla"], sums[peer])])
        print(f"the pipeline: vmla {ours:.1f} s, {peer} {theirs:.1f} s of processor time; ratio {ratios}")


if __name__ == "__main__":
    main()
