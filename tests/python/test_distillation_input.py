"""What a distilled stage cannot start from or learn from: one line, status 2, nothing written; faults keep what was there."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from distilled_stage import distil, distil_arguments, settings
from program import listing, one_line_error, overrides, run, vmla, write_yaml
from reference.model_config import ModelConfig
from reference.weights import random_weights, write_wan_folder
from tiny_stage import CONFIGS, last_checkpoint, metrics, train_arguments


@pytest.fixture(scope="module")
def distilled_run(tmp_path_factory, dataset, latent_run, dense_run):
    return distil("consistency", tmp_path_factory.mktemp("cd") / "run", dataset, latent_run, dense_run, train__steps=2)


def score_config(**changed):
    """Sizes of the tiny stages' latents and texts; the width and depth are a score's own."""
    sizes = {"dim": 96, "ffn_dim": 64, "num_heads": 4, "num_layers": 2, "in_dim": 12, "out_dim": 12}
    sizes |= {"freq_dim": 64, "text_dim": 32, "text_len": 8}
    return ModelConfig(**(sizes | changed))


def write_score(folder, patch=None, **changed):
    """A Wan folder; `patch`: what its config.json says of patches instead of the truth."""
    config = score_config(**changed)
    write_wan_folder(folder, config, random_weights(config, 1))
    if patch:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"patch_size": patch}))
    return folder


# --- what a role starts from ------------------------------------------------------------------------------------------


def test_score_of_other_sizes(dataset, latent_run, dense_run, tmp_path):
    """Wider than the student, with more heads and fewer layers; the fake score starts as its copy."""
    wide = write_score(tmp_path / "wide")
    folder = distil("dmd", tmp_path / "run", dataset, latent_run, wide, train__steps=2,
                    objective__dmd__fake_score_optimizer__lr=1e-30)  # fmt: skip
    saved, source = load_file(last_checkpoint(folder) / "fake_score.safetensors"), random_weights(score_config(), 1)
    assert saved.keys() == source.keys()
    # Weight decay is scaled by lr: at 1e-30 nothing moves, so this is what it started from.
    assert all(torch.equal(saved[name], source[name].float()) for name in saved)
    distil("dmd", folder, dataset, latent_run, wide, train__steps=3,
           objective__dmd__fake_score_optimizer__lr=1e-30)  # fmt: skip
    assert len(metrics(folder)) == 3, "and it resumes"


OTHER_SCORES = {
    "latents": ({"in_dim": 16, "out_dim": 16}, "in_dim"),
    "text width": ({"text_dim": 48}, "text_dim"),
    "text length": ({"text_len": 16}, "text_len"),
    "patch": ({"patch": [1, 1, 1]}, "patch_size"),
}


@pytest.mark.parametrize("role", ["real_score", "fake_score"])
@pytest.mark.parametrize("case", OTHER_SCORES)
def test_score_of_other_latents(role, case, dataset, latent_run, dense_run, tmp_path):
    changed, key = OTHER_SCORES[case]
    score = write_score(tmp_path / "score", **changed)
    arguments = distil_arguments(
        "dmd", tmp_path / "run", dataset, latent_run, dense_run, **{f"init_from__{role}": str(score)}
    )
    one_line_error(run(*arguments), "--set", f"init_from.{role}", key)
    assert not (tmp_path / "run").exists()


def test_score_without_its_sizes(dataset, latent_run, dense_run, tmp_path):
    """Weights without a config.json: shapes do not tell heads; a preset that does not fit is refused by name."""
    config = score_config()
    save_file({n: t.contiguous() for n, t in random_weights(config, 1).items()}, tmp_path / "score.safetensors")
    for preset, mention in (("wan1.3b", "text_len"), ("wan2b", "wan2b")):
        source = {
            "init_from__real_score": {"preset": preset},
            "init_from__real_score__path": str(tmp_path / "score.safetensors"),
        }
        arguments = distil_arguments("dmd", tmp_path / "run", dataset, latent_run, dense_run, **source)
        one_line_error(run(*arguments), "real_score" if preset == "wan1.3b" else "", mention)
    assert not (tmp_path / "run").exists()


def wrong_starts(dense, latent, distilled):
    return {
        "consistency from a bidirectional model": ("consistency", {"generator": dense}, ["init_from.generator"]),
        "dmd from a bidirectional model": ("dmd", {"generator": dense, "real_score": dense}, ["init_from.generator"]),
        "a score that is chunk-causal": ("dmd", {"generator": distilled, "real_score": latent}, ["real_score"]),
        "a score that is distilled": ("dmd", {"generator": latent, "real_score": distilled}, ["real_score"]),
        "a critic that is chunk-causal": (
            "dmd",
            {"generator": latent, "real_score": dense, "fake_score": latent},
            ["fake_score"],
        ),
        "a dense stage from latent attention": ("pretrain", {"generator": latent}, ["model.attention"]),
    }


@pytest.mark.parametrize("case", wrong_starts(None, None, None))
def test_wrong_kind_of_checkpoint(case, dataset, dense_run, latent_run, distilled_run, tmp_path):
    stage, sources, mentions = wrong_starts(dense_run, latent_run, distilled_run)[case]
    changed = {f"init_from__{role}": str(path) for role, path in sources.items()}
    changed["data__make_validation__synth_count"] = 4
    changed["data__make__synth_count"] = 4  # the missing file is one that the stage would make
    missing = tmp_path / "never.h5"
    arguments = train_arguments(stage, tmp_path / "run", missing, **settings("", dense_run, **changed))
    where = f"{stage}.yaml:" if mentions == ["model.attention"] else "--set"
    one_line_error(run(*arguments), where, *mentions)
    assert not (tmp_path / "run").exists() and not missing.exists(), "said before data is made"


def test_wrong_kind_of_checkpoint_in_a_file(dataset, dense_run, tmp_path):
    """The message begins with the file and the line of the key."""
    content = yaml.safe_load((CONFIGS / "consistency.yaml").read_text())
    content["init_from"]["generator"] = {"path": str(dense_run)}
    file = write_yaml(tmp_path / "cd.yaml", content)
    line = 1 + next(i for i, text in enumerate(file.read_text().splitlines()) if "generator:" in text)
    done = run("train", "--config", file, "--run-dir", tmp_path / "run")
    message = one_line_error(done, "init_from.generator", "flow_matching")
    assert f"{file}:{line}" in message or f"{file}:{line + 1}" in message, message


def write_pipeline(folder, generator, real_score):
    stages = [
        {"name": "pretrain", "config": str(CONFIGS / "pretrain.yaml")},
        {"name": "tf", "config": str(CONFIGS / "teacher_forcing.yaml")},
        {"name": "cd", "config": str(CONFIGS / "consistency.yaml"), "set": {"init_from.generator": {"stage": "tf"}}},
        {
            "name": "dmd",
            "config": str(CONFIGS / "dmd.yaml"),
            "set": {"init_from.generator": {"stage": generator}, "init_from.real_score": {"stage": real_score}},
        },
    ]
    return write_yaml(folder / "pipeline.yaml", {"name": "wrong", "stages": stages})


@pytest.mark.parametrize(
    "generator, real_score, key",
    [("pretrain", "pretrain", "init_from.generator"), ("cd", "tf", "init_from.real_score")],
)
def test_wrong_kind_of_stage_in_a_pipeline(generator, real_score, key, tmp_path):
    """Found before the first stage runs."""
    file = write_pipeline(tmp_path, generator, real_score)
    done = run("pipeline", "--config", file, "--run-dir", tmp_path / "runs")
    one_line_error(done, "pipeline.yaml:", "stage dmd", key)
    assert not (tmp_path / "runs").exists()


def test_teacher_forcing_from_a_distilled_model(dataset, dense_run, distilled_run, tmp_path):
    """Fine-tuning a few-step model with teacher forcing is allowed: it is chunk-causal and has the same window."""
    content = yaml.safe_load((CONFIGS / "teacher_forcing.yaml").read_text())
    content.pop("init", None)
    content["init_from"] = {"generator": str(distilled_run)}
    changed = {"data.path": str(dataset), "data.validation_path": str(dataset), "train.steps": 1, "rank.every": 0,
               "validation.every": 0, "sample.every": 0, "sample.measure_clips": 0, "sample.long_frames": 0}  # fmt: skip
    file = write_yaml(tmp_path / "tf.yaml", content)
    vmla("train", "--config", file, "--run-dir", tmp_path / "run", *overrides(changed))


OTHER_WINDOWS = {
    "local_attn_size": {"model__local_attn_size": 6},
    "sink_size": {"model__sink_size": 2},
    "num_frame_per_block": {"model__num_frame_per_block": 1},
}


@pytest.mark.parametrize("key", OTHER_WINDOWS)
def test_other_window(key, dataset, dense_run, latent_run, tmp_path):
    changed = OTHER_WINDOWS[key]
    arguments = distil_arguments("consistency", tmp_path / "run", dataset, latent_run, dense_run, **changed)
    one_line_error(run(*arguments), "--set", f"model.{key}", "init.allow_other_window")
    assert not (tmp_path / "run").exists()


def test_other_window_when_asked_for(dataset, dense_run, latent_run, tmp_path):
    changed = {"model__local_attn_size": 6, "model__sink_size": 2, "init__allow_other_window": True}
    arguments = distil_arguments(
        "consistency", tmp_path / "run", dataset, latent_run, dense_run, train__steps=1, **changed
    )
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "another window" in line]
    assert len(warnings) == 1, done.stderr
    assert "local_attn_size 7 -> 6" in warnings[0] and "sink_size 1 -> 2" in warnings[0]


def test_other_rope_pairs(dataset, dense_run, latent_run, tmp_path):
    """Shapes do not tell which pairs are rotated: the checkpoint's configuration does."""
    arguments = distil_arguments("consistency", tmp_path / "run", dataset, latent_run, dense_run,
                                 model__rope_pair_indices=[0, 2, 6, 8, 11, 13])  # fmt: skip
    one_line_error(run(*arguments), "model.rope_pair_indices")


