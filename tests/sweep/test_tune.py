import json
import os
import random
import re
import shutil

import numpy as np
import pytest

from mnet_jax.devices.signals import Interruption
from mnet_jax.errors import UserError
from mnet_jax.sweep.run import plan_trials, run_sweep
from mnet_jax.sweep.status import status_lines
from mnet_jax.train import inputs, loop
from mnet_jax.workdir import bits, results
from mnet_jax.workdir.files import DIVERGED, DONE, TUNED, TrialFolder, Workdir
from tests.processes import accuracies, finish, kill_all, logs, start, wait_for

RATE = "optim.learning_rate"


@pytest.fixture
def tuned(small):
    """Two cells of two seeds, three rates each."""
    small.sweep.update(input_size=(16, 12), seed=(3, 4))
    small.tune.optim.learning_rate = (0.0125, 0.025, 0.05)
    return small


def end(workdir, runs, best, wrong=0):
    """Trial runs that have not ended, as a worker leaves them: `wrong` percent at the best rate, 20 elsewhere."""
    for name, trial in runs.items():
        folder = workdir.trial(name)
        if folder.validation():
            continue
        correct = np.arange(100) >= (wrong if trial.optim.learning_rate == best else 20)
        folder.create(trial.to_dict())
        folder.set_validation(
            {"top1": correct.mean(), "top5": 1.0, "loss": 0.5, "images": 100, "correct": bits.as_text(correct)}
        )
        folder.set_status(TUNED)


def values(trials):
    return [(trial.input_size, trial.seed, trial.optim.learning_rate) for trial in trials.values()]


def test_values_are_tried_at_the_first_seed_and_the_best_is_trained_with_all(tuned, tmp_path):
    workdir = Workdir(tmp_path)
    grid = plan_trials(tuned)
    assert values(grid.known(workdir)) == [(size, 3, rate) for size in (16, 12) for rate in (0.0125, 0.025, 0.05)]
    assert all(trial.tuning for trial in grid.known(workdir).values())
    assert len(grid.waiting(workdir)) == 4
    assert grid.complaints(workdir)[0] == "input_size=16: nothing is chosen: 3 of 3 trial runs have not ended"
    end(workdir, grid.runs(workdir), best=0.025)
    assert values(grid.finals(workdir)) == [(size, seed, 0.025) for size in (16, 12) for seed in (3, 4)]
    assert len(grid.known(workdir)) == 6 + 4 - 2, "the trials of the first seed go on where their trial runs ended"
    assert [trial.seed for trial in grid.known(workdir).values() if not trial.tuning].count(3) == 2
    assert grid.waiting(workdir) == {}
    assert grid.complaints(workdir) == []


def test_the_folders_are_listed_as_often_for_many_cells_as_for_one(tuned, tmp_path, monkeypatch):
    listed, real = [], Workdir._folders
    monkeypatch.setattr(Workdir, "_folders", lambda workdir: listed.append(workdir) or real(workdir))
    counts = []
    for sizes in ((16,), (16, 14, 12)):
        tuned.sweep.input_size = sizes
        workdir = Workdir(tmp_path / str(len(sizes)))
        grid = plan_trials(tuned)
        end(workdir, grid.runs(workdir), best=0.025)
        listed.clear()
        grid.known(workdir)
        counts.append(len(listed))
    assert counts[0] == counts[1]


def test_shorter_trial_runs_are_trials_of_their_own(tuned, tmp_path):
    workdir = Workdir(tmp_path)
    tuned.tune_epochs = 1.0
    grid = plan_trials(tuned)
    end(workdir, grid.runs(workdir), best=0.05)
    assert len(grid.known(workdir)) == 6 + 4
    assert {trial.train.epochs for trial in grid.runs(workdir).values()} == {1.0}
    assert {trial.train.epochs for trial in grid.finals(workdir).values()} == {tuned.train.epochs}


def test_the_status_tells_trial_runs_from_trials(tuned, tmp_path):
    workdir = Workdir(tmp_path)
    grid = plan_trials(tuned)
    runs = grid.runs(workdir)
    end(workdir, dict(list(runs.items())[:3]), best=0.05)
    assert list(status_lines(grid, workdir))[1:] == ["3 of 6 trial runs done", "0 of 4 trials done, 0 running"]
    end(workdir, runs, best=0.05)
    assert list(status_lines(grid, workdir))[1:] == ["6 of 6 trial runs done", "0 of 4 trials done, 0 running"]


