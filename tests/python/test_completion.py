"""What zsh offers for a command line of `vmla`, typed at a prompt of its own."""

import re
import shutil
import subprocess

import pytest
from program import ENVIRONMENT, vmla

# An interactive zsh in a pseudo terminal (zsh/zpty); the keys are typed, Tab is pressed, and what the terminal shows
# comes back. LISTMAX and the widths keep zsh from asking whether to show a long list.
DRIVER = r"""
zmodload zsh/zpty
zpty shell 'TERM=dumb COLUMNS=200 LINES=500 zsh -f -i'
zpty -w shell "PS1=READY; PS2=; unsetopt zle_bracketed_paste prompt_cr prompt_sp beep; LISTMAX=0"
zpty -w shell "fpath=($FOLDER \$fpath); autoload -Uz compinit; compinit -u -d $FOLDER/dump; cd $FOLDER; print -r -- SET''UP"
zpty -r shell shown '*SETUP*'
zpty -w -n shell "$TYPED"$'\t\t'
sleep 1
while zpty -r -t shell shown; do print -rn -- "$shown"; done
zpty -d shell
"""


@pytest.fixture(scope="module")
def completions(tmp_path_factory):
    """The script where an installation has it: in a folder of the fpath."""
    folder = tmp_path_factory.mktemp("zsh")
    (folder / "_vmla").write_text(vmla("completion", "zsh").stdout)
    (folder / "stage.yaml").touch()
    return folder


def shown(completions, typed):
    done = subprocess.run(["zsh", "-f", "-c", DRIVER], env=ENVIRONMENT | {"FOLDER": str(completions), "TYPED": typed},
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"[\w./=-]+", done.stdout.replace(typed, "", 1)))


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize(
    "typed, offered, kept_back",
    [
        ("vmla ", {"train", "data", "pipeline", "compare"}, {"--config", "encode"}),
        ("vmla data ", {"encode", "inspect", "synth"}, {"train"}),
        ("vmla train --", {"--config", "--run-dir", "--resume", "--dry-run"}, {"--videos"}),
        ("vmla data encode --", {"--videos", "--out"}, {"--run-dir"}),
        ("vmla train --config sta", {"stage.yaml"}, set()),
    ],
)
def test_zsh_offers(completions, typed, offered, kept_back):
    found = shown(completions, typed)
    assert offered <= found, found
    assert not kept_back & found
