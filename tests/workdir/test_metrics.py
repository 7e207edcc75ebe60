"""Metrics in long form, read while they are written."""

import pytest

from mnet_jax import UserError, presets
from mnet_jax.config.resolve import resolve
from mnet_jax.workdir.results import results
from tests.finished import finish


@pytest.fixture
def workdir(tmp_path):
    configs = [resolve(presets.get("mnist5k"), {"model.alpha": alpha}).to_dict() for alpha in (1.0, 0.5)]
    workdir = finish(tmp_path / "work", configs)
    for i, name in enumerate(workdir.trial_names()):
        for step in (2, 4):
            workdir.trial(name).append_metrics({"step": step, "total_steps": 4, "loss": i + 1 / step})
        workdir.trial(name).append_metrics({"step": 4, "total_steps": 4, "split": "validation", "top1": 0.5})
    return workdir


def numbers(rows):
    return [(row["alpha"], row["step"], row["metric"], row["value"]) for row in rows]


EXPECTED = [
    (1.0, 2, "train/loss", 0.5),
    (1.0, 4, "train/loss", 0.25),
    (1.0, 4, "validation/top1", 0.5),
    (0.5, 2, "train/loss", 1.5),
    (0.5, 4, "train/loss", 1.25),
    (0.5, 4, "validation/top1", 0.5),
]


def test_a_row_per_trial_step_and_metric(workdir):
    rows = results(workdir.path, metrics=True)
    assert numbers(rows) == EXPECTED
    assert rows[0].keys() >= {"trial", "model", "input_size", "seed", "mult_adds", "params", "replicate"}
    assert not rows[0].keys() & {"status", "top1", "top5", "loss", "wall_seconds", "error"}


def test_a_trial_in_two_workdirs_appears_once(workdir):
    assert numbers(results(workdir.path, workdir.path, metrics=True)) == EXPECTED


def test_steps_that_were_trained_again_and_torn_lines(workdir):
    with (workdir.trial("trial-00000000").path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "loss": 7.0}\n{"step": 6, "los')
    changed = [(1.0, 4, "train/loss", 7.0) if row[:3] == (1.0, 4, "train/loss") else row for row in EXPECTED]
    assert numbers(results(workdir.path, metrics=True)) == changed


def test_a_table_alone_has_no_metrics(tmp_path):
    (tmp_path / "results.csv").touch()
    with pytest.raises(UserError, match="has no trials, and only their folders have metrics"):
        results(tmp_path, metrics=True)