def test_a_best_value_at_the_edge_is_extended_once_and_stays(tuned, tmp_path):
    workdir = Workdir(tmp_path)
    end(workdir, plan_trials(tuned).runs(workdir), best=0.05, wrong=10)
    assert [choice.at_edge for choice in plan_trials(tuned).choices(workdir)] == [(RATE,), (RATE,)]
    grid = plan_trials(tuned, extend=True)
    assert len(grid.runs(workdir)) == 8
    assert len(grid.waiting(workdir)) == 4, "nothing is chosen before the next value is tried"
    end(workdir, grid.runs(workdir), best=0.1)
    for again in (grid, plan_trials(tuned), plan_trials(tuned, extend=True)):
        assert {rate for _, _, rate in values(again.finals(workdir))} == {0.1}
        assert len(again.runs(workdir)) == 8, "once"


def test_a_generators_trials_are_cells_too(tuned, tmp_path):
    overrides = [{"input_size": 16, "seed": 1}, {"input_size": 12, "seed": 1}, {"input_size": 16, "seed": 2}]
    grid = plan_trials(tuned, overrides)
    assert [(len(choice.tried), choice.cell.label) for choice in grid.choices(Workdir(tmp_path))] == [
        (3, "input_size=16"),
        (3, "input_size=12"),
    ]
    assert len(grid.waiting(Workdir(tmp_path))) == 3


def test_where_all_diverged_nothing_is_trained(tuned, tmp_path):
    workdir = Workdir(tmp_path)
    grid = plan_trials(tuned)
    for name, trial in grid.runs(workdir).items():
        workdir.trial(name).create(trial.to_dict())
        workdir.trial(name).set_status(DIVERGED, "the loss of step 2 is nan")
    assert grid.finals(workdir) == {}
    assert grid.complaints(workdir)[1] == "input_size=12: nothing is chosen: all 3 trial runs diverged"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tune.seed": (0, 1)}, r"config\.tune\.seed=\(0, 1\): decides what is compared"),
        ({"tune.data.test_split": ("test",)}, r"config\.tune\.data\.test_split=.*decides what is compared"),
        ({"sweep.optim.learning_rate": (0.1,)}, r"the sweep sets config\.optim\.learning_rate as well"),
        ({"tune.optim.learning_rate": (0.1, 0.1)}, r"a value stands there twice"),
        ({"tune.optim.learning_rate": (0.1, -0.1)}, r"config\.optim\.learning_rate=-0\.1: must be positive"),
        ({"tune_epochs": 4.0}, r"config\.tune_epochs=4\.0: must be in \(0, 3\.0\]"),
        ({"tune_epochs": 0.0}, r"config\.tune_epochs=0\.0: must be in"),
        ({"tune_epochs": 1.0, "tune.train.epochs": (1.0, 2.0)}, r"config\.tune\.train\.epochs says how long"),
        ({"data.validation_split": ""}, r"config\.data\.validation_split is empty: config\.tune chooses on it"),
        ({"data.validation_split": "test[:100]"}, r"is the test split, too: .*train\[90%:\]"),
    ],
)
def test_what_cannot_be_tuned_is_refused(tuned, change, message):
    tuned.update_from_flattened_dict(change)
    with pytest.raises(UserError, match=message):
        plan_trials(tuned)


