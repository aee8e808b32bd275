"""Every file under configs/ can be planned on a machine that has neither its weights nor its data."""

import subprocess

import pytest
import yaml

from program import ENVIRONMENT, REPOSITORY, VMLA

FILES = sorted((REPOSITORY / "configs").rglob("*.yaml"))
COMMANDS = {"stage": "train", "stages": "pipeline", "base": "sweep"}
# A line of each command's plan.
PLANS = {"train": "plan of stage", "pipeline": "plan of stage", "sweep": "stages instead of"}


def command_of(file):
    keys = yaml.safe_load(file.read_text())
    return next((command for key, command in COMMANDS.items() if key in keys), None)


@pytest.mark.parametrize("file", [f for f in FILES if command_of(f)], ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_dry_run(file, tmp_path):
    arguments = [VMLA, command_of(file), "--config", file, "--dry-run"]
    done = subprocess.run(arguments, capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert PLANS[command_of(file)] in done.stdout + done.stderr
    assert not list(tmp_path.iterdir()), "a plan writes nothing"
