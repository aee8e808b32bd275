"""Who is updated when in the distilled stages, and that a killed run goes on to the same bits."""

import pytest
import torch

from distilled_stage import distil, distil_arguments, role_tensors
from program import start
from test_resume import assert_same_bits, logged_steps, wait_for
from tiny_stage import metrics

# Checkpoints at 3, 6, 9, ...: none at a multiple of the five critic updates for one of the student.
STEPS = 12
EMA = 0.9


@pytest.fixture(scope="module", params=["consistency", "dmd"])
def whole(request, tmp_path_factory, dataset, latent_run, dense_run):
    """(stage, run folder): all steps in one go, a checkpoint after each."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    changed = {"train__steps": STEPS, "checkpoint__every": 1, "checkpoint__keep_last": STEPS}
    distil(request.param, folder, dataset, latent_run, dense_run, **changed, **average(request.param))
    return request.param, folder


def average(stage):
    return {"ema__decay": EMA} if stage == "dmd" else {}


def equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def follows(average_before, average_after, weights, decay):
    """One update of a moving average in fp32: two products and a sum, each rounded by 6e-8 of its size."""
    return all(
        torch.allclose(average_after[n], decay * average_before[n] + (1 - decay) * weights[n], rtol=3e-7, atol=1e-9)
        for n in weights
    )


def test_who_is_updated_when(whole):
    """DMD: the student at steps 1, 6, 11, the fake score at every step. CD: the student and its average at every step."""
    stage, folder = whole
    log = {m["step"]: m for m in metrics(folder)}
    average, decay = ("generator_ema", EMA) if stage == "dmd" else ("target_ema", 0.99)
    for step in range(2, STEPS + 1):
        before, after = (role_tensors(folder, s, "generator") for s in (step - 1, step))
        average_before, average_after = (role_tensors(folder, s, average) for s in (step - 1, step))
        due = stage == "consistency" or step % 5 == 1
        assert equal(before, after) != due, f"step {step}"
        assert ("loss" in log[step]) == due, f"step {step}"
        if due:
            assert follows(average_before, average_after, after, decay), f"step {step}"
        else:
            assert equal(average_before, average_after), f"step {step}"
        if stage == "dmd":
            fake = [role_tensors(folder, s, "fake_score") for s in (step - 1, step)]
            assert not equal(*fake) and "loss_fake_score" in log[step]


def test_frozen_weights_stay(whole, dense_run, latent_run):
    """Frozen roles are not saved, and the files they were read from are as they were."""
    stage, folder = whole
    saved = {p.name.split(".")[0] for p in (folder / "checkpoints" / "latest").glob("*.safetensors")}
    assert saved == ({"generator", "generator_ema", "fake_score"} if stage == "dmd" else {"generator", "target_ema"})
    # A checkpoint's manifest has a hash of every file: reading it again checks them.
    from program import vmla

    for source in (dense_run, latent_run):
        vmla("export", "--checkpoint", source, "--format", "videomla", "--out", folder.parent / source.parent.name)


def test_killed_and_resumed(whole, dataset, latent_run, dense_run, tmp_path):
    """kill -9 in the middle; the resumed run starts at a step that is no multiple of five."""
    stage, uninterrupted = whole
    folder = tmp_path / "run"
    arguments = distil_arguments(stage, folder, dataset, latent_run, dense_run, train__steps=STEPS, **average(stage))
    process = start(*arguments)
    wait_for(lambda: logged_steps(folder) >= 7, process)
    process.kill()
    process.wait()
    distil(stage, folder, dataset, latent_run, dense_run, train__steps=STEPS, **average(stage))
    assert_same_bits(folder, uninterrupted)
    ours, theirs = metrics(folder), metrics(uninterrupted)
    for name in ("step", "loss", "loss_fake_score", "grad_norm", "grad_norm_fake_score", "dmd_gradient_norm"):
        assert [m.get(name) for m in ours] == [m.get(name) for m in theirs], name


def test_observers_do_not_disturb(whole, dataset, latent_run, dense_run, tmp_path):
    stage, uninterrupted = whole
    changed = {"train__recompute": "block", "rank__every": 4, "validation__every": 5, "data__prefetch_batches": 5}
    folder = distil(
        stage, tmp_path / "run", dataset, latent_run, dense_run, train__steps=STEPS, **changed, **average(stage)
    )
    assert_same_bits(folder, uninterrupted)


def test_micro_batches_are_the_batch(whole, dataset, latent_run, dense_run, tmp_path):
    """Sums of four samples in another order, in fp32: 1e-5 of the first step's figures."""
    stage, uninterrupted = whole
    folder = distil(
        stage, tmp_path / "run", dataset, latent_run, dense_run, train__steps=1, train__micro_batch_size=1,
        **average(stage),
    )  # fmt: skip
    ours, theirs = metrics(folder)[0], metrics(uninterrupted)[0]
    names = ["loss", "grad_norm"] + (["dmd_gradient_norm"] if stage == "dmd" else [])
    for name in names:
        assert abs(ours[name] - theirs[name]) <= 1e-5 * abs(theirs[name]), (name, ours[name], theirs[name])