@pytest.mark.parametrize(
    ("validation", "shared"),
    [("test[50:]+validation", "data.test_split.* share 50 images"), ("train[200:300]", "data.train_split.* share 56")],
)
def test_images_of_another_split_are_no_basis_for_a_choice(tuned, tmp_path, validation, shared):
    tuned.data.validation_split = validation
    with pytest.raises(UserError, match=shared):
        run_sweep(tuned, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_extending_needs_something_tuned(small):
    with pytest.raises(UserError, match=r"extend has no effect: the config has no axes in config\.tune"):
        plan_trials(small, extend=True)


def test_a_trial_run_reads_no_test_image_and_goes_on_from_its_end(small, tmp_path, monkeypatch):
    opened, open_stream = [], loop.open_stream

    def noted(config, split, mesh):
        opened.append(split)
        return open_stream(config, split, mesh)

    monkeypatch.setattr(loop, "open_stream", noted)
    trial = inputs.settle(small).to_dict()
    folder = TrialFolder(tmp_path / "trial")
    folder.create(trial | {"tuning": True})
    loop.train([folder], Interruption())
    assert opened == [small.data.train_split, small.data.validation_split]
    assert folder.status() == TUNED
    assert folder.result() == {}
    said = folder.validation()
    row = next(row for row in reversed(folder.metrics()) if "top1" in row)
    assert said["top1"] == row["top1"] == bits.from_text(said["correct"], said["images"]).mean()
    assert said["images"] == 72
    del opened[:]
    folder.create(trial)
    loop.train([folder], Interruption())
    assert opened == [small.data.train_split, small.data.test_split]
    assert folder.status() == DONE
    whole = TrialFolder(tmp_path / "whole")
    whole.create(trial)
    loop.train([whole], Interruption())
    assert {key: folder.result()[key] for key in ("top1", "top5", "loss", "steps", "test_images")} == {
        key: whole.result()[key] for key in ("top1", "top5", "loss", "steps", "test_images")
    }


@pytest.mark.parametrize("harm", ["lost", "damaged"])
def test_scores_that_are_lost_are_taken_again_from_the_checkpoint(small, tmp_path, harm):
    folder = TrialFolder(tmp_path / "trial")
    folder.create(inputs.settle(small).to_dict() | {"tuning": True})
    loop.train([folder], Interruption())
    before, rows = folder.validation(), folder.metrics()
    path = folder.path / "validation.json"
    path.unlink() if harm == "lost" else path.write_text(path.read_text().replace("0", "1"))
    assert folder.status() == "queued"
    loop.train([folder], Interruption())
    assert folder.validation() == before
    assert folder.metrics() == rows, "no step is trained again, and no evaluation stands in the log twice"


@pytest.fixture(scope="module")
def environment(data_dir, compilation_cache):
    return os.environ | {"TINY_DATA_DIR": data_dir, "JAX_COMPILATION_CACHE_DIR": compilation_cache}


@pytest.fixture(scope="module")
def finished(environment, tmp_path_factory):
    """The workdir and the output of a tuned sweep that nobody disturbed."""
    workdir = tmp_path_factory.mktemp("finished")
    code, output = finish(environment, workdir, "tuned")
    assert code == 0, output + logs(workdir)
    return workdir, output


def table(workdir):
    columns = ("status", "input_size", "seed", "optim.learning_rate", "chosen", "top1", "top5", "loss", "replicate")
    return {row["trial"]: tuple(row[column] for column in columns) for row in results.read(workdir / "results.csv")}


@pytest.mark.slow
def test_a_tuned_sweep_from_config_to_table(finished):
    workdir, output = finished
    rows = results.read(workdir / "results.csv")
    tuning = Workdir(workdir).tuning()
    assert len(rows) == 6 + 4 - 2
    assert "4 of 4 trials done" in output
    assert "[10/10]" in output
    for cell in tuning["cells"]:
        size = cell["override"]["input_size"]
        best = cell["chosen"][RATE]
        done = [row for row in rows if row["input_size"] == size and row["status"] == DONE]
        assert {(row["seed"], row[RATE], row["chosen"]) for row in done} == {(0, best, RATE), (1, best, RATE)}
        assert len({row["replicate"] for row in done}) == 1
        others = [row for row in rows if row["input_size"] == size and row["status"] == TUNED]
        assert [(row["seed"], row["top1"], row["loss"], row["test_images"]) for row in others] == [
            (0,) + (None,) * 3
        ] * 2
        assert sorted(row[RATE] for row in others) == sorted({0.0125, 0.05, 0.1} - {best})
        assert f"input_size={size}" in output
        first = next(row["trial"] for row in done if row["seed"] == 0)
        assert "resumed from step 40 of 40" in (workdir / "trials" / first / "log.txt").read_text()
    assert "validation top-1 by optim.learning_rate; [chosen and trained]" in output
    assert (workdir / "tuning.png").read_bytes().startswith(b"\x89PNG")
    decoded = [
        int(n) for path in workdir.glob("output/*") for n in re.findall(r"images decoded: (\d+)", path.read_text())
    ]
    assert sorted(decoded) == [256 + 72, 256 + 72 + 100], "no test image is read while values are tried"


@pytest.mark.slow
def test_the_same_command_again_trains_nothing(finished, environment):
    workdir, _ = finished
    before = {path: path.stat().st_mtime_ns for path in workdir.glob("trials/*/*.json")}
    code, output = finish(environment, workdir, "tuned")
    assert code == 0
    assert "10 of 10 trials are done already" in output
    done = {path: time for path, time in before.items() if path.name in ("result.json", "validation.json")}
    assert {path: path.stat().st_mtime_ns for path in done} == done


@pytest.mark.slow
def test_killed_in_each_phase_it_ends_as_if_undisturbed(finished, environment, tmp_path):
    moment = random.Random(1)
    for phase in ("trial runs", "trials"):
        process = start(environment, tmp_path, "tuned")
        step = moment.randrange(1, 36)

        def is_there(phase=phase, step=step, process=process):
            own = [TrialFolder(path) for path in tmp_path.glob("trials/*")]
            mine = [folder for folder in own if ("seed=1" in folder.name) == (phase == "trials")]
            return process.poll() is not None or any(row["step"] >= step for folder in mine for row in folder.metrics())

        wait_for(is_there)
        assert process.poll() is None, f"the sweep had ended before step {step} of the {phase}"
        kill_all(process)
        process.communicate()
    code, output = finish(environment, tmp_path, "tuned")
    assert code == 0, output + logs(tmp_path)
    assert table(tmp_path) == table(finished[0])
    assert Workdir(tmp_path).tuning() == Workdir(finished[0]).tuning()


@pytest.mark.slow
def test_what_is_damaged_of_the_choice_is_made_again(finished, environment, tmp_path):
    workdir = tmp_path / "work"
    shutil.copytree(finished[0], workdir)
    (workdir / "tuning.json").write_text("{")
    for row in results.read(workdir / "results.csv")[:2]:
        (workdir / "trials" / row["trial"] / "validation.json").unlink()
    code, output = finish(environment, workdir, "tuned")
    assert code == 0, output + logs(workdir)
    assert table(workdir) == table(finished[0])
    assert accuracies(workdir) == accuracies(finished[0])


@pytest.mark.slow
def test_a_dry_run_counts_the_trial_runs_and_what_waits_for_them(environment, tmp_path):
    code, output = finish(environment, tmp_path / "work", "tuned", "--dry_run", "--config.tune_epochs=2")
    assert code == 0, output
    assert output.count(" queued") == 6
    assert output.count("optim.learning_rate not chosen yet") == 4
    assert "6 trials share a stream (23% of the predicted cost)" in output
    assert "then 4 trials, with the values that are chosen (77% of the predicted cost)" in output
    assert not (tmp_path / "work").exists()


def test_reports_of_a_tuned_sweep_know_what_was_chosen(finished_rows):
    """A chosen field is no axis: its cells are told apart by what was swept."""
    rows, swept = finished_rows
    assert swept == ["input_size"]
    assert {row["chosen"] for row in rows if row["status"] == DONE} == {RATE}


@pytest.fixture
def finished_rows(tuned, tmp_path):
    from mnet_jax.report.points import differing, separating, settings_columns

    workdir = Workdir(tmp_path)
    grid = plan_trials(tuned)
    end(workdir, grid.runs(workdir), best=0.025)
    workdir.set_tuning(json.loads(json.dumps(grid.tuning(workdir))))
    for i, (name, trial) in enumerate(grid.finals(workdir).items()):
        folder = workdir.trial(name)
        folder.create(trial.to_dict())
        folder.set_result({"top1": 0.5 + i / 100, "top5": 1.0, "loss": 0.5, "steps": 12, "test_images": 100})
    rows = results.results(tmp_path)
    done = [row for row in rows if row["status"] == DONE]
    return rows, separating(done, differing(done, settings_columns(done)))
