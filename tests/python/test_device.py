"""train.device: cuda works, or one line says why it cannot."""

from program import one_line_error, run
from tiny_stage import metrics, train_arguments


def test_cuda(dataset, tmp_path):
    run_dir = tmp_path / "run"
    done = run(*train_arguments("pretrain", run_dir, dataset, train__device="cuda", train__steps=2))
    if done.returncode == 0:
        assert len(metrics(run_dir)) == 2
        return
    error = one_line_error(done, "train.device: cuda: ", "; use cpu")
    reason = error.split("cuda: ", 1)[1].removesuffix("; use cpu")
    assert len(reason) > 10, f"no reason in: {error}"
    assert not run_dir.exists(), "a refused run leaves nothing behind"
