"""Drift over long rollouts, from the configuration to summary.json and the page."""

import json

from tiny_stage import train


def test_a_stage_measures_its_long_rollouts(tmp_path, dataset, dense_run):
    run = train(
        "teacher_forcing",
        tmp_path / "run",
        dataset,
        dense_run,
        sample__measure_clips=0,
        sample__long_frames=20,
        sample__long_clips=2,
    )
    drift = json.loads((run / "summary.json").read_text())["drift"]
    # 20 frames are two windows of a clip's nine, and two that are left out.
    assert (drift["clips"], drift["frames"], drift["window_frames"], drift["windows"]) == (2, 20, 9, 2)
    assert len(drift["adherence"]["colour"]) == len(drift["motion_share"]) == 2
    size = drift["figures"]["size"]
    # Sizes are drawn from 0.24 to 0.5 of the side; the band of two videos' mean reaches beyond.
    assert len(size["by_window"]) == 2 and 0.24 < size["real_mean"] < 0.5
    assert size["low"] < size["real_mean"] < size["high"]
    assert drift["real_score"] < 1
    assert "Drift over long videos" in (run / "report.html").read_text()


def test_too_short_for_two_windows_is_said(tmp_path, dataset, dense_run):
    run = train("teacher_forcing", tmp_path / "run", dataset, dense_run, sample__long_frames=17)
    assert "drift" not in json.loads((run / "summary.json").read_text())
    assert "drift is not measured: sample.long_frames is 17" in (run / "log.txt").read_text()
