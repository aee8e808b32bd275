"""What `vmla analyze memory` proposes where a step does not fit: the cheapest settings that suffice, and none to spare."""

import re

import pytest
from program import REPOSITORY, vmla

PLAN = ["analyze", "memory", "--config", REPOSITORY / "configs" / "tiny" / "teacher_forcing.yaml"]
PLAN += ["--set", "train.device=cuda", "--set", "train.micro_batch_size=4", "--set", "train.recompute=none"]
# In the order of what they cost in time.
COSTS = [
    "train.micro_batch_size=1",
    "train.recompute=selective",
    "train.recompute=block",
    "distributed.offload=[optimizer]",
    "distributed.offload=[optimizer, activations]",
]


def planned(gigabytes, settings=()):
    """The line that says whether it fits, and what is proposed."""
    flags = [word for setting in settings for word in ("--set", setting)]
    told = vmla(*PLAN, "--gpu-memory", gigabytes, *flags).stdout
    (line,) = re.findall(r"^.*\bfits\b.*$", told, re.MULTILINE)
    return line, re.findall(r"^  --set (.+)$", told, re.MULTILINE)


def peak(gigabytes, settings=()):
    """Of the step as it is set, in MB, where it fits."""
    line, proposed = planned(gigabytes, settings)
    assert not proposed, line
    return float(re.search(r": ([\d.]+) MB of", line)[1])


@pytest.fixture(scope="module")
def proposals():
    """By the memory of the GPU in GB, from where the step fits down to where one GPU is too small."""
    sizes = [0.03, 0.024, 0.014, 0.009, 0.007, 0.005, 0.003]
    return {size: planned(size) for size in sizes}


def test_a_step_that_fits_is_left_alone(proposals):
    line, settings = proposals[0.03]
    assert line.startswith("fits on 1 GPU") and settings == []


def test_the_cheapest_that_suffice_are_proposed(proposals):
    alone = {size: settings for size, (line, settings) in proposals.items() if " of them" not in line}
    assert len(alone) >= 5
    dearest = [max((COSTS.index(setting) for setting in settings), default=-1) for settings in alone.values()]
    assert dearest == sorted(dearest)
    assert len(set(dearest)) >= 3


def test_what_is_proposed_fits_and_nothing_of_it_can_be_left_out(proposals):
    for size, (line, settings) in proposals.items():
        if not settings or " of them" in line:
            continue
        assert peak(size, settings) <= 900 * size, size
        for left_out in settings:
            rest = [setting for setting in settings if setting != left_out]
            assert planned(size, rest)[0].startswith("does not fit"), (size, left_out)


def test_more_gpus_come_last(proposals):
    line, settings = proposals[0.003]
    ranks = int(re.search(r"fits on (\d+) of them", line)[1])
    assert ranks > 1
    assert any(setting.startswith("distributed.") for setting in settings)
