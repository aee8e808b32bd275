"""Bad configurations and command lines: one line on stderr that names the file or key; status 2; nothing is written."""

import pytest

from program import one_line_error, overrides, run
from tiny_stage import CONFIGS, train_arguments

# settings of configs/tiny/teacher_forcing.yaml that must be refused, and what the message must name
WRONG_SETTINGS = {
    "unknown key": ({"optimizer.learning_rate": 1e-3}, ["optimizer.learning_rate"]),
    "unknown section": ({"optimiser.lr": 1e-3}, ["optimiser"]),
    "wrong type": ({"train.steps": "many"}, ["train.steps", "many"]),
    "a list for a number": ({"train.steps": [1, 2]}, ["train.steps"]),
    "negative": ({"train.steps": -3}, ["train.steps", "-3"]),
    "unknown objective": ({"objective.name": "teacher_force"}, ["objective.name", "teacher_force"]),
    "chunk does not divide the clip": ({"model.num_frame_per_block": 4}, ["num_frame_per_block", "4"]),
    "sink larger than window": ({"model.sink_size": 8}, ["sink_size", "8"]),
    "window leaves no room for a chunk": ({"model.local_attn_size": 3}, ["local_attn_size", "3"]),
    "odd rope dims": ({"model.qk_rope_head_dim": 7}, ["qk_rope_head_dim", "7"]),
    "rank above the width": ({"model.kv_lora_rank": 65}, ["kv_lora_rank", "65"]),
    "heads do not divide the width": ({"model.num_heads": 5}, ["num_heads", "5"]),
    "micro-batch does not divide the batch": ({"train.micro_batch_size": 3}, ["micro_batch_size", "3"]),
    "unknown init": ({"init.method": "svd"}, ["init.method", "svd"]),
    "missing dataset": ({"data.path": "/nowhere/clips.h5"}, ["/nowhere/clips.h5"]),
}


@pytest.mark.parametrize("case", WRONG_SETTINGS)
def test_configuration(case, dataset, dense_run, tmp_path):
    settings, mentions = WRONG_SETTINGS[case]
    # a missing dataset must not be made: the section that says how is taken out of the file
    text = (CONFIGS / "teacher_forcing.yaml").read_text()
    assert "make:" in text
    arguments = train_arguments("teacher_forcing", tmp_path / "run", dataset, dense_run)
    if case == "missing dataset":
        lines, keep, out = text.splitlines(), True, []
        for line in lines:
            indent = len(line) - len(line.lstrip())
            if line.strip().startswith("make:"):
                keep = False
            elif not keep and indent <= 2:
                keep = True
            if keep:
                out.append(line)
        file = tmp_path / "without_make.yaml"
        file.write_text("\n".join(out))
        arguments[arguments.index("--config") + 1] = file
    one_line_error(run(*arguments, *overrides(settings)), *mentions)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_error_in_a_file_names_line_and_file(dataset, dense_run, tmp_path):
    lines = (CONFIGS / "teacher_forcing.yaml").read_text().splitlines()
    line = next(i for i, text in enumerate(lines) if text.startswith("optimizer:")) + 1
    lines.insert(line, "  learning_rate: 1")
    file = tmp_path / "stage.yaml"
    file.write_text("\n".join(lines))
    message = one_line_error(run("train", "--config", file, "--run-dir", tmp_path / "run"), "stage.yaml", "learning_rate")
    assert str(line + 1) in message


@pytest.mark.parametrize("text", ["a: [1", "", "- 1\n- 2\n", "stage: [x]\n"], ids=["broken", "empty", "list", "type"])
def test_unusable_yaml(text, tmp_path):
    file = tmp_path / "stage.yaml"
    file.write_text(text)
    one_line_error(run("train", "--config", file, "--run-dir", tmp_path / "run"), "stage.yaml")


COMMAND_LINES = {
    "no command": [],
    "unknown command": ["trian"],
    "unknown flag": ["train", "--confg", "x"],
    "missing file": ["train", "--config", "/nowhere/stage.yaml"],
    "set without value": ["train", "--config", str(CONFIGS / "pretrain.yaml"), "--set", "train.steps"],
    "two kinds of prompts": ["sample", "--checkpoint", "x", "--prompt", "a", "--prompts", "b", "--frames", "9", "--out", "o"],
    "no such checkpoint": ["sample", "--checkpoint", "/nowhere", "--prompt", "a", "--frames", "9", "--out", "o"],
    "missing videos": ["data", "encode", "--videos", "/nowhere", "--out", "x.h5"],
}  # fmt: skip


@pytest.mark.parametrize("case", COMMAND_LINES)
def test_command_line(case, tmp_path):
    arguments = [str(tmp_path / a) if a in ("o", "x.h5") else a for a in COMMAND_LINES[case]]
    one_line_error(run(*arguments))
    assert not list(tmp_path.iterdir())