# --- settings ---------------------------------------------------------------------------------------------------------

CD, DMD = "objective__consistency_distillation__", "objective__dmd__"
WRONG_SETTINGS = {
    "steps that do not decrease": ("consistency", {CD + "denoising_step_list": [1000, 500, 750]}, ["denoising_step_list"]),
    "equal steps": ("dmd", {DMD + "denoising_step_list": [1000, 500, 500]}, ["denoising_step_list"]),
    "no steps": ("dmd", {DMD + "denoising_step_list": []}, ["denoising_step_list"]),
    "first steps that do not decrease": (
        "dmd",
        {DMD + "first_chunk_denoising_step_list": [250, 1000]},
        ["first_chunk_denoising_step_list"],
    ),
    "a grid of one point": ("consistency", {CD + "discrete_cd_n": 1}, ["discrete_cd_n"]),
    "rollouts that no positions reach": (
        "dmd",
        {DMD + "max_rollout_frames": 1026, "model__local_attn_size": -1, "model__sink_size": 0},
        ["max_rollout_frames", "1024"],
    ),
    "rollouts of broken chunks": ("dmd", {DMD + "max_rollout_frames": 20}, ["max_rollout_frames", "20"]),
    "rollouts below a clip": ("dmd", {DMD + "min_rollout_frames": 0, DMD + "max_rollout_frames": 6}, ["max_rollout_frames", "6"]),
    "shortest above longest": (
        "dmd",
        {DMD + "min_rollout_frames": 18, DMD + "max_rollout_frames": 9},
        ["max_rollout_frames"],
    ),
    "an unknown way of the gradient": ("dmd", {DMD + "kv_grad": "detach"}, ["kv_grad", "detach"]),
    "no critic updates": ("dmd", {DMD + "dfake_gen_update_ratio": 0}, ["dfake_gen_update_ratio"]),
    "score times in the wrong order": ("dmd", {DMD + "score_timestep_range": [980, 20]}, ["score_timestep_range"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_SETTINGS)
def test_settings(case, dataset, dense_run, latent_run, tmp_path):
    stage, changed, mentions = WRONG_SETTINGS[case]
    arguments = distil_arguments(stage, tmp_path / "run", dataset, latent_run, dense_run, **changed)
    one_line_error(run(*arguments), "--set", *mentions)
    assert not (tmp_path / "run").exists()


def test_long_rollouts_of_clips_that_are_one_chunk(dataset, dense_run, latent_run, tmp_path):
    """No frame of a later window would be trained (and the windows would never reach the end)."""
    changed = {"model__num_frame_per_block": 9, "model__local_attn_size": 10, "init__allow_other_window": True}
    for windows in ("last", "all"):
        changed |= {DMD + "max_rollout_frames": 18, DMD + "scored_windows": windows}
        done = run(*distil_arguments("dmd", tmp_path / "run", dataset, latent_run, dense_run, **changed))
        lines = [line for line in done.stderr.splitlines() if "another window" not in line]
        assert done.returncode == 2 and len(lines) == 1, done.stderr
        assert "objective.dmd.max_rollout_frames" in lines[0] and "one chunk" in lines[0]


def test_dmd_without_a_real_score(dataset, latent_run, tmp_path):
    content = yaml.safe_load((CONFIGS / "dmd.yaml").read_text())
    del content["init_from"]["real_score"]
    content["init_from"]["generator"] = str(latent_run)
    file = write_yaml(tmp_path / "dmd.yaml", content)
    done = run("train", "--config", file, "--run-dir", tmp_path / "run")
    one_line_error(done, f"{file}:", "init_from.real_score")
    assert not (tmp_path / "run").exists()


# --- losses that are not finite ---------------------------------------------------------------------------------------


def poisoned(run_dir, folder, form):
    """An export of a run with one NaN in a matrix of the first block."""
    vmla("export", "--checkpoint", run_dir, "--format", form, "--out", folder)
    file = max(folder.glob("*.safetensors"), key=lambda p: p.stat().st_size)
    tensors = load_file(file)
    name = next(n for n in tensors if n.endswith("ffn.0.weight"))
    tensors[name][3, 5] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


def test_weights_that_are_not_finite(dataset, dense_run, latent_run, tmp_path):
    """Whoever is poisoned, the stage ends before any optimizer has written; there is no checkpoint to mislead anybody."""
    dense, latent = (
        poisoned(dense_run, tmp_path / "dense", "wan"),
        poisoned(latent_run, tmp_path / "latent", "videomla"),
    )
    for role, source in (("generator", latent), ("real_score", dense), ("fake_score", dense)):
        folder = tmp_path / role
        done = run(*distil_arguments("dmd", folder, dataset, latent_run, dense_run, **{f"init_from__{role}": str(source)}))
        lines = done.stderr.strip().splitlines()
        assert done.returncode in (1, 2) and len(lines) == 1, done.stderr
        assert "nan" in lines[0].lower(), lines[0]
        assert not list(folder.glob("checkpoints/step_*"))


def test_critic_that_explodes(dataset, dense_run, latent_run, tmp_path):
    """Its loss is not finite at a step of its own: named, and the last checkpoint is intact and can be sampled."""
    folder = tmp_path / "run"
    lr = {"objective__dmd__fake_score_optimizer__lr": 1e30}
    done = run(*distil_arguments("dmd", folder, dataset, latent_run, dense_run, checkpoint__every=1, **lr))
    one_line_error(done, "fake_score", "step", str(folder), status=1)
    last = last_checkpoint(folder)
    before = listing(last)
    vmla("sample", "--checkpoint", folder, "--prompt", "a red circle moves left", "--frames", 9, "--out", tmp_path / "s")
    again = run(*distil_arguments("dmd", folder, dataset, latent_run, dense_run, checkpoint__every=1, **lr))
    one_line_error(again, "fake_score", status=1)
    assert listing(last) == before and last_checkpoint(folder) == last


def test_student_that_explodes(dataset, dense_run, latent_run, tmp_path):
    """After its update the critic's rollouts are not finite; what was saved before stays."""
    folder = tmp_path / "run"
    distil("dmd", folder, dataset, latent_run, dense_run, train__steps=4, checkpoint__every=4)
    before = listing(last_checkpoint(folder))
    done = run(*distil_arguments("dmd", folder, dataset, latent_run, dense_run, train__steps=9, checkpoint__every=1000,
                                 optimizer__lr=1e30))  # fmt: skip
    one_line_error(done, "step 6", status=1)
    assert listing(last_checkpoint(folder)) == before
